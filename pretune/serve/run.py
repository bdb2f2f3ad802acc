"""Serving: the socket first, then the models, then the loop until Ctrl-C or SIGTERM (leaving.py).

A port in use or a missing key is told before gigabytes are read.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pretune.base.errors import DoesNotFit, NoKey, NotSupported, PortInUse, UserError
from pretune.base.extras import need
from pretune.base.limits import memory
from pretune.infer.load import open_model, open_shelf
from pretune.infer.predictor import Predictor, Streams
from pretune.infer.several import Several, apart
from pretune.infer.shelf import Shelf
from pretune.infer.size import weight_bytes
from pretune.serve.kept import Closed, Kept, check_fits
from pretune.serve.keys import Key
from pretune.serve.leaving import LeavingServer, Running, until_told
from pretune.serve.logs import Logging
from pretune.serve.requests import Limits

if TYPE_CHECKING:
    from starlette.types import ASGIApp


@dataclass(frozen=True)
class Options:
    """How a server runs.

    Args:
        keys: one of them is needed unless `host` is loopback.
        memory: bytes that the models' weights may take together; the one that was asked longest ago goes. None: all
            of them stay.
        log: takes a line of JSON for every request; with `log_prompts` it has the whole request.
    """

    keys: Sequence[Key] = ()
    limits: Limits = field(default_factory=Limits)
    memory: int | None = None
    log: Callable[[str], object] | None = None
    log_prompts: bool = False

    @property
    def logging(self) -> Logging | None:
        return Logging(self.log, self.log_prompts) if self.log else None


def serve(
    paths: Sequence[str | Path],
    host: str = "127.0.0.1",
    port: int = 8000,
    *,
    api_key: str | None = None,
    adapters: str | Path | None = None,
    options: Options | None = None,
    write: Callable[[str], object] = print,
) -> None:
    """Serve models under their folders' names until Ctrl-C or SIGTERM, then finish what was accepted.

    Args:
        port: 0 takes any that is free.
        api_key: a key for everything, next to those of the options.
        adapters: a folder of adapter folders, each served under its own name; the only model is their base.

    Raises:
        UserError: adapters without one base, or none of them fits it; DoesNotFit: a model larger than `memory`;
            MissingExtra, NoKey, PortInUse, and what `open_model` raises.
    """
    need(["serve"])
    options = with_key(options or Options(), api_key)
    check_key(host, options.keys)
    names = model_names([Path(path) for path in paths])
    with listening(host, port) as listener:
        opened = _opened(names, adapters, options, write)
        server = _server(opened, options)
        told = cache_told(options.limits, memory().free)
        write(f"serving {', '.join(opened.names)} at {address(listener)}  (Ctrl-C stops)")
        if any(isinstance(model, Streams) for model in opened.models.values()):
            write(told)
        until_told(server, listener, write)


def cache_told(limits: Limits, free: int) -> str:
    """What is said of the cache at the start. Raises DoesNotFit: one that was asked for is larger than the memory."""
    told = f"{limits.cache_bytes / 1e9:.2f} GB"
    if limits.cache_bytes > free:
        hint = f"--limit max_cache_bytes={free // 2} at most, say"
        raise DoesNotFit(f"keys and values of {told} do not fit into the {free / 1e9:.2f} GB that are free", hint=hint)
    return f"a model that writes keeps at most {told} of keys and values (--limit max_cache_bytes=NUMBER)"


@contextmanager
def serving(
    models: Mapping[str, Predictor],
    *,
    api_key: str | None = None,
    options: Options | None = None,
    port: int = 0,
) -> Iterator[str]:
    """A server in a thread of this process, on loopback, for as long as the block lasts; gives its address."""
    need(["serve"])
    with listening("127.0.0.1", port) as listener:
        options = with_key(options or Options(), api_key)
        running = Running(_server(Opened(models), options), listener)
        try:
            yield address(listener)
        finally:
            running.leave(0)
            running.join(30)


def with_key(options: Options, api_key: str | None) -> Options:
    """The options with a key for everything among their keys. Raises NoKey: a blank one."""
    if api_key is None:
        return options
    return replace(options, keys=[*options.keys, Key.of(api_key, "PRETUNE_API_KEY")])


def check_key(host: str, keys: Sequence[Key]) -> None:
    """Raise NoKey when other machines could come in without a key."""
    if not keys and not is_loopback(host):
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
def listening(host: str, port: int) -> Iterator[socket.socket]:
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


@dataclass(frozen=True)
class Opened:
    """What is served: models in memory for good, adapters on a shelf, models that are in memory as there is room."""

    models: Mapping[str, Predictor]
    shelf: Shelf | None = None
    kept: Kept | None = None

    @property
    def names(self) -> list[str]:
        return [*self.models, *(self.shelf.folders if self.shelf else ()), *(self.kept.models if self.kept else ())]


def _opened(
    names: Mapping[str, Path], adapters: str | Path | None, options: Options, write: Callable[[str], object]
) -> Opened:
    if adapters is not None and options.memory is not None:
        hint = "--limit max_adapters=N says how many adapters may be open"
        raise UserError("--memory is for whole models, not for adapters of one base", hint=hint)
    if adapters is not None:
        shelf = open_shelf(names, Path(adapters))
        models = shelf.answering()
        for problem in shelf.refused.values():
            write(f"not served: {problem}")
        return Opened(models, shelf)
    if options.memory is None:
        return Opened(apart({name: open_model(path) for name, path in names.items()}))
    return Opened({}, kept=kept_in(names, options.memory))


def kept_in(names: Mapping[str, Path], memory: int) -> Kept:
    """Models that share so many bytes, each opened once: what is damaged is told before the first request.

    Raises:
        DoesNotFit: one is larger; NotSupported: one of several tasks, whose heads share a body.
    """
    closed = {name: Closed(partial(open_model, path), weight_bytes(path)) for name, path in names.items()}
    check_fits(closed, memory)
    kept = Kept(closed, memory)

    async def each() -> None:
        for name in closed:
            if isinstance((await kept.open(name)).model, Several):
                hint = f"serve {name}/HEAD, or leave out --memory"
                raise NotSupported(f"{name!r} is a model of several tasks, which --memory cannot hold", hint=hint)

    asyncio.run(each())
    return kept


def _server(opened: Opened, options: Options) -> LeavingServer:
    from pretune.serve.app import create_app

    leaving = threading.Event()
    app = create_app(
        opened.models,
        keys=options.keys,
        limits=options.limits,
        shelf=opened.shelf,
        kept=opened.kept,
        logging=options.logging,
        leaving=leaving,
    )
    return hosted(app, options.limits, leaving)


def hosted(app: ASGIApp, limits: Limits, leaving: threading.Event) -> LeavingServer:
    """The server of an ASGI application, which hears by `leaving` that it takes no more requests."""
    import uvicorn

    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=limits.max_seconds + 1,
    )
    return LeavingServer(uvicorn.Server(config), leaving, limits.max_body_seconds)
