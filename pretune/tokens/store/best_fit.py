"""Best fit: whole documents put together so that almost nothing of a row stays empty.

    room 6, pieces 5 4 3 2 2 1      longest first, each into the row that it fills best
    [5 1] [4 2] [3 2 .]

Sizes are whole numbers up to the row's room, so rows are kept by how much is free in them, and all pieces of one
size are placed in a few array operations: the time grows with the number of pieces, not with its logarithm, and
the plan (12 bytes a piece) is made again whenever a store is opened; seconds for ten million documents (docs/LOG.md).

Source: Ding et al. 2024, "Fewer Truncations Improve Language Modeling", arXiv:2404.10830, section 3.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pretune.tokens.store.packing import (
    Arrays,
    Packing,
    RowForm,
    Rows,
    Shuffled,
    begun,
    num_pieces,
    ragged,
    side_by_side,
)
from pretune.tokens.store.store import Store


class BestFitPacking(Packing):
    """Whole documents side by side; one is cut only where it is longer than a row, and hardly anything is padded."""

    def rows(self, store: Store, form: RowForm, seed: int) -> Rows:
        return Shuffled(BestFit.plan(store, form), seed)


@dataclass(frozen=True)
class BestFit:
    """Rows of several documents.

    Args:
        starts: first token of every piece, row after row.
        sizes: tokens of every piece.
        firsts: the first piece of each row, and one past the last piece: [rows + 1].
    """

    store: Store
    form: RowForm
    starts: NDArray[np.int64]
    sizes: NDArray[np.int32]
    firsts: NDArray[np.int64]

    @classmethod
    def plan(cls, store: Store, form: RowForm) -> BestFit:
        """Place every document that has something to predict."""
        starts, sizes = pieces(store, form)
        row_of = best_fit(sizes, form.room)
        by_row = np.argsort(row_of, kind="stable")
        counts = np.bincount(row_of)
        return cls(store, form, starts[by_row], sizes[by_row], np.concatenate([[0], np.cumsum(counts)]))

    def __len__(self) -> int:
        return len(self.firsts) - 1

    def take(self, numbers: NDArray[np.int64]) -> Arrays:
        first = self.firsts[numbers]
        counts = self.firsts[numbers + 1] - first
        row, number = ragged(counts)
        piece = first[row] + number
        sizes = self.sizes[piece].astype(np.int64)
        return begun(side_by_side(self.store, self.starts[piece], sizes, counts, self.form.room), self.form.cls)

    @property
    def waste(self) -> float:
        """Share of the places for text that stays empty."""
        return 1 - int(self.sizes.sum()) / max(1, len(self) * self.form.room)


def pieces(store: Store, form: RowForm) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """(first token, size) of every piece: whole documents, longer ones cut into rows and a rest."""
    lengths = store.lengths
    document, number = ragged(num_pieces(lengths, form))
    ends = store.ends.astype(np.int64)
    starts = (ends - lengths)[document] + number * (form.room - form.shared)
    return starts, np.minimum(ends[document] - starts, form.room).astype(np.int32)


def best_fit(sizes: NDArray[np.int32], room: int) -> NDArray[np.int64]:
    """The row of each piece, counted from 0: longest first, each into the fullest row that has room for it.

    Args:
        sizes: tokens of each piece, 1 ... room.
    """
    rows, free = np.empty(len(sizes), np.int64), _Free(room)
    for size, members in _longest_first(sizes, room):
        while len(members):
            chosen, left = free.fullest(size, len(members))
            each = left // size
            rows[members[: len(chosen) * each]] = np.repeat(chosen, each)[: len(members)]
            whole = len(members) // each
            free.put(chosen[:whole], left - each * size)
            free.put(chosen[whole:], left - (len(members) - whole * each) * size)
            members = members[len(chosen) * each :]
    return rows


def _longest_first(sizes: NDArray[np.int32], room: int) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """(size, the pieces of this size in their own order), from the longest down."""
    narrow = sizes.astype(np.uint16) if room < 1 << 16 else sizes  # numpy sorts 16 bits by counting
    order, ends = np.argsort(narrow, kind="stable"), np.cumsum(np.bincount(sizes, minlength=room + 1))
    for size in np.unique(narrow)[::-1].tolist():
        yield size, order[ends[size - 1] : ends[size]]


class _Free:
    """Rows by the number of tokens that are free in them."""

    def __init__(self, room: int):
        self.room, self.num_rows = room, 0
        self._held: dict[int, NDArray[np.int64]] = {}
        self._sizes: list[int] = []

    def fullest(self, size: int, number: int) -> tuple[NDArray[np.int64], int]:
        """(rows, tokens free in each) for up to `number` pieces: those with least room, new ones if there are none."""
        at = bisect_left(self._sizes, size)
        left = self._sizes[at] if at < len(self._sizes) else self.room
        wanted = -(-number // (left // size))
        if at == len(self._sizes):
            self.num_rows += wanted
            return np.arange(self.num_rows - wanted, self.num_rows), left
        held = self._held.pop(left)
        self._sizes.pop(at)
        self.put(held[wanted:], left)
        return held[:wanted], left

    def put(self, rows: NDArray[np.int64], left: int) -> None:
        if not len(rows) or not left:
            return
        if left in self._held:
            rows = np.concatenate([self._held[left], rows])
        else:
            insort(self._sizes, left)
        self._held[left] = rows
