"""Sorting more numbers than memory holds: sorted runs on disk, merged block by block.

    add, add, add -> [run 0 | run 1 | run 2]  on disk, each sorted
    blocks()      -> the least of all runs, in pieces that fit into memory, as often as asked

The result depends on the numbers alone: not on the order in which they came, nor on how many runs there were.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

_LEAST_BLOCK = 512


class Sorter:
    """uint64 in any order in, ascending blocks out; equal numbers stay.

    Args:
        path: file for the runs; made when memory is full, gone after close().
        memory_bytes: the most that is held at a time, in add() and in blocks(), and 4 KB per run at least.
    """

    def __init__(self, path: Path, *, memory_bytes: int):
        self._path = path
        self._capacity = max(memory_bytes // 16, _LEAST_BLOCK)  # half of it holds, the other half is for sorting
        self._held: list[NDArray[np.uint64]] = []
        self._size = 0
        self._ends = [0]

    def add(self, values: NDArray[np.uint64]) -> None:
        for at in range(0, len(values), self._capacity):
            part = values[at : at + self._capacity]
            if self._size + len(part) > self._capacity:
                self._spill()
            self._held.append(part.copy())
            self._size += len(part)

    def blocks(self) -> Iterator[NDArray[np.uint64]]:
        """All that was added, ascending; call it when everything was added. May be called again."""
        if len(self._ends) == 1:
            yield from self._in_memory()
            return
        self._spill()
        with self._path.open("rb") as file:
            yield from self._merged(file)

    def close(self) -> None:
        self._held = []
        self._path.unlink(missing_ok=True)

    def _in_memory(self) -> Iterator[NDArray[np.uint64]]:
        if self._held:
            self._held = [np.sort(np.concatenate(self._held))]
            yield self._held[0]

    def _spill(self) -> None:
        if self._held:
            run = np.concatenate(self._held)
            run.sort()
            with self._path.open("ab" if len(self._ends) > 1 else "wb") as file:
                file.write(run.data)
            self._ends.append(self._ends[-1] + len(run))
            self._held, self._size = [], 0

    def _merged(self, file: BinaryIO) -> Iterator[NDArray[np.uint64]]:
        step = max(self._capacity // (len(self._ends) - 1), _LEAST_BLOCK)
        heads = [_Head(file, *bounds, step) for bounds in zip(self._ends[:-1], self._ends[1:], strict=True)]
        while heads:
            # Nothing below the least of the heads' last numbers can still come from disk.
            bound = min(head.values[-1] for head in heads)
            block = np.concatenate([head.take(bound) for head in heads])
            block.sort()
            yield block
            heads = [head for head in heads if head.filled()]


class _Head:
    """The next numbers of one run."""

    def __init__(self, file: BinaryIO, start: int, stop: int, step: int):
        self._file, self._at, self._stop, self._step = file, start, stop, step
        self.values = np.empty(0, dtype=np.uint64)
        self.filled()

    def take(self, bound: np.uint64) -> NDArray[np.uint64]:
        """The numbers up to `bound`, which are not here any more."""
        cut = int(np.searchsorted(self.values, bound, side="right"))
        taken, self.values = self.values[:cut], self.values[cut:]
        return taken

    def filled(self) -> bool:
        """Read on where nothing is left; False at the end of the run."""
        if not len(self.values) and self._at < self._stop:
            count = min(self._step, self._stop - self._at)
            self._file.seek(8 * self._at)
            self.values = np.frombuffer(self._file.read(8 * count), dtype=np.uint64)
            self._at += count
        return len(self.values) > 0


def frequent(blocks: Iterable[NDArray[np.uint64]], times: int) -> Iterator[NDArray[np.uint64]]:
    """What is in sorted blocks at least `times` times."""
    last, count = np.empty(0, dtype=np.uint64), 0
    for block in blocks:
        values, counts = np.unique(block, return_counts=True)
        if len(last) and values[0] == last[0]:
            counts[0] += count
        elif count >= times:
            yield last
        yield values[:-1][counts[:-1] >= times]
        last, count = values[-1:], int(counts[-1])  # may go on in the next block
    if count >= times:
        yield last
