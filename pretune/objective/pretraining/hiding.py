"""Which tokens may be hidden, and what stands in their place."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pretune.tokens.rows import Row, Vocabulary


def hideable(row: Row, vocabulary: Vocabulary) -> NDArray[np.int64]:
    """Places of the tokens of text: no padding, no control token."""
    return np.flatnonzero((np.asarray(row["segments"]) >= 0) & ~np.isin(row["ids"], vocabulary.specials))


def num_ordinary(vocabulary: Vocabulary) -> int:
    """How many tokens are not special."""
    return vocabulary.size - sum(token < vocabulary.size for token in vocabulary.specials)


def ordinary_ids(numbers: NDArray[np.int64], vocabulary: Vocabulary) -> NDArray[np.int64]:
    """The tokens that are not special, by their numbers from 0: number 2 is id 4 where 1 and 3 are special."""
    specials = np.sort(np.asarray(vocabulary.specials, dtype=np.int64))
    return np.asarray(numbers + np.searchsorted(specials - np.arange(len(specials)), numbers, side="right"))


def along(progress: float, first: float, last: float | None) -> float:
    """A number that moves evenly from `first` to `last` over a run; the first one where there is no last."""
    return first if last is None else first + (last - first) * progress


# ---- which tokens are hidden together ---------------------------------------------------------------


LONGEST = 10
"""Units of a span at most (SpanBERT, section 3.1)."""


def chosen_units(sizes: NDArray[np.int64], number: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Units in random order, as many as come nearest to a number of tokens, one at least.

    Args:
        sizes: tokens of each unit, [U]. Those that are larger than the number are left out where there are others.
    """
    order = rng.permutation(len(sizes))
    fitting = order[sizes[order] <= number]
    order = fitting if len(fitting) else order[:1]
    ends = np.cumsum(sizes[order])
    return order[: max(1, int(np.abs(np.append(0, ends) - number).argmin()))]


def chosen_spans(there: int, number: int, mean: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """The span that each of so many units belongs to, [there]; -1 for the units that stay.

    Exactly `number` units in spans of `mean` units on the average, with a unit at least between two; all ways to place
    them are alike.
    """
    wanted = int(number / mean + rng.random())  # rounded by chance, so that the mean holds over short rows too
    count = max(1, min(max(wanted, -(-number // LONGEST)), number, there - number + 1))
    lengths = bounded_lengths(number, count, rng)
    before = np.sort(rng.permutation(there - number + 1)[:count])  # units that stay, in front of each span
    found = np.full(there, -1, dtype=np.int64)
    found[np.repeat(before, lengths) + np.arange(number)] = np.repeat(np.arange(count), lengths)
    return found


def parts_of(total: int, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """The lengths of so many parts of at least one token each, every way to cut `total` into them alike."""
    cuts = np.sort(rng.choice(total - 1, count - 1, replace=False)) + 1
    return np.diff(np.concatenate([[0], cuts, [total]])).astype(np.int64)


def bounded_lengths(total: int, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Lengths of so many spans, which add up to `total`: all ways to cut it are alike, so they are geometric.

    What is cut off at LONGEST (SpanBERT's bound) goes to others, token by token.
    """
    lengths = parts_of(total, count, rng)
    longest = max(LONGEST, -(-total // count))
    while excess := int(np.maximum(lengths - longest, 0).sum()):
        lengths = np.minimum(lengths, longest)
        free = rng.permutation(np.flatnonzero(lengths < longest))[:excess]
        lengths[free] += 1
        lengths[0] += excess - len(free)  # what found no room, for the next round
    return np.asarray(lengths, dtype=np.int64)
