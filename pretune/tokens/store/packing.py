"""From documents of any length to rows of one length, with the borders kept.

    documents   a a a E  b b E  c c c c c E          E is the end token
    blocks of 4 [a a a E b] [b b E c c] [c c c c E]  each reads one token more: the last target
    segments    [0 0 0 0 1] [0 0 0 1 1] [0 0 0 0 0]  documents within the row, counted from 0

    best-fit    [c c c c c] [c E b b E] [a a a E .]  a document is cut only where it is longer than a row (c)
    document    [a a a E .] [b b E . .] [c c c c c] [c E . . .]
    pairs       [cls] A [sep] B [sep]                two parts of a document, or of two (pretune/tokens/store/pairs.py)

A target counts only where it and its input lie in one segment: so the first token of a document is never
a target, its end always is, and every other token is a target exactly once per epoch. To that end the
pieces of a cut document share one token in causal rows (above, the fifth c), and none in rows of encoders,
where any token may be hidden.

What stands at a position of a run is a pure function of (seed, position): see pretune/tokens/store/order.py.

B rows, W = L + 1 tokens of a causal row, L of an encoder's.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from pretune.base.config import Choice, Variant
from pretune.base.sample import evenly
from pretune.tokens.store.order import Order
from pretune.tokens.store.store import Store

if TYPE_CHECKING:
    from pretune.tokens.rows import Ids

Arrays = dict[str, NDArray[np.int32 | np.bool_]]
"""`ids` and `segments`, each int32 [B, W]; what a packing adds (parts, is_next) has B rows as well."""


@dataclass(frozen=True)
class RowForm:
    """The form of the rows that a model reads.

    Args:
        length: positions of a row, L.
        causal: a row holds one token more, the last target.
        cls: for encoders, the id that begins each row.
        sep: for pairs, the id that ends each of the two.
        stops: for pairs, the tokens that end a sentence: bool [V].
        swaps: for pairs, what the other half of the rows is: two parts that have changed places, not of two documents.
    """

    length: int
    causal: bool = True
    cls: int | None = None
    sep: int | None = None
    stops: NDArray[np.bool_] | None = None
    swaps: bool = False

    @property
    def room(self) -> int:
        """Tokens of text in a row."""
        return self.length + 1 if self.causal else self.length - (self.cls is not None)

    @property
    def shared(self) -> int:
        """Tokens that a piece of a cut document shares with the next one."""
        return int(self.causal)


class Rows(Protocol):
    """The rows of a store in an endless order, another one each epoch."""

    def __len__(self) -> int:
        """Rows of an epoch."""

    def at(self, positions: NDArray[np.int64]) -> Arrays:
        """What stands at these positions, however they are asked for: alone, in batches, by any rank."""

    def sample(self, number: int) -> Arrays:
        """At most so many rows, evenly spread; the same each time."""

    def where(self, positions: NDArray[np.int64]) -> str:
        """The places of these positions in the store, for messages."""


class Packing(Variant):
    """How documents become rows."""

    def completed(self, form: RowForm, tokenizer: Path) -> RowForm:
        """The form with what only this packing needs to know of the tokenizer in a folder."""
        return form

    def rows(self, store: Store, form: RowForm, seed: int) -> Rows:
        """The rows of a store; there may be none.

        Raises:
            WrongValue, NotSupported: this packing and this form do not go together.
        """
        raise AssertionError(f"{type(self).__name__} has no rows()")

    def check(self, rows: Rows, form: RowForm, name: str) -> None:
        """Refuse what it has made of a training split's documents where nothing can be learnt from that (EmptyInput).

        Args:
            name: of the store.
        """


PACKING = Choice(
    Packing,
    {
        "blocks": "pretune.tokens.store.packing:BlockPacking",
        "best-fit": "pretune.tokens.store.best_fit:BestFitPacking",
        "document": "pretune.tokens.store.one_document:DocumentPacking",
        "pairs": "pretune.tokens.store.pairs:PairPacking",
    },
    group="pretune.packings",
    default="blocks",
)


class Table(Protocol):
    """Rows by number."""

    def __len__(self) -> int: ...

    def take(self, numbers: NDArray[np.int64]) -> Arrays:
        """Rows of these numbers, in 0 ... len - 1."""


@dataclass(frozen=True)
class Shuffled:
    """A table's rows in keyed random order (the protocol Rows)."""

    table: Table
    seed: int

    def __len__(self) -> int:
        return len(self.table)

    def at(self, positions: NDArray[np.int64]) -> Arrays:
        return self.table.take(self._numbers(positions))

    def sample(self, number: int) -> Arrays:
        return self.table.take(spread(len(self), number))

    def where(self, positions: NDArray[np.int64]) -> str:
        return f"rows {some(self._numbers(positions))} of the training split"

    def _numbers(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        return Order(len(self.table), self.seed).rows(positions)


def spread(there: int, number: int) -> NDArray[np.int64]:
    """At most `number` of 0 ... there - 1, evenly spread."""
    return np.array(evenly(range(there), number), dtype=np.int64)


def some(numbers: NDArray[np.int64]) -> str:
    """The first of some numbers as text."""
    return f"{', '.join(map(str, numbers[:4].tolist()))}{' ...' if len(numbers) > 4 else ''}"


def begun(arrays: Arrays, cls: int | None) -> Arrays:
    """The same rows with `cls` before each, in its first segment."""
    if cls is None:
        return arrays
    ids, segments = arrays["ids"], arrays["segments"]
    first = np.full((len(ids), 1), cls, np.int32)
    return {
        "ids": np.concatenate([first, ids], axis=1),
        "segments": np.concatenate([np.maximum(segments[:, :1], 0), segments], axis=1),
    }


# ---- blocks -------------------------------------------------------------------------------------


class BlockPacking(Packing):
    """The whole store cut every L tokens: nothing is padded, documents are cut anywhere."""

    def rows(self, store: Store, form: RowForm, seed: int) -> Rows:
        blocks = Blocks(store, form.length if form.causal else form.length - 1)
        return Shuffled(BlockTable(blocks, form.cls), seed)


@dataclass(frozen=True)
class BlockTable:
    """Blocks as a table; with `cls`, [cls] and the block's L tokens (a causal row reads L + 1)."""

    blocks: Blocks
    cls: int | None = None

    def __len__(self) -> int:
        return len(self.blocks)

    def take(self, numbers: NDArray[np.int64]) -> Arrays:
        found = self.blocks.take(numbers)
        if self.cls is None:
            return found
        return begun({name: array[:, :-1] for name, array in found.items()}, self.cls)


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
        found = self.take(np.array([k]))
        return found["ids"][0], found["segments"][0]

    def take(self, numbers: NDArray[np.int64]) -> Arrays:
        """`ids` and `segments` of these blocks, each int32 [B, L + 1]."""
        starts = np.asarray(numbers, np.int64) * self.length
        ids, segments = self._ids(starts), self._segments(starts)
        over = np.flatnonzero(starts + self.length + 1 > self.store.num_tokens)
        for row in over:  # the last block, should it be among them
            segments[row, self.store.num_tokens - starts[row] :] = -1
        return {"ids": ids, "segments": segments}

    @cached_property
    def _windows(self) -> Ids:
        ids = np.asarray(self.store.ids)
        return sliding_window_view(ids, self.length + 1) if len(ids) > self.length else ids[:0].reshape(0, 1)

    def _ids(self, starts: NDArray[np.int64]) -> NDArray[np.int32]:
        whole = starts < len(self._windows)
        if whole.all():
            return self._windows[starts].astype(np.int32)
        ids = np.zeros((len(starts), self.length + 1), np.int32)
        ids[whole] = self._windows[starts[whole]]
        for row in np.flatnonzero(~whole):
            rest = self.store.ids[starts[row] :]
            ids[row, : len(rest)] = rest
        return ids

    def _segments(self, starts: NDArray[np.int64]) -> NDArray[np.int32]:
        """How many documents have ended within the row before each token."""
        stops = np.minimum(starts + self.length + 1, self.store.num_tokens)
        # Integers of one type: with two, numpy makes float64 copies of all ends.
        first, last = (np.searchsorted(self.store.ends, at.astype(np.uint64), "right") for at in (starts, stops - 1))
        row, number = ragged(last - first)
        segments = np.zeros((len(starts), self.length + 1), np.int32)
        segments[row, self.store.ends[first[row] + number].astype(np.int64) - starts[row]] = 1
        return np.cumsum(segments, axis=1, dtype=np.int32, out=segments)


# ---- pieces -------------------------------------------------------------------------------------


def ragged(counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(group, number within it) of every member of groups of these sizes."""
    group = np.repeat(np.arange(len(counts)), counts)
    return group, np.arange(len(group)) - (np.cumsum(counts) - counts)[group]


def num_pieces(lengths: NDArray[np.int64], form: RowForm) -> NDArray[np.int64]:
    """Pieces that documents of these lengths are cut into; none where there is nothing to predict (one token)."""
    counts = -((form.shared - lengths) // (form.room - form.shared))
    return np.where(lengths > 1, np.maximum(counts, 1), 0)


def side_by_side(
    store: Store, starts: NDArray[np.int64], sizes: NDArray[np.int64], counts: NDArray[np.int64], width: int
) -> Arrays:
    """Rows of several pieces each, int32 [B, width]; behind the last piece id 0 and segment -1.

    Args:
        starts, sizes: of every piece, row after row.
        counts: pieces of each row, [B].
    """
    row, number = ragged(counts)
    filled = np.bincount(row, sizes, len(counts)).astype(np.int64)
    there = np.arange(width) < filled[:, None]
    ends = np.cumsum(sizes)
    source = np.repeat(starts - (ends - sizes), sizes) + np.arange(ends[-1] if len(ends) else 0)
    ids, segments = np.zeros(there.shape, np.int32), np.full(there.shape, -1, np.int32)
    ids[there] = store.ids[source]
    segments[there] = np.repeat(number, sizes)
    return {"ids": ids, "segments": segments}


# ---- rows in memory -----------------------------------------------------------------------------


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
