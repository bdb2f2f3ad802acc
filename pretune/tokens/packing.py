"""From documents of any length to rows of one length, with the borders kept.

    documents   a a a E  b b E  c c c c c E          E is the end token
    blocks of 4 [a a a E b] [b b E c c] [c c c c E]  each reads one token more: the last target
    segments    [0 0 0 0 1] [0 0 0 1 1] [0 0 0 0 0]  documents within the block, counted from 0

A target counts only where it and its input lie in one segment: so the first token of a document is never
a target, its end always is, and every other token is a target exactly once per epoch.

L tokens of a row.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pretune.tokens.store import Store


@dataclass(frozen=True)
class Blocks:
    """Rows of `length` inputs (and one token more) cut from a store in its own order."""

    store: Store
    length: int

    def __len__(self) -> int:
        return max(0, -(-(self.store.num_tokens - 1) // self.length))

    def __iter__(self) -> Iterator[tuple[NDArray[np.int32], NDArray[np.int32]]]:
        return (self[k] for k in range(len(self)))

    def __getitem__(self, k: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """(ids, segments) of block k, each int32 [L + 1]; behind the last token id 0 and segment -1."""
        if not 0 <= k < len(self):
            raise IndexError(k)
        start = k * self.length
        stop = min(start + self.length + 1, self.store.num_tokens)
        ids, segments = np.zeros(self.length + 1, np.int32), np.full(self.length + 1, -1, np.int32)
        ids[: stop - start] = self.store.ids[start:stop]
        first, last = np.searchsorted(self.store.ends, np.array([start, stop - 1], np.uint64), side="right")
        ends = self.store.ends[first : last + 1]
        segments[: stop - start] = np.searchsorted(ends, np.arange(start, stop, dtype=np.uint64), side="right")
        return ids, segments


def pack_rows(lengths: Sequence[int], length: int) -> list[list[int]]:
    """Put short rows together into rows of at most `length`, longest first, each where it leaves least free.

    Args:
        lengths: of each short row, 0 ... length.
        length: of the rows that come out.

    Returns:
        For each packed row the indices of what lies in it. Every index stands once; the same lengths give the
        same rows.
    """
    assert all(0 <= n <= length for n in lengths), "a row is longer than the packed length"
    rows: list[list[int]] = []
    free: list[tuple[int, int]] = []  # (tokens free, row), sorted
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        at = bisect_left(free, (lengths[index], 0))
        if at == len(free):
            free.append((length, len(rows)))
            rows.append([])
        room, row = free.pop(at)
        rows[row].append(index)
        insort(free, (room - lengths[index], row))
    return rows
