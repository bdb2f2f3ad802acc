"""Characters for numpy: tables over code points, built once per process in some 30 ms, and batches of texts."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
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


def batches(texts: Iterable[str], most_characters: int, most_texts: int) -> Iterator[list[str]]:
    """Texts that are worked on together, as many as fit: each counts one character more, for the line end behind it."""
    held: list[str] = []
    size = 0
    for text in texts:
        if held and (size + len(text) + 1 > most_characters or len(held) == most_texts):
            yield held
            held, size = [], 0
        held.append(text)
        size += len(text) + 1
    if held:
        yield held


def word_set(text: str) -> frozenset[str]:
    """The words of a table that is written as one text."""
    return frozenset(text.split())


def codes_of(text: str) -> NDArray[np.uint32]:
    """The code points of a text, uint32 [C]."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
