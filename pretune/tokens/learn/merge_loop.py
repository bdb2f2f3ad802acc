"""Byte-pair merges one after the other, in machine code: what `merging` does by numpy, several times faster.

    positions    l o w _ l o w e r _      every distinct word once, a border (-1) around each
    symbols      5 . 5 _ 5 . 5 8 8 _      a token's id stands at its first and at its last position
    pair_at      3 . 0 _ 3 . 9 0 0 _      the pair that begins here; 0: none that counts

A token's neighbours are found by lengths: behind it lies `position + length`, before it ends the token of
`position - 1`. All occurrences of a pair arise at once, when the later of its two tokens is made, so a pair keeps one
list of positions; what has been merged away since is known by its `pair_at`. The queue is a heap in which a pair may
stand with a count that has sunk since; it is put back when it comes to the top.

Source of the order and of the bound on length: `tokenizers` 0.23, models/bpe/trainer.rs and word.rs.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pretune.tokens.learn.compiled import compiled, read_only

Ints = NDArray[Any]
TOKENS, PAIRS, PLACES, WAITING = range(4)
"""What `State.sizes` counts: tokens, pairs, positions in lists, pairs in the queue."""
LEFT, RIGHT = range(2)
ROOM = 1 << 17
"""Pairs that there is room for at first."""


class State(NamedTuple):
    """Everything between two merges. N positions, V tokens at most, K pairs, M positions in lists."""

    symbol: Ints  # int32 [N]
    weight: Ints  # uint32 or int64 [N]: how often the word occurs
    pair_at: Ints  # int32 [N]
    length: Ints  # int64 [V]: bytes of each token
    merges: Ints  # int32 [V, 2]
    pairs: Ints  # int32 [K, 2]: left and right symbol
    counts: Ints  # int64 [K]
    first: Ints  # int64 [K + 1]: where the list of each begins; the next one's is its end
    places: Ints  # int32 [M]
    queue: Ints  # int32 [K]: a heap of pairs
    queued: Ints  # int64 [K]: the count that each was put into the queue with
    sums: Ints  # int64 [2, V]: of the merge at hand, counts of pairs with each symbol on the left and on the right
    found: Ints  # int64 [2, V]: their occurrences, then where the next one is listed
    number: Ints  # int32 [2, V]: their numbers
    seen: Ints  # int32 [2, V]: the symbols that were met
    sizes: Ints  # int64 [4]


def pairs_merged(
    words: tuple[Ints, Ints], counts: Ints, ids: Ints, *, tokens: int, vocab_size: int, least: int, longest: int
) -> list[tuple[int, int]]:
    """The merges as pairs of ids, in order.

    Args:
        words, counts, ids: as in `merging.learn_merges`; the ids of the bytes stand in one row.
        tokens: how many there are before anything is merged.
        vocab_size, least, longest: tokens at most; the count that a pair needs, the bytes that it stays below.
    """
    state = _laid_out(words, counts, ids, tokens, max(vocab_size, tokens) + 1)
    _first_pairs(state, int(ids.min()), least)
    while not _merge_all(state, vocab_size, least, longest):
        state = _grown(state)
    merges: list[list[int]] = state.merges[tokens : int(state.sizes[TOKENS])].tolist()
    return [(left, right) for left, right in merges]


def _laid_out(words: tuple[Ints, Ints], counts: Ints, ids: Ints, tokens: int, most: int) -> State:
    data, offsets = words
    size = len(data) + len(offsets)
    assert size < 1 << 31, "more distinct words than positions have numbers"
    symbol = np.full(size, -1, np.int32)
    weight = np.zeros(size, np.uint32 if counts.max(initial=0) < 1 << 32 else np.int64)
    _lay_out(read_only(data), read_only(offsets), read_only(counts), read_only(ids), symbol, weight)
    return State(
        symbol,
        weight,
        np.zeros(size, np.int32),
        np.ones(most, np.int64),
        np.zeros((most, 2), np.int32),
        np.zeros((ROOM, 2), np.int32),
        np.zeros(ROOM, np.int64),
        np.zeros(ROOM + 1, np.int64),
        np.empty(size + ROOM, np.int32),
        np.zeros(ROOM, np.int32),
        np.zeros(ROOM, np.int64),
        np.zeros((2, most), np.int64),
        np.zeros((2, most), np.int64),
        np.zeros((2, most), np.int32),
        np.zeros((2, most), np.int32),
        np.array([tokens, 1, 0, 0]),
    )


def _grown(state: State) -> State:
    """The same with twice the room for pairs or positions, whichever is short."""
    room = 2 * len(state.counts)
    return state._replace(
        pairs=_longer(state.pairs, room),
        counts=_longer(state.counts, room),
        first=_longer(state.first, room + 1),
        queue=_longer(state.queue, room),
        queued=_longer(state.queued, room),
        places=_longer(state.places, len(state.places) + len(state.symbol) // 2),
    )


def _longer(values: Ints, size: int) -> Ints:
    longer = np.empty((size, *values.shape[1:]), values.dtype)
    longer[: len(values)] = values
    return longer


@compiled
def _lay_out(data: Ints, offsets: Ints, counts: Ints, ids: Ints, symbol: Ints, weight: Ints) -> None:
    for word in range(len(counts)):
        for k in range(offsets[word], offsets[word + 1]):
            symbol[k + word + 1] = ids[data[k]]
            weight[k + word + 1] = counts[word]


@compiled
def _first_pairs(state: State, low: int, least: int) -> None:
    """All pairs of bytes, with their positions in order; `low` is the smallest id of a byte."""
    symbol = state.symbol
    sums = np.zeros(1 << 16, np.int64)
    found = np.zeros(1 << 16, np.int64)
    for at in range(1, len(symbol) - 1):
        if symbol[at] >= 0 and symbol[at + 1] >= 0:
            key = (symbol[at] - low) * 256 + symbol[at + 1] - low
            sums[key] += state.weight[at]
            found[key] += 1
    numbers = np.zeros(1 << 16, np.int32)
    for key in range(1 << 16):
        if sums[key] >= least and found[key]:
            numbers[key], found[key] = _new_pair(state, key // 256 + low, key % 256 + low, sums[key], found[key])
    for at in range(1, len(symbol) - 1):
        if symbol[at] >= 0 and symbol[at + 1] >= 0:
            key = (symbol[at] - low) * 256 + symbol[at + 1] - low
            if numbers[key]:
                state.pair_at[at] = numbers[key]
                state.places[found[key]] = at
                found[key] += 1


@compiled
def _new_pair(state: State, left: int, right: int, count: int, occurrences: int) -> tuple[int, int]:
    """Its number and where its list begins."""
    number, start = state.sizes[PAIRS], state.sizes[PLACES]
    state.pairs[number, 0], state.pairs[number, 1] = left, right
    state.counts[number] = count
    state.first[number], state.first[number + 1] = start, start + occurrences
    state.sizes[PAIRS] += 1
    state.sizes[PLACES] += occurrences
    _push(state, number, count)
    return number, start


# ---- the queue --------------------------------------------------------------------------------------


@compiled
def _before(state: State, one: int, count: int, other: int, others: int) -> bool:
    """Whether a pair with this count is merged before another: the higher count, then the smaller ids."""
    if count != others:
        return count > others
    side = 0 if state.pairs[one, 0] != state.pairs[other, 0] else 1
    smaller: bool = state.pairs[one, side] < state.pairs[other, side]
    return smaller


@compiled
def _push(state: State, number: int, count: int) -> None:
    at = state.sizes[WAITING]
    state.sizes[WAITING] += 1
    while at > 0:
        above = (at - 1) // 2
        if not _before(state, number, count, state.queue[above], state.queued[above]):
            break
        state.queue[at], state.queued[at] = state.queue[above], state.queued[above]
        at = above
    state.queue[at], state.queued[at] = number, count


@compiled
def _sink(state: State, number: int, count: int) -> None:
    """Put a pair in the place of the first one."""
    at, size = 0, state.sizes[WAITING]
    while True:
        below = 2 * at + 1
        if below >= size:
            break
        if below + 1 < size and _before(
            state, state.queue[below + 1], state.queued[below + 1], state.queue[below], state.queued[below]
        ):
            below += 1
        if not _before(state, state.queue[below], state.queued[below], number, count):
            break
        state.queue[at], state.queued[at] = state.queue[below], state.queued[below]
        at = below
    state.queue[at], state.queued[at] = number, count


@compiled
def _next(state: State, least: int) -> int:
    """The pair to merge now, 0 if there is none; it stays in the queue."""
    while state.sizes[WAITING] > 0:
        number: int = state.queue[0]
        count = state.counts[number]
        if count == state.queued[0]:
            return number
        if count >= least:
            _sink(state, number, count)
        else:
            _drop(state)
    return 0


@compiled
def _drop(state: State) -> None:
    """Take the first pair out of the queue."""
    state.sizes[WAITING] -= 1
    last = state.sizes[WAITING]
    if last > 0:
        _sink(state, state.queue[last], state.queued[last])


# ---- merging ----------------------------------------------------------------------------------------


@compiled
def _merge_all(state: State, vocab_size: int, least: int, longest: int) -> bool:
    """Merge until the vocabulary is full or no pair is left; False if there is no room to go on."""
    while state.sizes[TOKENS] < vocab_size:
        number = _next(state, least)
        if number == 0:
            break
        occurrences = state.first[number + 1] - state.first[number]
        new_pairs = 2 * min(occurrences, state.sizes[TOKENS] + 1)
        if state.sizes[PAIRS] + new_pairs >= len(state.counts):
            return False
        if state.sizes[PLACES] + 2 * occurrences > len(state.places):
            return False
        _drop(state)
        _merge(state, number, least, longest)
    return True


@compiled
def _merge(state: State, number: int, least: int, longest: int) -> None:
    new = state.sizes[TOKENS]
    left, right = state.pairs[number, 0], state.pairs[number, 1]
    state.merges[new, 0], state.merges[new, 1] = left, right
    state.length[new] = state.length[left] + state.length[right]
    state.sizes[TOKENS] += 1
    start = state.first[number]
    stop = _join(state, number, new)
    met_left, met_right = _count(state, start, stop, new, longest)
    for side in range(2):
        for k in range(met_left if side == LEFT else met_right):
            symbol = state.seen[side, k]
            kept = state.sums[side, symbol] >= least
            state.number[side, symbol] = 0
            if kept:
                one, other = (symbol, new) if side == LEFT else (new, symbol)
                state.number[side, symbol], state.found[side, symbol] = _new_pair(
                    state, one, other, state.sums[side, symbol], state.found[side, symbol]
                )
    _list(state, start, stop, new, longest)
    for side in range(2):
        for k in range(met_left if side == LEFT else met_right):
            state.sums[side, state.seen[side, k]] = state.found[side, state.seen[side, k]] = 0


@compiled
def _join(state: State, number: int, new: int) -> int:
    """Merge every occurrence; they stand at the front of the list, which now ends at what comes out."""
    symbol, pair_at, count, places = state.symbol, state.pair_at, state.counts, state.places
    length, size = state.length[state.pairs[number, 0]], state.length[new]
    kept: int = state.first[number]
    for k in range(state.first[number], state.first[number + 1]):
        at = places[k]
        if pair_at[at] != number:
            continue
        places[kept] = at
        kept += 1
        weight = np.int64(state.weight[at])
        count[pair_at[at + length]] -= weight
        pair_at[at + length] = pair_at[at] = 0
        if symbol[at - 1] >= 0:
            before = at - state.length[symbol[at - 1]]
            count[pair_at[before]] -= weight
            pair_at[before] = 0
        symbol[at] = symbol[at + size - 1] = new
    count[number] = 0
    return kept


@compiled
def _count(state: State, start: int, stop: int, new: int, longest: int) -> tuple[int, int]:
    """Count the pairs that arose; how many symbols were met on the left and on the right."""
    symbol, sums, found, seen = state.symbol, state.sums, state.found, state.seen
    size, met_left, met_right = state.length[new], 0, 0
    for k in range(start, stop):
        at = state.places[k]
        weight = np.int64(state.weight[at])
        one = symbol[at + size]
        if one >= 0 and size + state.length[one] < longest:
            if found[RIGHT, one] == 0:
                seen[RIGHT, met_right] = one
                met_right += 1
            found[RIGHT, one] += 1
            sums[RIGHT, one] += weight
        one = symbol[at - 1]
        if one >= 0 and one != new and size + state.length[one] < longest:
            if found[LEFT, one] == 0:
                seen[LEFT, met_left] = one
                met_left += 1
            found[LEFT, one] += 1
            sums[LEFT, one] += weight
    return met_left, met_right


@compiled
def _list(state: State, start: int, stop: int, new: int, longest: int) -> None:
    """Write down where the pairs that arose lie."""
    symbol, pair_at, found, number, places = state.symbol, state.pair_at, state.found, state.number, state.places
    size = state.length[new]
    for k in range(start, stop):
        at = places[k]
        one = symbol[at + size]
        if one >= 0 and size + state.length[one] < longest and number[RIGHT, one]:
            pair_at[at] = number[RIGHT, one]
            places[found[RIGHT, one]] = at
            found[RIGHT, one] += 1
        one = symbol[at - 1]
        if one >= 0 and one != new and size + state.length[one] < longest and number[LEFT, one]:
            before = at - state.length[one]
            pair_at[before] = number[LEFT, one]
            places[found[LEFT, one]] = before
            found[LEFT, one] += 1
