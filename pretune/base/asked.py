"""What is asked of a run from outside while it goes on: SIGUSR1 asks for a checkpoint. The verbs listen for it."""

from __future__ import annotations

import signal
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


def is_save_asked() -> bool:
    """Whether a checkpoint was asked for since this was called last."""
    global _asked
    asked, _asked = _asked, False
    return asked
