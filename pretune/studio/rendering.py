"""From a template and what a page knows to an answer, in the reader's language and under a strict policy."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from pretune.base.errors import OutsideFolder, UserError
from pretune.report.pages import environment
from pretune.studio.folder import Folder
from pretune.studio.runs import Run, Runs, typed
from pretune.studio.words import say

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Studio:
    """What every page can ask for."""

    folder: Folder
    runs: Runs


def studio_of(request: Request) -> Studio:
    """The studio that a request is for."""
    return cast(Studio, request.app.state.studio)


def language_of(request: Request) -> str:
    """`zh` or `en`: what was chosen, else what the browser prefers."""
    chosen = request.cookies.get("language") or request.headers.get("accept-language", "")
    return "zh" if chosen.startswith("zh") else "en"


def reply(request: Request, template: str, *, status: int = 200, **data: object) -> Response:
    """The page of a template, `NAME.jinja`; `_` says a text in the reader's language."""
    language = language_of(request)
    usual = {"_": partial(say, language), "language": language, "here": _here(request), "typed": typed}
    made = environment(TEMPLATES).get_template(f"{template}.jinja").render(**usual, **data)
    return HTMLResponse(made, status, HEADERS)


def _here(request: Request) -> str:
    """The address of the page, to come back to."""
    return request.url.path + (f"?{request.url.query}" if request.url.query else "")


def problem(request: Request, error: Exception) -> Response:
    """The page of a user's mistake: what is wrong, and what to do."""
    assert isinstance(error, UserError)
    status = 403 if isinstance(error, OutsideFolder) else 404 if error.code == "no-such-file" else 400
    return reply(request, "problem", status=status, error=error)


def to_run(run: Run) -> Response:
    """To the page of a run that was started."""
    return RedirectResponse(f"/runs/{run.id}", 303, HEADERS)


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a form that was sent, in their order; of two of one name the last."""
    body = await request.body()
    return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
