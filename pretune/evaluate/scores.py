"""How sure a figure is. Intervals are 95 %: Wilson for a share, the bootstrap for the rest."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Z = 1.959963984540054
"""Two-sided 95 % of the normal distribution."""
DRAWS = 2000
BOOTSTRAP_CELLS, CELLS_AT_ONCE = 1 << 22, 1 << 17
"""Examples that are drawn again for a figure at most, all draws together; and that are in memory at once."""


@dataclass(frozen=True)
class Interval:
    """A 95 % interval."""

    low: float
    high: float

    def pair(self) -> list[float]:
        return [self.low, self.high]


def wilson(hits: float, total: int) -> Interval:
    """Where the true share lies when `hits` of `total` were seen; [0, 1] when nothing was.

    Source: Wilson 1927; it stays inside [0, 1] and holds for small counts, unlike mean +- 2 standard errors.
    """
    if total == 0:
        return Interval(0.0, 1.0)
    share, z2 = hits / total, Z * Z
    middle = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = Z / (1 + z2 / total) * math.sqrt(share * (1 - share) / total + z2 / (4 * total * total))
    return Interval(max(0.0, middle - half), min(1.0, middle + half))


Numbers = Sequence[float] | NDArray[np.float64]


def bootstrap(sums: Numbers, weights: Numbers | None = None, *, seed: int) -> Interval:
    """Interval of sum(sums) / sum(weights) when the examples are drawn again, 2,000 times (Efron 1979, percentiles).

    Args:
        sums: one number per example; for a margin, the difference between two systems on the same example.
        weights: what each example adds to the denominator; 1 if not given.
    """
    return _middle(_share(*_drawn([sums, np.ones(len(sums)) if weights is None else weights], seed)))


def bootstrap_gap(mine: tuple[Numbers, Numbers], theirs: tuple[Numbers, Numbers], *, seed: int) -> Interval:
    """Interval of the difference of two such ratios, each (sums, weights), over the same draws of examples."""
    top, below, other_top, other_below = _drawn([*mine, *theirs], seed)
    return _middle(_share(top, below) - _share(other_top, other_below))


def _drawn(columns: Sequence[Numbers], seed: int) -> list[NDArray[np.float64]]:
    """The sum of each column in every draw."""
    arrays = [np.asarray(column, dtype=np.float64) for column in columns]
    rng, number = np.random.default_rng(seed), len(arrays[0])
    found: list[list[NDArray[np.float64]]] = [[] for _ in arrays]
    at_once = max(1, CELLS_AT_ONCE // number)
    for start in range(0, DRAWS, at_once):
        drawn = rng.integers(number, size=(min(at_once, DRAWS - start), number))
        for sums, array in zip(found, arrays, strict=True):
            sums.append(array[drawn].sum(axis=1))
    return [np.concatenate(sums) for sums in found]


def _share(top: NDArray[np.float64], below: NDArray[np.float64]) -> NDArray[np.float64]:
    """The ratio of each draw; 0 where nothing is below."""
    return np.divide(top, below, out=np.zeros_like(top), where=below > 0)


def _middle(drawn: NDArray[np.float64]) -> Interval:
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Interval(float(low), float(high))


def bootstrap_figure(figure: Callable[[NDArray[np.int64]], float], examples: int, *, seed: int) -> Interval:
    """The same of any figure of examples, given by their numbers; of very many examples fewer draws are as sure."""
    rng, draws = np.random.default_rng(seed), min(DRAWS, max(200, BOOTSTRAP_CELLS // examples))
    found = [figure(rng.integers(examples, size=examples)) for _ in range(draws)]
    low, high = np.percentile(found, [2.5, 97.5])
    return Interval(float(low), float(high))
