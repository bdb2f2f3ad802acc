"""An artifact: its card, its pages, what it was made from, and the commands that go on from it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pretune.base.artifact import Artifact
from pretune.base.config import facts
from pretune.base.errors import BadCommand
from pretune.base.planning import flat_settings
from pretune.base.stage import STAGE
from pretune.base.staging import beside
from pretune.report.lineage import lineage
from pretune.report.numbers import metric, size
from pretune.report.view import next_steps
from pretune.studio.folder import Folder, kind_of
from pretune.studio.pages.files import crumbs, existing
from pretune.studio.rendering import form_of, reply, studio_of, to_run

TRIED = ("model", "bundle", "app")
ROWS = ("dataset", "corpus")


def artifact(request: Request) -> Response:
    folder = studio_of(request).folder
    path = existing(folder, request.query_params.get("path", ""))
    found = Artifact.look(path)
    card, name = found.card, folder.name(path)
    return reply(
        request,
        "artifact",
        card=card,
        name=name,
        crumbs=crumbs(folder, path),
        metrics={k: metric(v, k) for k, v in card.metrics.items() if isinstance(v, int | float | str)},
        settings={k: v for k, v in flat_settings(card.settings).items() if v is not None},
        lineage=lineage({"": found}, Artifact.told_source)[1:],
        pages=[one.name for one in sorted(path.glob("*.html"))],
        files=[(one.name, size(one.stat().st_size)) for one in folder.entries(path) if one.is_file()],
        steps=next_steps(card, name),
        actions=list(_actions(card.kind)),
        formats=facts(STAGE.find("export"), "to").choice.kinds(),  # type: ignore[union-attr]
        datasets=list(near(folder, path, ("dataset", "tokens"))),
    )


def _actions(kind: str) -> Iterator[str]:
    """What the page of an artifact of a kind offers."""
    yield "check"
    if kind in TRIED:
        yield "try"
    if kind == "model":
        yield from ("export", "evaluate")
    if kind in ("tokenizer", "model"):
        yield "tokens"
    if kind in ROWS:
        yield "rows"


def near(folder: Folder, path: Path, kinds: tuple[str, ...]) -> Iterator[str]:
    """Artifacts of some kinds in the same folder, as they are typed."""
    yield from (folder.name(one) for one in folder.entries(path.parent) if one.is_dir() and kind_of(one) in kinds)


async def act(request: Request) -> Response:
    """Start one of the commands that go on from an artifact or a file."""
    studio, form = studio_of(request), await form_of(request)
    folder = studio.folder
    path = existing(folder, form.get("path", ""))
    given = f"./{folder.name(path)}"
    data = [f"./{folder.name(existing(folder, form['data']))}"] if form.get("data") else []
    action = form.get("do", "")
    if action == "check":
        return to_run(studio.runs.start(["check", given]))
    if action not in ("export", "evaluate"):
        raise BadCommand(f"there is no action {action!r}")
    to = _format(form.get("to", "")) if action == "export" else []
    out = _free(beside(path, f".{to[0].removeprefix('to=')}" if to else ".report"))
    words = [action, given, *data, *to, "--out", f"./{folder.name(folder.inside(str(out)))}"]
    return to_run(studio.runs.start(words))


def _format(to: str) -> list[str]:
    choice = facts(STAGE.find("export"), "to").choice
    assert choice, "export has formats"
    if to not in choice.kinds():
        raise BadCommand(f"there is no format {to!r}", hint=f"one of: {', '.join(choice.kinds())}")
    return [f"to={to}"]


def _free(path: Path) -> Path:
    """The path, with a number behind it where something else is: one command never sets another's work aside."""
    number = 1
    free = path
    while free.exists():
        number += 1
        free = beside(path, f"-{number}")
    return free


ROUTES = (Route("/artifacts", artifact, name="artifact"), Route("/act", act, methods=["POST"]))
