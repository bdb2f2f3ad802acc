"""Labelling texts by keyboard: one text at a time, a key for each label, saved at once.

    texts.csv  ──▶  texts.labelled.jsonl     {"text": "...", "label": "..."}: what stage dataset reads

With a classifier's answers (`pretune predict MODEL --input texts.csv --output ...`) the texts that it is least sure of
come first (doubt.py): a label there teaches most. Stopped, it goes on where it was.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from pretune.base.digest import digest
from pretune.base.errors import BadCommand, BadFile
from pretune.base.json import Json
from pretune.base.staging import write_durably
from pretune.infer.answers import shown_given
from pretune.infer.given import given_in
from pretune.studio.doubt import guess, sureness
from pretune.studio.folder import Folder, kind_of
from pretune.studio.pages.data import number_of
from pretune.studio.pages.files import existing
from pretune.studio.pages.tokens import found_in
from pretune.studio.rendering import HEADERS, form_of, reply, studio_of, to_run

MOST = 20_000
"""So many texts of a file are labelled here."""
AHEAD = 20
"""Texts that the page has in hand, so that none is waited for."""


def label(request: Request) -> Response:
    folder, asked = studio_of(request).folder, request.query_params
    path, model = existing(folder, asked.get("path", "")), asked.get("model", "")
    done = _done(_output(folder, path))
    known = list(dict.fromkeys([*_split(asked.get("labels", "")), *(one["label"] for one in done)]))
    return reply(
        request,
        "label",
        name=folder.name(path),
        output=folder.name(_output(folder, path)),
        labels=known,
        number=len(done),
        model=model,
        models=[name for name in found_in(folder) if kind_of(folder.root / name) in ("model", "bundle")],
        is_asked=bool(model) and _scores_file(folder, path, model).is_file(),
    )


def _split(text: str) -> list[str]:
    return [one.strip() for one in text.replace("，", ",").split(",") if one.strip()]


def _output(folder: Folder, path: Path) -> Path:
    """Where the labels of a file go; in the folder too, wherever a link of that name may lead."""
    return folder.inside(str(path.with_name(f"{path.stem}.labelled.jsonl")))


def _done(output: Path) -> list[Json]:
    """What has a label; the file may have been edited meanwhile. Raises BadFile, naming a line that is none."""
    lines = output.read_text(encoding="utf-8-sig").split("\n") if output.is_file() else []
    return [_labelled(output, number, line) for number, line in enumerate(lines, 1) if line.strip()]


def _labelled(output: Path, number: int, line: str) -> Json:
    try:
        found = json.loads(line)
        if isinstance(found["text"], str) and isinstance(found["label"], str):
            return dict(found)
    except (ValueError, TypeError, KeyError):
        pass
    hint = 'a line is {"text": "...", "label": "..."}: mend it or delete it; nothing was written'
    raise BadFile(f"{output.name}:{number} is no text with its label", hint=hint)


def _scores_file(folder: Folder, path: Path, model: str) -> Path:
    """Where the answers of a model to a file are; of a file that was changed since, elsewhere."""
    stat = path.stat()
    return folder.own / "scores" / f"{digest([folder.name(path), stat.st_size, stat.st_mtime_ns, model])[:16]}.jsonl"


def following(request: Request) -> Response:
    """The next texts without a label; those that the model is least sure of first."""
    folder, asked = studio_of(request).folder, request.query_params
    path = existing(folder, asked.get("path", ""))
    texts = [shown_given(one)["text"] for one in islice(given_in(path), MOST)]
    scores = _scores(_scores_file(folder, path, asked["model"])) if asked.get("model") else []
    done = {one["text"] for one in _done(_output(folder, path))}
    rest = [k for k in _order(len(texts), scores) if texts[k] not in done]
    found = [
        {"text": texts[k], "guess": guess(scores[k]) if k < len(scores) else ""}
        for k in rest[: AHEAD + number_of(asked.get("skip", ""))]
    ]
    return JSONResponse({"texts": found, "left": len(rest), "done": len(done)}, headers=HEADERS)


def _scores(path: Path) -> list[Json]:
    return [json.loads(line) for line in path.read_text("utf-8").split("\n") if line] if path.is_file() else []


def _order(number: int, scores: Sequence[Json]) -> list[int]:
    """Numbers of texts, of which the model is least sure first; as in the file without its answers."""
    if len(scores) < number:
        return list(range(number))
    sure = sureness(scores[:number])
    return sorted(range(number), key=sure.__getitem__)


async def save(request: Request) -> Response:
    """Keep a label, or take the last one back."""
    form = await form_of(request)
    folder = studio_of(request).folder
    output = _output(folder, existing(folder, form.get("path", "")))
    done = _done(output)
    if form.get("do") == "undo":
        write_durably(output, "".join(map(_line, _without_last(done, form.get("text", "")))))
    elif not form.get("label") or not form.get("text"):
        raise BadCommand("a label needs a text")
    elif all(one["text"] != form["text"] for one in done):  # else another page has labelled it meanwhile
        line = _line({"text": form["text"], "label": form["label"]})
        with output.open("a", encoding="utf-8", newline="\n") as file:
            file.write(line if _ends_a_line(output) else f"\n{line}")
    return JSONResponse({"done": len(_done(output))}, headers=HEADERS)


def _without_last(done: list[Json], text: str) -> list[Json]:
    """All but the last one: of the text that the page says, if it says one, as another page may have labelled since."""
    at = next((k for k in range(len(done) - 1, -1, -1) if not text or done[k]["text"] == text), None)
    return [one for k, one in enumerate(done) if k != at]


def _ends_a_line(path: Path) -> bool:
    """Whether what is written next stands in a line of its own; editors leave out the last line end."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 1))
        return file.read() in (b"", b"\n")


def _line(one: Json) -> str:
    return json.dumps(one, ensure_ascii=False) + "\n"


async def ask(request: Request) -> Response:
    """Let a model answer the file, to know of which texts it is least sure."""
    studio, form = studio_of(request), await form_of(request)
    path, model = (existing(studio.folder, form.get(name, "")) for name in ("path", "model"))
    scores = _scores_file(studio.folder, path, form["model"])
    scores.parent.mkdir(exist_ok=True)
    names = [f"./{studio.folder.name(one)}" for one in (model, path, scores)]
    return to_run(studio.runs.start(["predict", names[0], "--input", names[1], "--output", names[2]]))


ROUTES = (
    Route("/label", label),
    Route("/label/next", following),
    Route("/label/save", save, methods=["POST"]),
    Route("/label/ask", ask, methods=["POST"]),
)
