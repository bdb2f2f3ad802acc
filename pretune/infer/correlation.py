"""How far two lists of numbers go together, as they are and by their ranks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def spearman(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Correlation of ranks, equal values sharing the mean of theirs; 0 where one side is constant."""
    return pearson(ranks(a), ranks(b))


def pearson(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Linear correlation; 0 where one side is constant: who always says the same knows nothing of the order."""
    if a.min() == a.max() or b.min() == b.max():
        return 0.0
    x, y = a - a.mean(), b - b.mean()
    return float(x @ y / np.sqrt((x @ x) * (y @ y)))


def ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The rank of each, from 1; equal values share the mean of theirs."""
    _, number, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[number])
