"""Serving: the socket first, then the models, then the loop until Ctrl-C.

A port in use or a missing key is told before gigabytes are read.
"""

from __future__ import annotations

import ipaddress
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pretune.base.errors import NoKey, PortInUse, UserError
from pretune.base.extras import need
from pretune.infer.load import open_model, open_shelf
from pretune.infer.predictor import Predictor
from pretune.infer.several import apart
from pretune.infer.shelf import Shelf
from pretune.serve.requests import Limits

if TYPE_CHECKING:
    import uvicorn


def serve(
    paths: Sequence[str | Path],
    host: str = "127.0.0.1",
    port: int = 8000,
    *,
    api_key: str | None = None,
    limits: Limits | None = None,
    adapters: str | Path | None = None,
    write: Callable[[str], object] = print,
) -> None:
    """Serve models under their folders' names until Ctrl-C.

    Args:
        port: 0 takes any that is free.
        api_key: needed unless `host` is loopback.
        adapters: a folder of adapter folders, each served under its own name; the only model is their base.

    Raises:
        UserError: adapters without one base, or none of them fits it; MissingExtra, NoKey, PortInUse, and what
            `open_model` raises.
    """
    need(["serve"])
    check_key(host, api_key)
    names = model_names([Path(path) for path in paths])
    with _listening(host, port) as listener:
        shelf = None if adapters is None else open_shelf(names, Path(adapters))
        if shelf is None:
            models = apart({name: open_model(path) for name, path in names.items()})
        else:
            models = shelf.answering()
            for problem in shelf.refused.values():
                write(f"not served: {problem}")
        server = _server(models, api_key, limits, shelf)
        names_told = ", ".join([*models, *(shelf.folders if shelf else ())])
        write(f"serving {names_told} at {address(listener)}  (Ctrl-C stops)")
        with suppress(KeyboardInterrupt):
            server.run(sockets=[listener])


@contextmanager
def serving(
    models: Mapping[str, Predictor], *, api_key: str | None = None, limits: Limits | None = None, port: int = 0
) -> Iterator[str]:
    """A server in a thread of this process, on loopback, for as long as the block lasts; gives its address."""
    need(["serve"])
    check_key("127.0.0.1", api_key)
    with _listening("127.0.0.1", port) as listener:
        server = _server(models, api_key, limits)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        # The socket listens already: whoever connects before the loop runs waits in its queue.
        listener.listen()
        thread.start()
        try:
            yield address(listener)
        finally:
            server.should_exit = True
            thread.join(timeout=30)


def check_key(host: str, api_key: str | None) -> None:
    """Raise NoKey when other machines could come in without a key, or the key is blank."""
    if api_key is not None and not api_key.strip():
        raise NoKey("the API key is empty", hint="set PRETUNE_API_KEY to a long random text")
    if api_key is None and not is_loopback(host):
        hint = "set PRETUNE_API_KEY or give --api-key-file; or bind to 127.0.0.1"
        raise NoKey(f"a server on {host!r} can be reached from other machines and needs an API key", hint=hint)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`; a name other than localhost may be anything."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def model_names(paths: Sequence[Path]) -> dict[str, Path]:
    """Folders by their last name, with the parent's where two are alike. Raises UserError for one folder twice."""
    full = [path.resolve() for path in paths]
    short = [path.name for path in full]
    names = [p.name if short.count(p.name) == 1 else f"{p.parent.name}/{p.name}" for p in full]
    if len(set(names)) < len(names):
        raise UserError(f"two models have the same name: {', '.join(names)}", hint="rename a folder")
    return dict(zip(names, paths, strict=True))


def address(listener: socket.socket) -> str:
    """The URL of a listening socket."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    """A bound socket. Raises PortInUse, or UserError when the host is not this machine's."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        # On Windows SO_REUSEADDR would let two servers share a port.
        if sys.platform != "win32":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host.strip("[]"), port))
            listener.listen()
        except OSError as error:
            raise _cannot_listen(host, port, error) from None
        yield listener


def _cannot_listen(host: str, port: int, error: OSError) -> UserError:
    import errno

    if error.errno in (errno.EADDRINUSE, getattr(errno, "WSAEADDRINUSE", None)):
        return PortInUse(f"port {port} of {host} is in use", hint=f"choose another: --port {port + 1}")
    return UserError(f"cannot listen on {host}:{port}: {error.strerror}", hint="use 127.0.0.1 and a port above 1023")


def _server(
    models: Mapping[str, Predictor], api_key: str | None, limits: Limits | None, shelf: Shelf | None = None
) -> uvicorn.Server:
    import uvicorn

    from pretune.serve.app import create_app

    config = uvicorn.Config(
        create_app(models, api_key=api_key, limits=limits, shelf=shelf),
        http="h11",
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=5,
    )
    return uvicorn.Server(config)
