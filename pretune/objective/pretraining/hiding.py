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
