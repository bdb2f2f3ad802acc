"""What an evaluation found, and the words for it: was the baseline beaten, by how much, how sure is that.

The verdict is given in words because a figure alone flatters: 81 % next to a baseline of 83 % is a failure.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import overload

import numpy as np
from numpy.typing import NDArray

from pretune.base.json import Json, JsonMap
from pretune.evaluate.scores import Interval, bootstrap, bootstrap_figure, bootstrap_gap
from pretune.infer.explain import Explanation
from pretune.report.numbers import metric, named
from pretune.task.judge.judge import Part, whole

DIGITS = 6
"""Decimals in reports: sums in another order differ behind these."""
ITS_BEGINNING = " (its first 64 million characters)"
"""What is said of a corpus that has more than `overlap` looks at."""

PLAIN = ("bits_per_byte", "spearman", "ndcg_10")
"""Main figures that are no shares."""
FEWEST = 5
"""Examples below which no interval is drawn: that of one example would have no width at all."""
REMEDIES = {
    "bits_per_byte": "more minutes of training, or more text",
    "accuracy": "more labelled texts, more minutes of training, or a base that has read more",
    "f1": "more tagged texts or answered questions, more epochs, or a base that has read more",
    "spearman": "more scored texts, more minutes of training, or a base that has read more",
    "macro_f1": "more labelled texts, above all of rare labels, or more minutes of training",
    "ndcg_10": "more queries, larger steps (batch), harder negatives, or a base that has read more",
    "rouge_l": "more minutes of training, or more examples of what is asked",
}
"""What usually brings a main figure past its baseline."""


@dataclass(frozen=True)
class Compared:
    """A baseline, a simple system, on the same examples.

    Args:
        name: as figures are named (`tfidf_svm`); `what` says it in words.
        figures: the same figures as the model's.
        margin: the model's main figure less the baseline's, turned so that more than 0 is better.
        interval: 95 % interval of the margin; None where it cannot be had.
        is_ceiling: nothing to be beaten but the most there is to reach: of what was read, looking it up.
    """

    name: str
    what: str
    figures: dict[str, float]
    margin: float
    interval: Interval | None = None
    is_ceiling: bool = False

    @property
    def least(self) -> float:
        """The worst end of the margin's interval."""
        return self.interval.low if self.interval else self.margin

    def tree(self) -> Json:
        spread = self.interval.pair() if self.interval else None
        return {
            "name": self.name,
            "what": self.what,
            "metrics": self.figures,
            "margin": self.margin,
            "interval": spread,
            "is_ceiling": self.is_ceiling,
        }


@dataclass(frozen=True)
class Group:
    """Figures of some of the examples (`all`, or what is remembered, what is guessed), and their baselines.

    Args:
        remedy: what usually brings the main figure past its baseline, where that is not the usual of its kind.
        told: the verdict of a figure that no baseline goes with.
    """

    name: str
    examples: int
    figures: dict[str, float]
    intervals: dict[str, Interval | None]
    baselines: list[Compared]
    main: str
    remedy: str = ""
    told: str = ""

    @property
    def hardest(self) -> Compared | None:
        """The baseline that is ahead by most; else the one whose margin is least sure. A ceiling is none."""
        baselines = (baseline for baseline in self.baselines if not baseline.is_ceiling)
        return min(baselines, key=lambda f: (f.margin > 0, f.least if f.margin > 0 else f.margin), default=None)

    def tree(self) -> Json:
        return {
            "examples": self.examples,
            "main": self.main,
            "metrics": self.figures,
            "intervals": {name: found.pair() for name, found in self.intervals.items() if found},
            "baselines": [baseline.tree() for baseline in self.baselines],
            "beaten": is_beaten(self.hardest),
            "verdict": verdict(self),
        }

    def flat(self, prefix: str = "") -> Json:
        """Figures for a card: the group's own, then those of each baseline, then the verdict."""
        found: Json = {"examples": self.examples, **self.figures}
        for baseline in self.baselines:
            found |= {f"{baseline.name}_{self.main}": baseline.figures[self.main]}
        if self.hardest:
            found |= {"baseline": self.hardest.name, "baseline_margin": self.hardest.margin}
            found |= {"baseline_beaten": is_beaten(self.hardest)}
        return {f"{prefix}{name}": value for name, value in found.items()}


@dataclass(frozen=True)
class Findings:
    """Everything a report says of one model on one split.

    Args:
        what: the kind of task that judges, or language.
        rows: one per example, for predictions.parquet; `better` orders them from worst to best.
        tables: further parts of report.json (classes, confusion ...).
        explained: those of the worst rows, for the page, where words can be weighed; None of a long one.
    """

    what: str
    groups: list[Group]
    rows: Sequence[Json]
    better: str
    tables: Json = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    explained: list[Explanation | None] = field(default_factory=list)

    @property
    def ordered(self) -> Sequence[Json]:
        """The rows from worst to best."""
        return in_order(self.rows, self.better)

    def joined(self, groups: list[Group], rows: Sequence[Json], tables: Json, notes: list[str]) -> Findings:
        """These findings and more of the same report."""
        every, whole = [*self.groups, *groups], [*self.rows, *rows]
        return replace(self, groups=every, rows=whole, tables=self.tables | tables, notes=[*self.notes, *notes])

    def metrics(self) -> Json:
        """Flat figures for the card: of all examples, and of each further group with its name in front."""
        flat: Json = {}
        for group in self.groups:
            flat |= group.flat("" if group.name == "all" else f"{group.name}_")
        return rounded(flat)


