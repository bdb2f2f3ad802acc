"""Trying a model: `pretune serve MODEL` is started as a command, and its page is passed on from there.

So what is tried is what is served: chat, labels, marked text, search. The page comes from the studio's own address
(/try/RUN/), behind its token; the model's server is on loopback.
"""

from __future__ import annotations

import http.client
import re
import socket
from collections.abc import Iterator
from functools import partial

from anyio.to_thread import run_sync
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from pretune.studio.pages.files import existing
from pretune.studio.rendering import form_of, studio_of, to_run
from pretune.studio.runs import Run

SERVES = re.compile(r"^serving .* at http://127\.0\.0\.1:(\d+)  ", re.MULTILINE)
PASSED = ("content-type", "content-security-policy", "x-content-type-options", "referrer-policy", "cache-control")
SECONDS = 600
PIECE = 1 << 16


async def start(request: Request) -> Response:
    """Serve a model of the folder."""
    studio, form = studio_of(request), await form_of(request)
    path = studio.folder.name(existing(studio.folder, form.get("path", "")))
    return to_run(studio.runs.start(["serve", f"./{path}", "--port", str(_free_port())]))


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def address_of(run: Run) -> str:
    """Where the page of the model is that a run serves; "" before it does, and afterwards."""
    serves = run.started.words[0] == "serve" and run.state == "running" and SERVES.search(run.log)
    return f"/try/{run.id}/" if serves else ""


async def passed_on(request: Request) -> Response:
    """The model's server's answer, as it comes."""
    run = studio_of(request).runs.find(request.path_params["id"])
    found = SERVES.search(run.log) if run and run.state == "running" else None
    if found is None:
        raise HTTPException(404, "this model is not served now")
    body = await request.body()
    asked = partial(_ask, int(found[1]), request.method, request.path_params["path"], body)
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
