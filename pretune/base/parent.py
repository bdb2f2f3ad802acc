"""A process that ends with the one that started it, however that one ends."""

from __future__ import annotations

import signal
import sys
from contextlib import suppress

SET_DEATH_SIGNAL = 1
"""PR_SET_PDEATHSIG of linux/prctl.h."""


def end_with_parent() -> None:
    """Let Linux kill this process when the thread that started it ends, be it by SIGKILL; elsewhere nothing."""
    if sys.platform == "linux":
        import ctypes

        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(SET_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
