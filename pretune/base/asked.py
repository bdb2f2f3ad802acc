"""What is asked of a run from outside while it goes on: SIGUSR1 asks for a checkpoint. The verbs listen for it."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, *([signal.SIGBREAK] if hasattr(signal, "SIGBREAK") else []))
"""What asks a process to end: Ctrl-C, SIGTERM, and on Windows, which has no other from outside, Ctrl-Break."""
_asked = False


def listen() -> None:
    """From now on SIGUSR1 asks for a checkpoint, where there is such a signal; before, it would end the process."""
    if hasattr(signal, "SIGUSR1"):
        signal.signal(signal.SIGUSR1, _ask)


def _ask(number: int, frame: FrameType | None) -> None:
    global _asked  # noqa: PLW0603
    _asked = True


def ask_to_save(pid: int) -> None:
    """Ask another process for a checkpoint; one that does not listen yet has nothing to save, and would end by it."""
    if _listens(pid):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGUSR1)


def _listens(pid: int) -> bool:
    """Whether a process handles SIGUSR1: proc(5), the mask SigCgt; where there is none, it is believed."""
    if sys.platform != "linux":
        return True
    with suppress(OSError):
        told = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
        caught = next(line for line in told.splitlines() if line.startswith("SigCgt:"))
        return bool(int(caught.split()[1], 16) >> (signal.SIGUSR1 - 1) & 1)
    return False


def is_save_asked() -> bool:
    """Whether a checkpoint was asked for since this was called last."""
    global _asked
    asked, _asked = _asked, False
    return asked
