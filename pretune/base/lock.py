"""One process at a time: a file that names the one at work, by pid, host and start; one that died holds nothing.

    OUT.scratch/lock         {"pid": 4711, "host": "desk", "started": "0eacbb6f-.../239671"}, with its job of Slurm
    OUT.scratch/lock.guard   held by the operating system while somebody looks at the lock and takes it

No clock is asked: a pid is given again, and a clock is set, but no two processes of a boot share pid and tick.
"""

from __future__ import annotations

import json
import os
import shlex
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from pretune.base.errors import Locked
from pretune.base.json import Json

HINT = "wait for it, or choose another --out"


def take(lock: Path, what: str, *, hint: str = HINT) -> None:
    """Make this process the one that works on `what`; raises Locked where another one does, or this one already."""
    try:
        with _guarded(lock):
            check_free(lock, what, hint=hint)
            lock.unlink(missing_ok=True)
            _appear(lock, json.dumps(_me()))
    except FileExistsError:
        raise Locked(f"{what} is taken by another process", hint=hint) from None
    except FileNotFoundError:  # the folder went: whoever worked there published it just now
        raise Locked(f"{what} is being finished by another process", hint=hint) from None


def release(lock: Path) -> None:
    """Give it back, if it is still this process's: another one may have begun where this one has just published."""
    with suppress(OSError):
        if holder_of(lock) == _me():
            lock.unlink()


def free(lock: Path, holder: Json) -> None:
    """Take it away from one that is gone, as somebody knows who can tell, unless another one has taken it since."""
    with suppress(OSError), _guarded(lock):
        if holder_of(lock) == holder:
            lock.unlink()


def check_free(lock: Path, what: str, *, hint: str = HINT) -> None:
    """Raise Locked where a process that still runs works on `what`."""
    if is_held(lock):
        holder = holder_of(lock) or {"pid": "?", "host": "?"}
        hint = hint if holder["host"] == socket.gethostname() else _elsewhere(lock, holder, hint)
        raise Locked(f"process {holder['pid']} on {holder['host']} is working on {what}", hint=hint)


def _elsewhere(lock: Path, holder: Json, hint: str) -> str:
    """What to do about a process of another host, which may be gone; a frozen one writes on when it wakes."""
    there, file = f"ps -p {holder['pid']}", shlex.quote(lock.absolute().as_posix())
    return f"{hint}; if {holder['host']} is off, or `{there}` there shows no pretune: `rm {file}`"


def is_held(lock: Path) -> bool:
    """Whether the process that took it still runs; of another host it is believed, unless Slurm has ended it."""
    holder = holder_of(lock)
    if holder is None:
        return False
    if holder["host"] != socket.gethostname():
        return not _was_requeued(holder.get("slurm"), _slurm())
    return is_running(holder["pid"], holder["started"])


def _me() -> Json:
    found: Json = {"pid": os.getpid(), "host": socket.gethostname(), "started": started(os.getpid())}
    return found | ({"slurm": _slurm()} if _slurm() else {})


def _slurm() -> list[str | int] | None:
    """The cluster and the number of the job of this process, and how often that was started again: sbatch(1)."""
    given = os.environ
    if "SLURM_JOB_ID" not in given:
        return None
    return [given.get("SLURM_CLUSTER_NAME", ""), given["SLURM_JOB_ID"], int(given.get("SLURM_RESTART_COUNT", 0))]


def _was_requeued(before: object, now: list[str | int] | None) -> bool:
    """Whether both are of one job, which was started again in between: after a node was lost, say."""
    return isinstance(before, list) and now is not None and before[:2] == now[:2] and before[2:] < now[2:]


def holder_of(lock: Path) -> Json | None:
    """Who took it: pid, host and start; None where nobody did."""
    with suppress(OSError, ValueError):
        found = json.loads(lock.read_text(encoding="utf-8"))
        if isinstance(found, dict) and isinstance(found.get("pid"), int) and {"host", "started"} <= found.keys():
            return found
    return None


def _appear(lock: Path, text: str) -> None:
    """Let the file appear at once with all that it says, and never over another one (where there are hard links)."""
    own = lock.with_name(f"{lock.name}.{os.getpid()}")
    own.write_text(text, encoding="utf-8")
    try:
        os.link(own, lock)
    except (FileExistsError, FileNotFoundError):
        raise
    except OSError:  # FAT, some network folders
        own.replace(lock)
    finally:
        own.unlink(missing_ok=True)


@contextmanager
def _guarded(lock: Path) -> Iterator[None]:
    """One at a time: else two that find a dead lock delete each other's living one."""
    with lock.with_name(f"{lock.name}.guard").open("ab") as file:
        with suppress(OSError):  # a network folder that knows no locks
            _hold(file.fileno())
        yield


def _hold(file: int) -> None:
    """Wait until no other process holds the file; the end of this one lets go of it."""
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(file, msvcrt.LK_LOCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX)


def is_running(pid: int, since: str) -> bool:
    """Whether the process that had this pid, and began then, still runs: pids are given again."""
    return started(pid) == since


def started(pid: int) -> str | None:
    """When the process with this pid began, as nothing but another process's start changes it; None where none runs."""
    if sys.platform == "linux":
        return _tick(pid)
    import psutil

    with suppress(psutil.Error):
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else str(process.create_time())
    return None


def _tick(pid: int) -> str | None:
    """The boot and the tick in it, proc(5); what psutil makes of it moves with the clock, by the time of the boot."""
    try:
        told = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    state, *rest = told.rpartition(")")[2].split()
    return None if state in "ZX" else f"{_boot()}/{rest[18]}"


@cache
def _boot() -> str:
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    return ""
