"""Byte-pair merges over distinct words: those of `tokenizers`' BpeTrainer, many at a time.

    words      l o w    l o w e r    n e w        each distinct word once, with its count
    pairs      lo 9  ow 9  we 2  er 2  ne 6  ew 6
    merge      the pair with the highest count; of equal ones the smallest pair of ids

Merging one pair after the other is a loop of a million tiny steps. But the pairs at the top of the queue mostly have
nothing to do with each other, so a batch of them is merged at once by numpy, cut before the first pair that

    touches an occurrence of an earlier one in the batch, or
    would come after a pair that an earlier one gives rise to.

So every merge is the one that the loop would have chosen: a few hundred batches stand for sixteen thousand merges.

Positions are those of one flat array of all words with a border (-1) on each side; a merged symbol stays at its first
position and `after` and `before` lead past what it swallowed. `pair_at` says to which pair the symbols at a position
and behind it belong (0: to none that counts), so what a pair lists as its positions may be stale and is checked.

N positions. P occurrences of the pairs of a batch. K pairs of a batch.

Source of the order and of the bound on length: `tokenizers` 0.23, models/bpe/trainer.rs and word.rs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.integer]
SMALLEST, LARGEST = 8, 256
"""Pairs that a batch is tried with."""
OCCURRENCES = 20_000
CANDIDATES = 2000


@dataclass
class Growing:
    """An array that things are appended to."""

    values: Ints
    size: int = 0

    def add(self, more: Ints) -> None:
        stop = self.size + len(more)
        if stop > len(self.values):
            larger = np.empty(max(stop, 2 * len(self.values)), self.values.dtype)
            larger[: self.size] = self.values[: self.size]
            self.values = larger
        self.values[self.size : stop] = more
        self.size = stop


def _growing(size: int, dtype: type = np.int64) -> Growing:
    return Growing(np.empty(max(16, size), dtype))


@dataclass
class Pairs:
    """Every pair that ever counted: its two symbols, its count now, where it was when it arose. Number 0 is none."""

    left: Growing = field(default_factory=lambda: _growing(1 << 16))
    right: Growing = field(default_factory=lambda: _growing(1 << 16))
    count: Growing = field(default_factory=lambda: _growing(1 << 16))
    first: Growing = field(default_factory=lambda: _growing(1 << 16))
    listed: Growing = field(default_factory=lambda: _growing(1 << 16))
    positions: Growing = field(default_factory=lambda: _growing(1 << 16, np.int32))

    def __post_init__(self) -> None:
        for column in (self.left, self.right, self.count, self.first, self.listed):
            column.add(np.zeros(1, np.int64))

    def places(self, numbers: Ints) -> tuple[Ints, Ints]:
        """(positions, which of `numbers` each belongs to) as they were listed."""
        sizes = self.listed.values[numbers]
        stops = np.cumsum(sizes)
        index = np.arange(int(stops[-1])) + np.repeat(self.first.values[numbers] - stops + sizes, sizes)
        return self.positions.values[index], np.repeat(np.arange(len(numbers)), sizes)


@dataclass
class Batch:
    """Pairs to be merged, in order, and their occurrences: `at` [P] where one begins, `of` [P] whose it is."""

    numbers: Ints
    counts: Ints
    left: Ints
    right: Ints
    at: Ints
    of: Ints

    def cut(self, size: int) -> Batch:
        """The first `size` pairs."""
        stop = int(np.searchsorted(self.of, size))
        numbers, counts, left, right = self.numbers[:size], self.counts[:size], self.left[:size], self.right[:size]
        return Batch(numbers, counts, left, right, self.at[:stop], self.of[:stop])


def learn_merges(
    words: tuple[Ints, Ints],
    counts: Ints,
    tokens: Sequence[bytes],
    *,
    ids: Ints,
    vocab_size: int,
    min_frequency: int = 2,
    max_length: int | None = None,
) -> tuple[list[bytes], list[tuple[int, int]]]:
    """The vocabulary and the merges of byte-level BPE.

    Args:
        words: (bytes of all distinct words, uint8; where each begins and the last ends, int64 [W + 1]).
        counts: of each word, int64 [W].
        tokens: the vocabulary to begin with: specials and single bytes.
        ids: the id of each byte, int32 [256].
        vocab_size: tokens at most; min_frequency: pairs that occur less are not merged.
        max_length: bytes that a token stays below (two bytes always merge), as in `tokenizers`.

    Returns:
        (tokens by id, merges as pairs of ids in the order in which they were learnt).
    """
    least, longest = max(1, min_frequency), max_length or 1 << 40
    merger = Merger(words, counts, list(tokens), ids, vocab_size, least, longest)
    while merger.step():
        pass
    return merger.tokens, merger.merges


class Merger:
    """The state between two batches; `step` merges one batch."""

    def __init__(
        self,
        words: tuple[Ints, Ints],
        counts: Ints,
        tokens: list[bytes],
        ids: Ints,
        vocab_size: int,
        least: int,
        longest: int,
    ):
        self.tokens, self.vocab_size, self.least, self.longest = tokens, vocab_size, least, longest
        self.merges: list[tuple[int, int]] = []
        self.known = set(tokens)
        self.length = np.ones(max(vocab_size, len(tokens)) + 1, np.int64)
        self.pairs = Pairs()
        self._lay_out(words, counts, ids)
        self._first_pairs(ids)
        self.waiting: Ints = np.empty(0, np.int64)
        self.threshold, self.tried = 1 << 62, SMALLEST

    def _lay_out(self, words: tuple[Ints, Ints], counts: Ints, ids: Ints) -> None:
        data, offsets = words
        sizes = np.diff(offsets)
        assert len(data) + len(sizes) < 1 << 31, "more distinct words than positions have numbers"
        at = np.arange(len(data)) + np.repeat(np.arange(1, len(sizes) + 1), sizes)
        size = len(data) + len(sizes) + 1
        self.symbol = np.full(size, -1, np.int32)
        self.symbol[at] = ids[data]
        self.weight = np.zeros(size, np.int64 if counts.max(initial=0) > 1 << 31 else np.uint32)
        self.weight[at] = np.repeat(counts, sizes)
        self.after, self.before = np.arange(1, size + 1, dtype=np.int32), np.arange(-1, size - 1, dtype=np.int32)
        self.after[-1], self.before[0] = size - 1, 0
        self.pair_at, self.mark = np.zeros(size, np.int32), np.full(size, -1, np.int32)

    def _first_pairs(self, ids: Ints) -> None:
        at = np.flatnonzero((self.symbol[:-1] >= 0) & (self.symbol[1:] >= 0))
        if not len(at):
            return
        low = int(ids.min())
        assert int(ids.max()) - low < 256, "the bytes have ids in one row"
        near = (self.symbol[at] - low).astype(np.uint16) * np.uint16(256) + (self.symbol[at + 1] - low).astype(
            np.uint16
        )
        order = np.argsort(near, kind="stable")  # sixteen bits are sorted by their digits, in no time
        key = near[order].astype(np.int64)
        self._add_pairs(at[order].astype(np.int32), ((key >> 8) + low << 32) | ((key & 255) + low))

    # ---- one batch ----------------------------------------------------------------------------

    def step(self) -> bool:
        """Merge the next pairs; False if there are none or the vocabulary is full."""
        room = self.vocab_size - len(self.tokens)
        if room <= 0 or not self._fill():
            return False
        batch = self._occurrences(self._next(min(self.tried, room)))
        batch = batch.cut(self._independent(batch)) if len(batch.numbers) > 1 else batch
        new = self._names(batch)
        alone = batch.left[0] == batch.right[0]
        self.tried = self.tried if alone else min(LARGEST, max(SMALLEST, 2 * len(new)))
        self._merge(batch, np.array(new, np.int32))
        return True

    def _fill(self) -> bool:
        """Keep the pairs at the top at hand; those below the threshold are looked through only when it sinks."""
        self.waiting = self.waiting[self.pairs.count.values[self.waiting] >= self.threshold]
        while not len(self.waiting):
            if self.threshold <= self.least:
                return False
            counts = self.pairs.count.values[: self.pairs.count.size]
            rank = max(0, len(counts) - CANDIDATES)
            self.threshold = max(self.least, min(int(np.partition(counts, rank)[rank]), self.threshold - 1))
            self.waiting = np.flatnonzero(counts >= self.threshold)
        return True

    def _next(self, most: int) -> Ints:
        """The first pairs in the order of merging, `most` at most, few where they occur often."""
        chosen, counts = self.waiting, self.pairs.count.values[self.waiting]
        if len(chosen) > most:
            rank = len(chosen) - most
            top = counts >= np.partition(counts, rank)[rank]
            chosen, counts = chosen[top], counts[top]
        left, right = self.pairs.left.values[chosen], self.pairs.right.values[chosen]
        chosen = chosen[np.lexsort((right, left, -counts))[:most]]
        sizes = np.cumsum(self.pairs.listed.values[chosen])
        few = int(np.searchsorted(sizes, max(OCCURRENCES, 4 * int(sizes[0])))) + 1
        twins = np.flatnonzero(self.pairs.left.values[chosen] == self.pairs.right.values[chosen])
        return chosen[: min(few, max(1, int(twins[0])) if len(twins) else few)]  # a pair of equals goes alone

    def _occurrences(self, numbers: Ints) -> Batch:
        left, right = self.pairs.left.values[numbers], self.pairs.right.values[numbers]
        at, of = self.pairs.places(numbers)
        there = self.pair_at[at] == numbers[of]
        at, of = at[there], of[there]
        if left[0] == right[0]:
            at = self._every_other(np.sort(at))
            of = np.zeros(len(at), np.int64)
        return Batch(numbers, self.pairs.count.values[numbers], left, right, at, of)

    def _every_other(self, at: Ints) -> Ints:
        """Of a a a a the first and the third: what is merged from the left does not overlap."""
        linked = np.concatenate(([False], self.after[at[:-1]] == at[1:]))
        index = np.arange(len(at))
        run = np.maximum.accumulate(np.where(linked, 0, index))
        kept: Ints = at[(index - run) % 2 == 0]
        return kept

    # ---- how far the batch goes ---------------------------------------------------------------

    def _independent(self, batch: Batch) -> int:
        """How many of its pairs would be merged in this order one by one as well."""
        second = self.after[batch.at]
        self.mark[batch.at] = batch.of
        other = self.mark[second]
        self.mark[batch.at] = -1
        touching = np.maximum(other, batch.of)[other >= 0]
        size = int(touching.min()) if len(touching) else len(batch.numbers)
        return min(size, self._before_new_ones(batch, second))

    def _before_new_ones(self, batch: Batch, second: Ints) -> int:
        """How many come before every pair that an earlier one of them gives rise to.

        A new pair (x, new) with the same count comes first if x < left, for `new` is larger than any id;
        (new, y) never does.
        """
        size, counts = len(batch.numbers), batch.counts
        most, _ = self._new_pairs(batch, self.after[second])
        most_left, smallest = self._new_pairs(batch, self.before[batch.at])
        higher = np.maximum.accumulate(np.maximum(most, most_left))[:-1] > counts[1:]
        stop = int(np.argmax(higher)) + 1 if higher.any() else size
        tied = np.flatnonzero(most_left[:stop] >= counts[-1])
        later = np.arange(size)[None, :] > tied[:, None]
        first = (most_left[tied, None] == counts[None, :]) & (smallest[tied, None] < batch.left[None, :]) & later
        return min(stop, int(np.argmax(first.any(axis=0)))) if first.any() else stop

    def _new_pairs(self, batch: Batch, beside: Ints) -> tuple[Ints, Ints]:
        """For each pair the highest count of a new pair with the symbols beside it, and the smallest such symbol."""
        most, smallest = np.zeros((2, len(batch.numbers)), np.int64)
        symbols = self.symbol[beside].astype(np.int64)
        lengths = (self.length[batch.left] + self.length[batch.right])[batch.of]
        may = (symbols >= 0) & (lengths + self.length[symbols] < self.longest)
        if may.any():
            key = (batch.of[may].astype(np.int64) << 32) | symbols[may]
            order = np.argsort(key)
            first = _group_starts(key[order])
            sums = np.add.reduceat(self.weight[batch.at[may]][order].astype(np.int64), first)
            groups = key[order][first]
            owner = groups >> 32
            np.maximum.at(most, owner, sums)
            top = np.flatnonzero(sums == most[owner])[::-1]  # the last one written is the smallest
            smallest[owner[top]] = groups[top] & 0xFFFFFFFF
        return most, smallest

    def _names(self, batch: Batch) -> list[int]:
        """Ids of what comes out, each a new token.

        A token arises from one pair only: between its two borders every occurrence was merged alike, step by step.
        """
        first = len(self.tokens)
        for left, right in zip(batch.left.tolist(), batch.right.tolist(), strict=True):
            token = self.tokens[left] + self.tokens[right]
            assert token not in self.known, "the pattern cuts control tokens, and others arise once"
            self.known.add(token)
            self.length[len(self.tokens)] = self.length[left] + self.length[right]
            self.tokens.append(token)
            self.merges.append((left, right))
        return list(range(first, len(self.tokens)))

    # ---- merging ------------------------------------------------------------------------------

    def _merge(self, batch: Batch, new: Ints) -> None:
        at, second = batch.at, self.after[batch.at]
        count, behind, weight = self.pairs.count.values, self.after[second], self.weight[at].astype(np.int64)
        np.subtract.at(count, self.pair_at[second], weight)
        self.pair_at[second] = 0  # else a pair between two merged ones would be taken off twice
        np.subtract.at(count, self.pair_at[self.before[at]], weight)
        count[batch.numbers] = 0
        self.symbol[at] = new[batch.of]
        self.after[at] = behind
        self.before[behind] = at
        self._count_again(at)

    def _count_again(self, at: Ints) -> None:
        """Count the pairs that changed: those that begin at a merged symbol and those that end at one."""
        self.mark[at] = 0
        ahead = self.before[at]
        ahead = ahead[(self.mark[ahead] < 0) & (self.symbol[ahead] >= 0)]
        self.mark[at] = -1
        self.pair_at[at] = self.pair_at[ahead] = 0
        where = np.concatenate((at[self.symbol[self.after[at]] >= 0], ahead))
        left, right = self.symbol[where].astype(np.int64), self.symbol[self.after[where]].astype(np.int64)
        short = self.length[left] + self.length[right] < self.longest
        key = ((left << 32) | right)[short]
        order = np.argsort(key)
        first = self.pairs.count.size
        self._add_pairs(where[short][order], key[order])
        fresh = np.flatnonzero(self.pairs.count.values[first : self.pairs.count.size] >= self.threshold) + first
        self.waiting = np.concatenate((self.waiting, fresh))

    def _add_pairs(self, at: Ints, key: Ints) -> None:
        """New pairs from positions that are sorted by pair, left << 32 | right."""
        if not len(at):
            return
        first = _group_starts(key)
        sums = np.add.reduceat(self.weight[at].astype(np.int64), first)
        sizes = np.diff(np.append(first, len(at)))
        kept = sums >= self.least  # counts only sink: what is too rare now stays so
        pairs = self.pairs
        numbers = np.where(kept, pairs.count.size + np.cumsum(kept) - 1, 0)
        self.pair_at[at] = np.repeat(numbers, sizes)
        pairs.left.add(key[first[kept]] >> 32)
        pairs.right.add(key[first[kept]] & 0xFFFFFFFF)
        pairs.count.add(sums[kept])
        pairs.first.add(pairs.positions.size + first[kept])
        pairs.listed.add(sizes[kept])
        pairs.positions.add(at)


def _group_starts(key: Ints) -> Ints:
    """Where each run of equal values begins."""
    return np.flatnonzero(np.concatenate(([True], key[1:] != key[:-1])))
