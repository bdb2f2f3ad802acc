"""What is in the folder: folders, artifacts by their kind, recipes, files."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import Route

from pretune.base.errors import NoSuchFile
from pretune.base.json import Json
from pretune.report.numbers import size
from pretune.studio.folder import Folder, kind_of
from pretune.studio.rendering import HEADERS, reply, studio_of

MOST = 2000
"""So many entries of a folder are shown."""
SEALED = {
    **HEADERS,
    "Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
}
"""A page that was found in the folder shows itself, and can do nothing: it may be anybody's."""


def files(request: Request) -> Response:
    """A folder; what is an artifact or a file is sent on to its own page."""
    folder, name = studio_of(request).folder, request.query_params.get("path", "")
    path = existing(folder, name)
    if path.is_file() or kind_of(path) != "folder":
        return RedirectResponse(request.url_for(page_of(path)).path + f"?{request.query_params}", 303, HEADERS)
    entries = list(folder.entries(path))
    rows = [_row(folder, one) for one in entries[:MOST]]
    return reply(request, "files", rows=rows, path=path, crumbs=crumbs(folder, path), left_out=len(entries) - len(rows))


def existing(folder: Folder, name: str) -> Path:
    """A path in the folder that is there. Raises OutsideFolder, NoSuchFile."""
    path = folder.inside(name)
    if not path.exists():
        raise NoSuchFile(f"there is no {name[:200]!r} here", hint="it may have been moved: look at the folder again")
    if not path.is_file() and not path.is_dir():  # a pipe would be waited for
        raise NoSuchFile(f"{name[:200]!r} is neither a file nor a folder", hint="nothing of it can be shown")
    return path


def page_of(path: Path) -> str:
    """The page that shows a path."""
    kind = kind_of(path)
    return {"folder": "files", "recipe": "recipe", "file": "data"}.get(kind, "artifact")


def crumbs(folder: Folder, path: Path) -> list[tuple[str, str]]:
    """(name, path) from the studio's folder to this one."""
    names = folder.name(path).split("/") if path != folder.root else []
    return [(folder.root.name, ""), *((name, "/".join(names[: k + 1])) for k, name in enumerate(names))]


def _row(folder: Folder, path: Path) -> Json:
    stat = path.stat()
    return {
        "name": path.name,
        "path": folder.name(path),
        "kind": kind_of(path),
        "page": page_of(path),
        "size": size(stat.st_size) if path.is_file() else "",
        "time": datetime.fromtimestamp(stat.st_mtime).strftime("%Y-%m-%d %H:%M"),
    }


def raw(request: Request) -> Response:
    """The file itself: a report shows itself, in a sandbox; all else is text or is saved."""
    path = existing(studio_of(request).folder, request.query_params.get("path", ""))
    if not path.is_file():
        raise NoSuchFile(f"{path.name!r} is no file")
    kind = {".html": "text/html", ".json": "application/json", ".svg": "application/octet-stream"}.get(path.suffix)
    return FileResponse(path, headers=SEALED, media_type=kind or "text/plain; charset=utf-8")


ROUTES = (Route("/files", files), Route("/raw", raw))
