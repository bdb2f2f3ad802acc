"""The main figure of two reports on the same examples: of all of them, of some, and how sure the difference is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pretune.base.json import Json, JsonMap
from pretune.evaluate.compare.significance import Sums, mcnemar, swapped, swapped_figure
from pretune.evaluate.findings import FEWEST, figure_drawn_again
from pretune.evaluate.pairs import weights_of
from pretune.evaluate.records import grouped
from pretune.evaluate.scores import Interval, bootstrap_gap
from pretune.report.numbers import is_lower_better
from pretune.task.judge.judge import Judge, Part
from pretune.task.task import TASK

Places = NDArray[np.int64]
MCNEMAR, SWAPS = "McNemar", "swaps"


class Two(Protocol):
    """The figure of two systems on N examples."""

    @property
    def name(self) -> str: ...
    @property
    def test(self) -> str: ...
    def some(self, places: Places) -> Two:
        """The same of some of the examples."""

    def both(self) -> tuple[float, float]:
        """The figure of the first and of the second."""

    def interval(self, seed: int) -> Interval | None:
        """95 % interval of the first less the second, drawn again; None of very few examples."""

    def p_values(self, seed: int) -> tuple[float, float]:
        """The one that decides, and the exact one where they differ."""


@dataclass(frozen=True)
class Ratios:
    """A mean of the examples' marks, or a ratio of all together; `shares`: marks are right or wrong."""

    name: str
    first: Sums
    second: Sums
    shares: bool = False

    @property
    def test(self) -> str:
        return MCNEMAR if self.shares else SWAPS

    def some(self, places: Places) -> Ratios:
        return Ratios(self.name, self.first.some(places), self.second.some(places), self.shares)

    def both(self) -> tuple[float, float]:
        return self.first.ratio, self.second.ratio

    def interval(self, seed: int) -> Interval | None:
        return bootstrap_gap(self.first, self.second, seed=seed) if len(self.first.tops) >= FEWEST else None

    def p_values(self, seed: int) -> tuple[float, float]:
        if self.shares:
            gaps = self.first.tops - self.second.tops
            return mcnemar(int((gaps > 0).sum()), int((gaps < 0).sum()))
        p = swapped(self.first, self.second, seed=seed)
        return p, p


@dataclass(frozen=True)
class Whole:
    """A figure of all examples together (a correlation, macro-F1).

    Args:
        figure: of numbered answers: k is the first system's answer to example k, N + k the second's.
        first, second: the numbers of the two systems' answers, [N] each.
    """

    name: str
    figure: Callable[[Places], float]
    first: Places
    second: Places
    test: str = SWAPS

    def some(self, places: Places) -> Whole:
        return Whole(self.name, self.figure, self.first[places], self.second[places])

    def both(self) -> tuple[float, float]:
        return self.figure(self.first), self.figure(self.second)

    def interval(self, seed: int) -> Interval | None:
        return figure_drawn_again(
            lambda drawn: self.figure(self.first[drawn]) - self.figure(self.second[drawn]), len(self.first), seed=seed
        )

    def p_values(self, seed: int) -> tuple[float, float]:
        p = swapped_figure(self._gap, len(self.first), seed=seed)
        return p, p

    def _gap(self, swap_N: NDArray[np.bool_]) -> float:
        mine, theirs = (np.where(swap_N, *two) for two in ((self.second, self.first), (self.first, self.second)))
        return self.figure(mine) - self.figure(theirs)


def judge_of(what: str) -> Judge | None:
    """The judge of a report's task; None of text, which no task judges (a report never says what to import)."""
    return TASK(what).judge if what in TASK.kinds() else None


def two_of(judge: Judge | None, part: str, first: Sequence[JsonMap], second: Sequence[JsonMap]) -> Two:
    """The main figure of a report's part; rows of predictions, the same examples in the same order."""
    if judge is None:
        name, mine, theirs = _likely(part, first), *(_sums_of_text(part, rows) for rows in (first, second))
        return Ratios(name, mine, theirs)
    if judge.again(first[0]) is not None:
        return _whole(judge, [*first, *second])
    marks = [[judge.mark_in(row) for row in rows] for rows in (first, second)]
    shares = all(isinstance(mark, bool) for mark in marks[0])
    return Ratios(judge.main, _sums(marks[0]), _sums(marks[1]), shares)


def _whole(judge: Judge, rows: Sequence[JsonMap]) -> Whole:
    answers, asked = zip(*filter(None, map(judge.again, rows)), strict=True)
    first, second = np.split(np.arange(len(rows)), 2)
    return Whole(judge.main, judge.drawn(answers, asked), first, second)


def _sums(marks: Sequence[bool | float | Part]) -> Sums:
    parts = [mark if isinstance(mark, Part) else Part(float(mark), 1.0) for mark in marks]
    return Sums(np.array([p.top for p in parts], dtype=float), np.array([p.below for p in parts], dtype=float))


# ---- reports on text, which no task judges -------------------------------------------------------


def _likely(part: str, rows: Sequence[JsonMap]) -> str:
    if not part:
        return "bits_per_byte"
    return "accuracy" if _has_choice(rows) else "log_likelihood"


def _has_choice(rows: Sequence[JsonMap]) -> bool:
    """Whether `gain` is how far the right one is ahead; of a cloze it is a log-probability."""
    return any(row.get("good") is not None or row.get("said") is not None for row in rows)


def _ahead(gains: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 where the right one is ahead, a half where they tie."""
    return np.where(gains == 0, 0.5, (gains > 0).astype(np.float64))


def _sums_of_text(part: str, rows: Sequence[JsonMap]) -> Sums:
    """Bits of bytes; of pairs and choices who is ahead, a tie half, pairs weighed so that paradigms count alike."""
    if not part:
        sizes = np.array([row["bytes"] for row in rows], dtype=float)
        return Sums(sizes * [row["bits_per_byte"] for row in rows], sizes)
    gains = np.array([row["gain"] for row in rows], dtype=float)
    values = _ahead(gains) if _has_choice(rows) else gains
    weights = weights_of(dict(grouped([row["group"] for row in rows])))
    return Sums(values * weights, weights)


def goodness(judge: Judge | None, part: str, better: str, row: Json) -> float:
    """How good an answer is, to find the examples that changed: its mark, or what orders the report's rows.

    Of a choice its mark is whether it is right: by how much is not compared.
    """
    if judge is None and not part:
        return -float(row["bits_per_byte"])
    if judge is None:
        return float(_ahead(np.array([row["gain"]]))[0]) if _has_choice([row]) else float(row["gain"])
    mark = row[better] if judge.again(row) is not None else judge.mark_in(row)
    return (mark.top / mark.below if mark.below else 1.0) if isinstance(mark, Part) else float(mark)


def sign_of(figure: str) -> int:
    """-1 of a figure of which less is better."""
    return -1 if is_lower_better(figure) else 1
