"""The studio's routes.

    /files       folders, artifacts, files          /data      the rows of a file        /tokens   of a text
    /artifacts   a card, and what goes on from it   /recipes   a form of settings        /label    texts, by keyboard
    /runs        what was started, live             /compare   runs next to each other   /try      a served model

What changes something is a POST that starts a command; pages only read files of the folder. So all that a page can
do can be typed, and what it shows is what is on the disk.
"""

from __future__ import annotations

from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from pretune.base.errors import UserError
from pretune.studio.folder import Folder
from pretune.studio.guard import Guard
from pretune.studio.pages import artifacts, compare, data, files, label, recipes, runs, tokens, trying
from pretune.studio.rendering import HEADERS, Studio, form_of, problem
from pretune.studio.runs import Runs

YEAR = 365 * 24 * 3600
ROOMS = (files, data, tokens, artifacts, recipes, runs, compare, label, trying)


def create_app(folder: Folder, token: str) -> ASGIApp:
    """The studio of a folder as an ASGI application, behind its guard."""
    routes = [
        Route("/", home),
        Route("/language", language, methods=["POST"]),
        Mount("/static", StaticFiles(directory=Path(__file__).parent / "static")),
        *(route for room in ROOMS for route in room.ROUTES),
    ]
    app = Starlette(routes=routes, exception_handlers={UserError: problem, RecursionError: too_deep})
    app.state.studio = Studio(folder, Runs(folder.root, folder.own / "runs"))
    return Guard(app, token)


async def too_deep(request: Request, error: Exception) -> Response:
    """To values that are nested as no honest one is."""
    return PlainTextResponse("400: nested too deeply\n", 400)


async def home(request: Request) -> Response:
    return RedirectResponse("/files", 303, HEADERS)


async def language(request: Request) -> Response:
    """Remember the language, and go back."""
    form = await form_of(request)
    back = form.get("back", "")
    answer = RedirectResponse(back if back.startswith("/") and back[1:2] not in ("/", "\\") else "/", 303, HEADERS)
    answer.set_cookie("language", "zh" if form.get("language") == "zh" else "en", max_age=YEAR, samesite="strict")
    return answer
