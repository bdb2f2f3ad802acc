"""Serving an application: its routes behind the server's keys, limits, counts and log (pretune/serve)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from pretune.apps.app import App, Started, open_app, state_of
from pretune.apps.state import is_there
from pretune.base.artifact import Artifact
from pretune.base.errors import NotSupported
from pretune.base.extras import need
from pretune.serve.app import Probes, guarded
from pretune.serve.leaving import Running, until_told
from pretune.serve.run import Options, address, check_key, hosted, listening, with_key


def serve_app(
    path: str | Path,
    host: str = "127.0.0.1",
    port: int = 8000,
    *,
    api_key: str | None = None,
    options: Options | None = None,
    state: Path | None = None,
    webhook: str | None = None,
    sources: Sequence[str] = (),
    write: Callable[[str], object] = print,
) -> None:
    """Serve an application until Ctrl-C or SIGTERM, then finish what was accepted.

    Args:
        port: 0 takes any that is free.
        state: where its state lies, if not in its folder.
        webhook: an address that is told what people must hear.
        sources: where texts come from.

    Raises:
        MissingExtra, NoKey, PortInUse, and what `open_app` raises; NotSupported: it follows no source.
    """
    need(["serve"])
    options = with_key(options or Options(), api_key)
    check_key(host, options.keys)
    with listening(host, port) as listener:
        app, leaving = open_app(path, state), threading.Event()
        if sources and not app.follows:
            hint = "--source is for what `pretune monitor` makes"
            raise NotSupported(f"{Path(path).as_posix()} follows no sources", hint=hint)
        server = hosted(asgi(app, options, leaving), options.limits, leaving)
        for line in left_behind(Path(path), state):
            write(line)
        with app.running(Started(write, webhook, sources)):
            write(f"serving {Path(path).resolve().name} at {address(listener)}  (Ctrl-C stops)")
            until_told(server, listener, write)


@contextmanager
def serving_app(
    app: App, *, options: Options | None = None, started: Started | None = None, port: int = 0
) -> Iterator[str]:
    """The same in a thread of this process, on loopback, for as long as the block lasts; gives its address."""
    need(["serve"])
    options, leaving = options or Options(), threading.Event()
    with listening("127.0.0.1", port) as listener, app.running(started or Started(lambda line: None)):
        running = Running(hosted(asgi(app, options, leaving), options.limits, leaving), listener)
        try:
            yield address(listener)
        finally:
            running.leave(0)
            running.join(30)


def asgi(app: App, options: Options, leaving: threading.Event | None = None) -> ASGIApp:
    """The application as an ASGI application. /v1/app says what its pages need to know: whether there are keys."""
    probes = Probes(leaving or threading.Event(), partial(run_sync, app.gauges))
    own = app.routes(options.limits)
    routes = [*own, *probes.routes(), Route("/v1/app", _about(app))]
    known = {route.path for route in routes}
    pages = {route.path for route in own if not route.path.startswith("/v1/")}
    return guarded(
        routes,
        probes.metrics,
        options.keys,
        options.limits,
        template=lambda path: path if path in known else "other",
        logging=options.logging,
        pages=pages,
    )


def _about(app: App) -> Callable[[Request], Response]:
    def about(request: Request) -> Response:
        return JSONResponse({"gives": app.gives.kind})

    return about


def left_behind(path: Path, state: Path | None = None) -> Iterator[str]:
    """A line for every earlier one of this name that was set aside with a state, where this one has none yet."""
    if not is_there(state_of(Artifact.open(path, "app"), state)):
        for aside in sorted(path.resolve().parent.glob(f"{path.resolve().name}@*")):
            if is_there(aside / "state"):
                there = (path.parent / aside.name / "state").as_posix()
                yield f"the state of an earlier one lies in {there}; --state {there} goes on with it"
