"""One process at a time: a file that names the one at work, by pid, host and start; one that died holds nothing."""

from __future__ import annotations

import json
import os
import socket
from contextlib import suppress
from pathlib import Path

from pretune.base.errors import Locked
from pretune.base.json import Json

HINT = "wait for it, or choose another --out"


def take(lock: Path, what: str, *, hint: str = HINT) -> None:
    """Make this process the one that works on `what`; raises Locked where another one does."""
    me = json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "started": started(os.getpid())})
    for _ in range(2):
        try:
            with lock.open("x", encoding="utf-8") as file:
                file.write(me)
            return
        except FileExistsError:
            check_free(lock, what, hint=hint)
            lock.unlink(missing_ok=True)
    raise Locked(f"{what} is taken by another process", hint=hint)


def check_free(lock: Path, what: str, *, hint: str = HINT) -> None:
    """Raise Locked where another process that still runs works on `what`."""
    with suppress(OSError, ValueError):
        holder = json.loads(lock.read_text(encoding="utf-8"))
        if _alive(holder):
            raise Locked(f"process {holder['pid']} on {holder['host']} is working on {what}", hint=hint)


def _alive(holder: Json) -> bool:
    if holder["host"] != socket.gethostname():
        return True
    return holder["pid"] != os.getpid() and is_running(holder["pid"], float(holder["started"]))


def is_running(pid: int, since: float) -> bool:
    """Whether the process that had this pid, and began then (seconds since 1970), still runs: pids are given again."""
    began = started(pid)
    return began is not None and abs(began - since) < 1


def started(pid: int) -> float | None:
    """When the process with this pid began, in seconds since 1970; None where none runs."""
    import psutil

    with suppress(psutil.Error):
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    return None
