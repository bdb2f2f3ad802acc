"""How a server leaves: Ctrl-C or SIGTERM once, and it finishes what it accepted; twice, and it is gone.

    told ──▶ /ready says 503 ──▶ takes no connection ──▶ reads those it took ──▶ answers ──▶ exit 0

The server runs in a thread of its own, so that signals, which reach the main thread, are ours: uvicorn would close at
once what has connected and not yet been read, wait on a second SIGTERM, and die by the signal instead of ending with 0.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pretune.base.asked import ENDING

if TYPE_CHECKING:
    import uvicorn

TAKING = 0.1
"""Seconds from the signal to the last connection that is taken."""
READING = 0.5
"""Seconds from the last connection that is taken to the moment when those that asked nothing are closed."""
TICK = 0.2


@dataclass(frozen=True)
class LeavingServer:
    """A server, what tells its routes that it is leaving, and how long a client may take to ask something."""

    uvicorn: uvicorn.Server
    leaving: threading.Event
    idle_seconds: float


class Running:
    """A server in a thread."""

    def __init__(self, server: LeavingServer, listener: socket.socket):
        self.server, self.listener = server, listener
        server.uvicorn.config.callback_notify = _closing_the_idle(server.uvicorn)
        server.uvicorn.config.timeout_notify = max(1, int(server.idle_seconds))
        self.thread = threading.Thread(target=server.uvicorn.run, kwargs={"sockets": [listener]}, daemon=True)
        # The socket listens already: whoever connects before the loop runs waits in its queue.
        listener.listen()
        self.thread.start()

    def leave(self, reading: float = READING) -> None:
        """Take no more connections; finish what was asked by those that were taken."""
        self.server.leaving.set()
        if reading and self.server.uvicorn.started:
            for one in self.server.uvicorn.servers:
                # Not at once: a close runs before what has connected is accepted, and whoever waits there is reset.
                loop = one.get_loop()
                loop.call_soon_threadsafe(loop.call_later, TAKING, one.close)
            time.sleep(TAKING + reading)
        self.server.uvicorn.should_exit = True

    def join(self, seconds: float | None = None) -> None:
        """Wait for its end; in pieces, since a signal must reach us on Windows too."""
        end = None if seconds is None else time.monotonic() + seconds
        while self.thread.is_alive() and (end is None or time.monotonic() < end):
            self.thread.join(TICK)


def until_told(server: LeavingServer, listener: socket.socket, write: Callable[[str], object]) -> None:
    """Serve until a signal comes, then leave.

    Raises:
        RuntimeError: the server ended by itself; what runs the process starts it again if it does not end with 0.
    """
    with signals() as told:
        running = Running(server, listener)
        while running.thread.is_alive() and not told.is_set():
            told.wait(TICK)
        if told.is_set():
            write("finishing what was asked; once more to leave at once")
            running.leave()
        running.join()
        if not told.is_set():
            raise RuntimeError("the server ended by itself; its log says why")


@contextmanager
def signals() -> Iterator[threading.Event]:
    """Set by the first SIGINT or SIGTERM; the second ends the process."""
    told = threading.Event()

    def handle(number: int, frame: object) -> None:
        if told.is_set():
            os._exit(128 + number)
        told.set()

    if threading.current_thread() is not threading.main_thread():
        yield told
        return
    before = {number: signal.signal(number, handle) for number in ENDING}
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _closing_the_idle(server: uvicorn.Server) -> Callable[[], Any]:
    """Closes connections that asked nothing from one call to the next: half a request line holds one for ever."""
    seen: dict[Any, Any] = {}

    async def close() -> None:
        now = {c: c.cycle for c in server.server_state.connections if c.cycle is None or c.cycle.response_complete}
        for connection, cycle in now.items():
            if connection in seen and seen[connection] is cycle:
                connection.transport.close()
        seen.clear()
        seen.update(now)

    return close
