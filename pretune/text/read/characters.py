"""Tables over code points: what numpy looks characters up in. Built once per process, in some 30 ms."""

from __future__ import annotations

import unicodedata
from functools import cache

import numpy as np
from numpy.typing import NDArray


@cache
def categories(size: int) -> NDArray[np.str_]:
    """The general category ("Lu", "Nd", ...) of each code point below `size`, str [size]."""
    return np.array(list(map(unicodedata.category, map(chr, range(size)))), dtype="U2")


@cache
def lowered(size: int) -> NDArray[np.uint32]:
    """The lower case of each code point below `size` (itself if that is not one code point), uint32 [size]."""
    table = np.arange(size, dtype=np.uint32)
    cased = "".join(map(chr, range(min(size, 0x20000))))  # no script beyond has two cases
    for code, low in enumerate(map(str.lower, cased)):
        if low != cased[code] and len(low) == 1:
            table[code] = ord(low)
    return table


@cache
def alphanumeric() -> NDArray[np.bool_]:
    """Whether each code point is a letter or a figure (str.isalnum), bool [0x110000]; none is beyond plane 3."""
    table = np.zeros(0x110000, dtype=bool)
    table[:0x40000] = list(map(str.isalnum, map(chr, range(0x40000))))
    return table


def codes_of(text: str) -> NDArray[np.uint32]:
    """The code points of a text, uint32 [C]."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
