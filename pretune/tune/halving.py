"""Stopping a trial that is behind the others: asynchronous successive halving over validations.

validation   1   2   3   4   5   6   7   8   9          rungs: 1, 3, 9, ...
trial 1      .   .   .   .   .   .   .   .   done       the first one there goes on
trial 2      x                                          not among the best third at rung 1
trial 3      .   .   x                                  among the best third at rung 1, not at rung 3

Every trial has the schedule of a whole run, so what is compared is the same stretch of it. None is taken up again.

Source: Li et al. 2020, A System for Massively Parallel Hyperparameter Tuning, arXiv:1810.05934 (they promote; we stop).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pretune.base.staging import beside
from pretune.report.training import METRICS, read_points

KEPT = 3
"""One in so many trials goes on after a rung, and each rung is so many times as far as the one before."""
RUNGS = tuple(KEPT**k for k in range(10))
Curve = Sequence[tuple[int, float]]
"""(validation from 1, score) of a trial."""
Stopping = Callable[[bool], Callable[[], bool]]


@dataclass
class Watcher:
    """Follows the validations of a trial while it trains; called, it says whether it is behind.

    Args:
        scratch: where the stage works; metric: of its validations.
        others: the curves of earlier trials; lower: whether a lower score is better.
    """

    scratch: Path
    metric: str
    others: Sequence[Curve]
    lower: bool
    seen: int = 0
    is_behind: bool = False

    @property
    def curve(self) -> list[tuple[int, float]]:
        return curve_of(self.scratch, self.metric)

    def next_to(self, stopping: Stopping) -> Stopping:
        """The user's own flag, or this one."""

        def flags(gentle: bool) -> Callable[[], bool]:
            asked = stopping(gentle)
            return lambda: asked() or self()

        return flags

    def __call__(self) -> bool:
        file = self.scratch / METRICS
        size = file.stat().st_size if file.is_file() else 0
        if size != self.seen:  # asked after each step: the file is read when it has grown
            self.seen = size
            self.is_behind = falls_behind(self.curve, self.others, lower=self.lower)
        return self.is_behind


def watcher_of(out: Path, metric: str, others: Sequence[Curve], *, lower: bool) -> Watcher:
    """A watcher of the run whose artifact will lie at `out`."""
    return Watcher(beside(out, ".scratch"), metric, others, lower)


def falls_behind(curve: Curve, others: Sequence[Curve], *, lower: bool) -> bool:
    """Whether a trial stands at a rung, and not among the best third of those that reached it, itself counted."""
    if not curve or curve[-1][0] not in RUNGS:
        return False
    at, score = curve[-1]
    there = [dict(other)[at] for other in others if at in dict(other)]
    better = sum(one < score if lower else one > score for one in there)
    return better >= -(-(len(there) + 1) // KEPT)


def curve_of(folder: Path, metric: str) -> list[tuple[int, float]]:
    """The validations of a run, from its metrics.jsonl."""
    scores = [float(point[metric]) for point in read_points(folder) if isinstance(point.get(metric), int | float)]
    return list(enumerate(scores, 1))
