"""How likely a difference is where there is none: tests on the same examples, and what many tests cost.

    mcnemar                right or wrong: of the examples that one alone has right, is the share still a half?
    swapped                any other figure: the two answers to an example change places, for a random half of them
    holm                   p values of several tests: the chance that *any* of them is a false alarm
    benjamini_hochberg     the share of false alarms among those that are called significant

McNemar's test is exact, and by the middle of its last step (mid-p): the exact p value of a count that moves in steps is
too large on average, so at 5 % it raises the alarm in 3 or 4 % of equal models; mid-p in 5 %. Both are given.

Sources: McNemar 1947; Fagerland, Lydersen & Laake 2013, doi:10.1186/1471-2288-13-91 (mid-p); Noreen 1989 (swaps);
Holm 1979; Benjamini & Hochberg 1995.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pretune.evaluate.scores import CELLS_AT_ONCE

SWAPS, FIGURE_SWAPS = 4999, 999
"""Random swaps, and of figures that take longer; where there are no more ways than that (12 examples and fewer; 9), all
of them are taken."""
ALPHA = 0.05
Floats = NDArray[np.float64]


class McNemar(NamedTuple):
    """Two-sided p values: by the middle of the last step, which decides; and the exact one."""

    p: float
    exact: float


def mcnemar(first_only: int, second_only: int) -> McNemar:
    """Are two systems right equally often? From how many examples each alone has right; 1 where there are none."""
    total, fewer = first_only + second_only, min(first_only, second_only)
    steps = [math.exp(_log_choose(total, k) - total * math.log(2)) for k in range(fewer + 1)]
    both_ends = 2 * math.fsum(steps)
    return McNemar(both_ends - steps[-1], min(1.0, both_ends))


def _log_choose(total: int, k: int) -> float:
    return math.lgamma(total + 1) - math.lgamma(k + 1) - math.lgamma(total - k + 1)


class Sums(NamedTuple):
    """Of each example what it adds to a ratio of all together, [N] each: the figure is tops.sum() / belows.sum()."""

    tops: Floats
    belows: Floats

    @property
    def ratio(self) -> float:
        below = float(self.belows.sum())
        return float(self.tops.sum()) / below if below else 0.0

    def some(self, places: NDArray[np.int64]) -> Sums:
        return Sums(self.tops[places], self.belows[places])


def swapped(first: Sums, second: Sums, *, seed: int) -> float:
    """Two-sided p value of the difference of two ratios, by swaps of the two systems' answers."""
    number = len(first.tops)
    moves = np.stack([second.tops - first.tops, second.belows - first.belows], axis=1)
    gaps = []
    for swaps in _swaps(number, seed, SWAPS):
        moved = swaps @ moves
        mine, theirs = np.array([[one.tops.sum(), one.belows.sum()] for one in (first, second)])
        gaps.append(_ratio(mine + moved) - _ratio(theirs - moved))
    return _p_value(first.ratio - second.ratio, np.concatenate(gaps), whole=_has_few_ways(number, SWAPS))


def swapped_figure(
    gap: Callable[[NDArray[np.bool_]], float], number: int, *, seed: int, most: int = FIGURE_SWAPS
) -> float:
    """The same of any figure of all examples; `gap` gives the difference when these examples are swapped, [N]."""
    rows = (row for swaps in _swaps(number, seed, most) for row in swaps)
    found = np.array([gap(row.astype(bool)) for row in rows])
    return _p_value(gap(np.zeros(number, dtype=bool)), found, whole=_has_few_ways(number, most))


def _has_few_ways(number: int, most: int) -> bool:
    """Whether every way to swap so many examples is looked at."""
    return 1 << number <= most + 1


def _swaps(number: int, seed: int, most: int) -> Iterator[Floats]:
    """Which examples change places, 1 or 0, [draws, N] at a time; of few examples every way once."""
    if _has_few_ways(number, most):
        ways = np.arange(2**number)[:, None] >> np.arange(number)
        yield (ways & 1).astype(np.float64)
        return
    rng, at_once = np.random.default_rng(seed), max(1, CELLS_AT_ONCE * 8 // number)
    for start in range(0, most, at_once):
        yield rng.integers(2, size=(min(at_once, most - start), number), dtype=np.int8).astype(np.float64)


def _ratio(sums: Floats) -> Floats:
    top, below = sums[:, 0], sums[:, 1]
    return np.divide(top, below, out=np.zeros_like(top), where=below > 0)


def _p_value(seen: float, drawn: Floats, *, whole: bool) -> float:
    """The share of swaps with as large a difference; what was seen is one of them where they are drawn."""
    as_large = int((np.abs(drawn) >= abs(seen) - 1e-12).sum())
    return as_large / len(drawn) if whole else (as_large + 1) / (len(drawn) + 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """p values of which the chance that any below 5 % is a false alarm is at most 5 %."""
    order, found, largest = np.argsort(p_values, kind="stable"), [0.0] * len(p_values), 0.0
    for place, k in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[k]))
        found[k] = largest
    return found


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """p values of which, below 5 %, at most 5 % are false alarms on average."""
    order, found, least = np.argsort(p_values, kind="stable")[::-1], [0.0] * len(p_values), 1.0
    for place, k in enumerate(order):
        least = min(least, p_values[k] * len(p_values) / (len(p_values) - place))
        found[k] = least
    return found
