"""What was started: the list, and one run with its stages, curves and output, live."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pretune.base.json import Json
from pretune.studio.folder import Folder
from pretune.studio.outcome import made_of, outs_of, plan_of
from pretune.studio.pages.trying import address_of
from pretune.studio.rendering import reply, studio_of, to_run
from pretune.studio.runs import Run


def runs(request: Request) -> Response:
    return reply(request, "runs", runs=[(run, _when(run)) for run in studio_of(request).runs.all()])


def run(request: Request) -> Response:
    return reply(request, "run", **_facts(request))


def live(request: Request) -> Response:
    """The part of a run's page that changes; the page asks for it as long as the run goes on."""
    return reply(request, "live", **_facts(request))


def stop(request: Request) -> Response:
    found = asked(request)
    found.stop()
    return to_run(found)


def asked(request: Request) -> Run:
    """The run whose id is in the address; 404 where there is none."""
    found = studio_of(request).runs.find(request.path_params["id"])
    if found is None:
        raise HTTPException(404)
    return found


def _facts(request: Request) -> Json:
    found, folder = asked(request), studio_of(request).folder
    outs = outs_of(found.started.words, folder.root)
    # A recipe may have been changed since, to write anywhere.
    made = [made_of(name, out) for name, out in outs.items() if folder.is_of(out)]
    paths = {one.name: folder.name(one.out) for one in made if one.state == "finished"}
    words = found.started.words
    return {
        "run": found,
        "when": _when(found),
        "made": [] if words[0] == "plan" else made,
        "paths": paths,
        "address": address_of(found, folder),
        "plan": plan_of(found.log) if words[0] == "plan" else None,
        "recipe": _recipe_of(words, folder),
    }


def _recipe_of(words: Sequence[str], folder: Folder) -> str:
    """The recipe that a command is about, as it is typed; "" where there is none."""
    named = {"plan": words[1:2], "run": words[1:2], "new": [f"{word}.yaml" for word in words[1:2]]}.get(words[0], [])
    return next((name.removeprefix("./") for name in named if (folder.root / name).is_file()), "")


def _when(run: Run) -> str:
    return datetime.fromtimestamp(run.started.began).strftime("%Y-%m-%d %H:%M:%S")


ROUTES = (
    Route("/runs", runs),
    Route("/runs/{id}", run),
    Route("/runs/{id}/live", live),
    Route("/runs/{id}/stop", stop, methods=["POST"]),
)
