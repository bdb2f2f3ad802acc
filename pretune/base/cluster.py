"""A connection to a Ray cluster that runs already; none is ever started."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from pretune.base.errors import Unreachable
from pretune.base.extras import need

CONNECT_SECONDS = 10


@contextmanager
def connected(address: str, *, output: bool = False) -> Iterator[ModuleType]:
    """The module `ray`, connected.

    Args:
        address: `auto`, `HOST:PORT` or `ray://HOST:PORT`.
        output: whether what the nodes print is printed here.

    Raises:
        MissingExtra: Ray is not installed; Unreachable: nobody answers at the address.
    """
    need(["scale"])
    import ray

    _knock(address)
    try:
        ray.init(address=address, log_to_driver=output, logging_level="ERROR")
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        raise _unreachable(address, str(error).partition("\n")[0]) from None
    try:
        yield ray
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Ray waits for minutes where nobody answers."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon:
        return
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
    except (OSError, ValueError) as error:
        raise _unreachable(address, str(error)) from None


def _unreachable(address: str, why: str) -> Unreachable:
    hint = "start one: `ray start --head --port=6379`, on the other nodes `ray start --address=HOST:6379`"
    return Unreachable(f"no Ray cluster answers at {address!r}: {why}", hint=hint)
