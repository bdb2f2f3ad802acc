"""The rows of a file or a finished data set, as the readers of the stages see them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pretune.base.artifact import Artifact
from pretune.base.errors import UserError
from pretune.base.json import JsonMap
from pretune.studio.folder import kind_of
from pretune.studio.pages.files import crumbs, existing
from pretune.studio.rendering import reply, studio_of
from pretune.text.dataset.recognised import recognised
from pretune.text.read.readers import Repairs, read_records

ROWS = 50
SHOWN_COLUMNS = 12


def data(request: Request) -> Response:
    folder = studio_of(request).folder
    path = existing(folder, request.query_params.get("path", ""))
    start = number_of(request.query_params.get("from", ""))
    file = _file_of(path, request.query_params.get("split", ""))
    rows, told = _rows(file, start) if file else ([], "")
    return reply(
        request,
        "data",
        name=folder.name(path),
        crumbs=crumbs(folder, path),
        rows=rows,
        told=told,
        columns=_columns(rows),
        start=start,
        more=len(rows) == ROWS,
        step=ROWS,
        splits=[one.name for one in sorted(path.glob("*.parquet"))] if path.is_dir() else [],
        split=file.name if file and path.is_dir() else "",
        read_as=_read_as(path),
        is_raw=path.is_file() or kind_of(path) == "folder",
    )


def _file_of(path: Path, split: str) -> Path | None:
    """The file that is read: of a data set the split that was asked for, or the first; of a plain folder none."""
    if path.is_file():
        return path
    found = sorted(path.glob("*.parquet"))
    return next((one for one in found if one.name == split), found[0] if found else None)


def _rows(file: Path, start: int) -> tuple[list[JsonMap], str]:
    """Rows from one on, and what reading told; a file that cannot be read has none."""
    try:
        return list(islice(read_records(file, Repairs(quarantine=[])), start, start + ROWS)), ""
    except UserError as error:
        return [], str(error)


def _columns(rows: Sequence[JsonMap]) -> list[str]:
    names = dict.fromkeys(name for row in rows for name, value in row.items() if value not in (None, "", [], {}))
    return list(names)[:SHOWN_COLUMNS]


def _read_as(path: Path) -> str:
    """What stage dataset would read raw files as, by their first records: a page does not read them all."""
    if kind_of(path) not in ("file", "folder"):
        return ""
    try:
        found = recognised(Artifact.unread(path))
    except UserError as error:
        return str(error)
    return f"{found.shape} ({found.read_as})" if found.shape else "text"


def number_of(text: str) -> int:
    """The number that an address has; 0 for anything else."""
    return int(text) if text.isdecimal() and len(text) < 10 else 0


ROUTES = (Route("/data", data),)
