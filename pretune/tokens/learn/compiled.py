"""Loops that numba turns into machine code, where it is installed (`pip install "pretune[fast]"`).

numpy does the same work everywhere, some times slower; tests hold both to the same answers. A function is compiled at
its first call on a machine and kept beside its file, or in numba's own folder where that cannot be written.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from typing import Any, ParamSpec, TypeVar

from numpy.typing import NDArray

from pretune.base.errors import MissingExtra

P = ParamSpec("P")
R = TypeVar("R")


@cache
def available() -> bool:
    """Whether numba is installed and accepts the numpy that is here."""
    try:
        import numba  # noqa: F401
    except ImportError:
        return False
    return True


def pays(seconds: float) -> bool:
    """Whether numba is there and saves so many seconds that loading it (0.7 s a process) is worth while."""
    return (seconds > 1 or "numba" in sys.modules) and available()


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """The function in machine code; other threads go on while it runs."""
    return _compiled(function)


def inlined(function: Callable[P, R]) -> Callable[P, R]:
    """The same for one that is called so often that its call is felt: it becomes a part of those that call it."""
    return _compiled(function, forceinline=True)


def _compiled(function: Callable[P, R], **options: bool) -> Callable[P, R]:
    try:
        from numba import njit
    except ImportError:
        hint = 'pip install "pretune[fast]", or leave algorithm.engine=auto'
        raise MissingExtra("engine=numba needs numba", hint=hint) from None
    found: Callable[P, R] = njit(cache=True, nogil=True, **options)(function)
    return found


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """The array, not to be written into: machine code for those and for others is compiled apart."""
    view = array.view()
    view.flags.writeable = False
    return view
