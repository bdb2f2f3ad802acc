"""Trying a model: `pretune serve MODEL` is started as a command, and its page is passed on from there.

So what is tried is what is served: chat, labels, marked text, search. The page comes from the studio's own address
(/try/RUN/), behind its token; the model's server is on loopback. Nothing is asked of any port but the one that the
studio itself gave to that server: what a run prints is as foreign as its data.

An application (a support desk, a watch, a shop) has several pages: they are opened at its server's own address.
"""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from anyio.to_thread import run_sync
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from pretune.base.artifact import CARD, read_card
from pretune.studio.folder import Folder, kind_of
from pretune.studio.pages.files import existing
from pretune.studio.rendering import form_of, studio_of, to_run
from pretune.studio.runs import Run

PASSED = ("content-type", "content-security-policy", "x-content-type-options", "referrer-policy", "cache-control")
SECONDS = 600
PIECE = 1 << 16


async def start(request: Request) -> Response:
    """Serve a model of the folder."""
    studio, form = studio_of(request), await form_of(request)
    path = existing(studio.folder, form.get("path", ""))
    name = studio.folder.name(path)
    words = ["serve", f"./{name}", "--port", str(_free_port())]
    return to_run(studio.runs.start(words, f"serve ./{name} {_id(path)}"))


def _id(path: Path) -> str:
    """What a folder holds now: of a model that was made again another server is started."""
    return read_card(path).id if (path / CARD).is_file() else ""


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def port_of(run: Run) -> int | None:
    """The port that the studio gave to the server that a run is; None before that answers, and afterwards."""
    words = run.started.words
    if words[:1] != ("serve",) or words[-2:-1] != ("--port",) or run.state != "running":
        return None
    ready = f" at http://127.0.0.1:{words[-1]}  "
    return int(words[-1]) if ready in run.head or ready in run.log else None


def address_of(run: Run, folder: Folder) -> str:
    """Where the page of the model is that a run serves; "" before it does, and afterwards."""
    port = port_of(run)
    if port is None:
        return ""
    # Another name of this machine: browsers send cookies, our token too, to every port of a name.
    is_app = kind_of(folder.root / run.started.words[1]) == "app"
    return f"http://localhost:{port}/" if is_app else f"/try/{run.id}/"


async def passed_on(request: Request) -> Response:
    """The model's server's answer, as it comes."""
    run = studio_of(request).runs.find(request.path_params["id"])
    port = port_of(run) if run else None
    if port is None:
        raise HTTPException(404, "this model is not served now")
    body = await request.body()
    asked = partial(_ask, port, request.method, request.path_params["path"], body)
    answer = await run_sync(asked)
    headers = {name: value for name in PASSED if (value := answer.getheader(name))}
    return StreamingResponse(_pieces(answer), answer.status, headers)


def _ask(port: int, method: str, path: str, body: bytes) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    try:
        connection.request(
            method, "/" + path, body or None, {"Content-Type": "application/json", "Connection": "close"}
        )
        return connection.getresponse()
    except (OSError, http.client.HTTPException):
        raise HTTPException(502, "the model's server does not answer") from None


def _pieces(answer: http.client.HTTPResponse) -> Iterator[bytes]:
    with answer:
        while piece := answer.read1(PIECE):
            yield piece


ROUTES = (
    Route("/try", start, methods=["POST"]),
    Route("/try/{id}/{path:path}", passed_on, methods=["GET", "POST"]),
)