@dataclass(frozen=True)
class Rows(Sequence[Json]):
    """Rows that are made when they are asked for: only what they are made of is in memory."""

    make: Callable[[int], Json]
    number: int

    def __len__(self) -> int:
        return self.number

    @overload
    def __getitem__(self, at: int) -> Json: ...
    @overload
    def __getitem__(self, at: slice) -> list[Json]: ...
    def __getitem__(self, at: int | slice) -> Json | list[Json]:
        numbers = range(self.number)[at]
        return self.make(numbers) if isinstance(numbers, int) else [self.make(k) for k in numbers]


def in_order(rows: Sequence[Json], by: str) -> Sequence[Json]:
    """Rows in the order of a column, the smallest first."""
    order = np.argsort(np.fromiter((row[by] for row in rows), dtype=np.float64), kind="stable")
    return Rows(lambda k: rows[int(order[k])], len(order))


def margin_of(model: Sequence[float], baseline: Sequence[float], *, seed: int) -> tuple[float, Interval | None]:
    """Mean of the model's figure less the baseline's on the same examples, with its interval (paired bootstrap)."""
    difference = np.asarray(model, dtype=np.float64) - np.asarray(baseline, dtype=np.float64)
    return float(difference.mean()), drawn_again(difference, seed=seed)


def ratio_margin_of(model: Sequence[Part], baseline: Sequence[Part], *, seed: int) -> tuple[float, Interval | None]:
    """The same of a figure that is a ratio of all answers together."""
    sides = [([part.top for part in one], [part.below for part in one]) for one in (model, baseline)]
    interval = bootstrap_gap(*sides, seed=seed) if len(model) >= FEWEST else None
    return whole(model) - whole(baseline), interval


def drawn_again(sums: NDArray[np.float64], weights: Sequence[float] | None = None, *, seed: int) -> Interval | None:
    """The bootstrap's interval; None for so few examples that drawing them again tells nothing."""
    return bootstrap(sums, weights, seed=seed) if len(sums) >= FEWEST else None


def figure_drawn_again(figure: Callable[[NDArray[np.int64]], float], examples: int, *, seed: int) -> Interval | None:
    """The same of a figure of all examples together, given the numbers of those that were drawn."""
    return bootstrap_figure(figure, examples, seed=seed) if examples >= FEWEST else None


def is_beaten(baseline: Compared | None) -> bool | None:
    """Whether even the worst end of the margin's interval is a gain; None without a baseline."""
    if baseline is None:
        return None
    return baseline.least > 0


def verdict(group: Group) -> str:
    """Whether the model was worth it, and what would bring it where it was not; then the ceiling, if there is one."""
    return " ".join(
        [_compared(group), *(_reached(baseline, group.main) for baseline in group.baselines if baseline.is_ceiling)]
    )


def _compared(group: Group) -> str:
    """One sentence on the hardest baseline, and one on what would bring it where it is not beaten."""
    hardest, main = group.hardest, group.main
    if group.told:
        return group.told
    if hardest is None:
        return "There is no baseline to compare with: the data has no training split."
    what, said = hardest.what, f"{named(main)} {metric(group.figures[main], main)} against {_told(hardest, main)}."
    if is_beaten(hardest):
        few = "" if hardest.interval or hardest.name == "xz" else " With so few examples this may be chance."
        return f"The model beats its baseline, {what}: {said}{few}"
    remedy = f"What usually brings it: {group.remedy or REMEDIES[main]}."
    if hardest.margin > 0:
        return f"The model is ahead of its baseline, {what}, but not by more than chance explains: {said} {remedy}"
    return f"The model is still behind its baseline, {what}: {said} {remedy}"


def _told(baseline: Compared, main: str) -> str:
    """The baseline's figure, by how much the model is better or worse, and how sure that is."""
    times, unit, digits = (1, "", 3) if main in PLAIN else (100, " points", 1)
    sure = baseline.interval
    spread = f" (95 % interval {times * sure.low:+.{digits}f} to {times * sure.high:+.{digits}f})" if sure else ""
    gap = f"{abs(times * baseline.margin):.{digits}f}{unit} {'better' if baseline.margin > 0 else 'worse'}"
    return f"{metric(baseline.figures[main], main)}, {gap}{spread}"


def _reached(ceiling: Compared, main: str) -> str:
    figure = f"{named(main)} {metric(ceiling.figures[main], main)}"
    return f"Of what was read in training the ceiling is to look it up: {figure}, {ceiling.what}."


def rounded(tree: JsonMap) -> Json:
    """A JSON tree with floats cut to six decimals; numbers that are not finite become None."""
    return {str(name): _rounded(value) for name, value in tree.items()}


def _rounded(value: object) -> object:
    if isinstance(value, float | np.floating):
        return round(float(value), DIGITS) if math.isfinite(value) else None
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, Mapping):
        return rounded(value)
    return [_rounded(v) for v in value] if isinstance(value, list | tuple) else value
