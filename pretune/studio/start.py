"""Starting the studio: the folder's lock, the socket, the address with the token, then until Ctrl-C or SIGTERM."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pretune.base.errors import NoSuchFile
from pretune.base.extras import need
from pretune.base.lock import release, take
from pretune.studio.folder import Folder

if TYPE_CHECKING:
    from pretune.serve.leaving import LeavingServer

HINT = "open the address that it printed, or stop it"
IDLE_SECONDS = 30


def studio(
    path: str | Path, port: int = 8100, *, also: Sequence[str] = (), tell: Callable[[str], object] | None = None
) -> None:
    """The studio of a folder on loopback, until Ctrl-C or SIGTERM; what it started goes on.

    Args:
        port: 0 takes any that is free.
        also: paths elsewhere that recipes may read.
        tell: is told the address, with the token that opens it; by default it is printed.

    Raises:
        NoSuchFile: no such folder; Locked: it has a studio; PortInUse, MissingExtra.
    """
    need(["serve"])
    from pretune.serve.leaving import until_told
    from pretune.serve.run import address, listening

    token = secrets.token_urlsafe(24)
    with opened(path, also) as folder, listening("127.0.0.1", port) as listener:
        made, where = server(folder, token), f"{address(listener)}/?token={token}"
        tell(where) if tell else print(f"the studio of {str(path)!r}: {where}  (Ctrl-C stops)", flush=True)
        until_told(made, listener, lambda said: None)


@contextmanager
def opened(path: str | Path, also: Sequence[str] = ()) -> Iterator[Folder]:
    """The folder with its lock taken. Raises NoSuchFile, Locked."""
    folder = Folder.of(path, tuple(also))
    if not folder.root.is_dir():
        raise NoSuchFile(f"there is no folder {str(path)!r}")
    folder.own.mkdir(exist_ok=True)
    lock = folder.own / "lock"
    take(lock, f"{str(path)!r} as its studio", hint=HINT)
    try:
        yield folder
    finally:
        release(lock)


def server(folder: Folder, token: str) -> LeavingServer:
    """The studio as a server that has not begun."""
    import uvicorn

    from pretune.serve.leaving import LeavingServer
    from pretune.studio.app import create_app

    config = uvicorn.Config(
        create_app(folder, token),
        http="h11",
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=2,
    )
    return LeavingServer(uvicorn.Server(config), threading.Event(), IDLE_SECONDS)
