"""Two or more reports compared: every two of them, on every part, and in slices.

A difference counts where its p value, corrected for all comparisons that are made (Holm), is below 5 %. Slices are
corrected among those of their own comparison; one of few examples is reported and not judged.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import combinations

import numpy as np

from pretune.base.errors import BadCommand
from pretune.base.json import Json
from pretune.evaluate.compare.figures import Two, goodness, judge_of, sign_of, two_of
from pretune.evaluate.compare.reports import Reported, open_reports
from pretune.evaluate.compare.significance import ALPHA, benjamini_hochberg, holm
from pretune.evaluate.compare.slices import slices_of
from pretune.evaluate.findings import rounded
from pretune.evaluate.scores import Interval

FEWEST_JUDGED = 20
"""Examples below which a slice is reported and not judged."""
SHOWN = 10
"""Examples that changed, of each direction."""


@dataclass(frozen=True)
class Difference:
    """One figure of two systems on the same examples; `gap` is turned so that more than 0 speaks for the first.

    Args:
        p, exact: None where it is not judged; `holm`, `bh`: p corrected by Holm and by Benjamini and Hochberg.
    """

    examples: int
    figures: tuple[float, float]
    gap: float
    interval: Interval | None
    p: float | None = None
    exact: float | None = None
    holm: float | None = None
    bh: float | None = None
    slice: tuple[str, str] = ("", "")

    @property
    def winner(self) -> int | None:
        """0 or 1: which is better by more than chance explains; None where that is not known."""
        if self.holm is None or self.holm >= ALPHA or not self.gap:
            return None
        return 0 if self.gap > 0 else 1

    def tree(self, names: tuple[str, str]) -> Json:
        kind, value = self.slice
        found: Json = {"slice": kind, "value": value} if kind else {}
        found |= {"examples": self.examples, "figures": dict(zip(names, self.figures, strict=True)), "gap": self.gap}
        found |= {"interval": self.interval and self.interval.pair()}
        p_values = {"p": self.p, "p_exact": self.exact, "holm": self.holm, "benjamini_hochberg": self.bh}
        told = {name: None if p is None else float(f"{p:.3g}") for name, p in p_values.items()}
        won = None if self.winner is None else names[self.winner]
        return rounded(found) | told | {"judged": self.p is not None, "better": won}


@dataclass(frozen=True)
class Comparison:
    """Two reports on one part of their examples.

    Args:
        changed: places of the examples that the first answers better, most first, and those that the second does.
    """

    names: tuple[str, str]
    part: str
    two: Two
    whole: Difference
    slices: list[Difference]
    changed: tuple[list[int], list[int]]
    rows: tuple[Sequence[Json], Sequence[Json]] = field(repr=False)

    def tree(self) -> Json:
        counts = dict(zip(self.names, map(len, self.changed), strict=True))
        shown = [self.example(k) for places in self.changed for k in places[:SHOWN]]
        return {
            **{"first": self.names[0], "second": self.names[1], "part": self.part},
            **{"figure": self.two.name, "test": self.two.test},
            **self.whole.tree(self.names),
            **{"better_on": counts, "changed": shown},
            "slices": [one.tree(self.names) for one in self.slices],
        }

    def example(self, place: int) -> Json:
        """What was asked, and both answers."""
        first, second = (rows[place] for rows in self.rows)
        same = {name: value for name, value in first.items() if value is not None and second.get(name) == value}
        apart = {
            name: [first[name], second.get(name)] for name in first if name not in same and first[name] is not None
        }
        return {**same, **apart}


def compare(paths: Sequence[str], columns: Sequence[str], *, seed: int = 0) -> tuple[list[Reported], list[Comparison]]:
    """Every two of the reports on every part of their examples.

    Args:
        columns: of the user's data, each a kind of slice.

    Raises:
        BadCommand: fewer than two reports; NotSupported: different examples; NoSuchColumn.
    """
    if len(set(paths)) < max(2, len(paths)):
        raise BadCommand("a comparison needs two different reports", hint="pretune compare REPORT REPORT")
    reports = open_reports(paths)
    made = [one for pair in combinations(reports, 2) for one in _compared(*pair, columns, seed)]
    judged = corrected([one.whole for one in made])
    return reports, [replace(one, whole=whole) for one, whole in zip(made, judged, strict=True)]


def _compared(first: Reported, second: Reported, columns: Sequence[str], seed: int) -> Iterator[Comparison]:
    judge = judge_of(first.what)
    data = first.artifact.source("data") if "data" in first.artifact.card.inputs else None
    for part, places in first.parts().items():
        mine, theirs = ([one.rows[k] for k in places] for one in (first, second))
        two = two_of(judge, part, mine, theirs)
        kinds = slices_of(mine, data, columns)
        some = [_in_slice(two, kind, name, some, seed) for kind, by in kinds.items() for name, some in by.items()]
        better = partial(goodness, judge, part, first.report["better"])
        changed = _changed(*([better(row) for row in rows] for rows in (mine, theirs)))
        names = (first.name, second.name)
        yield Comparison(names, part, two, difference(two, len(mine), seed), corrected(some), changed, (mine, theirs))


def _in_slice(two: Two, kind: str, name: str, places: list[int], seed: int) -> Difference:
    judged = len(places) >= FEWEST_JUDGED
    return replace(difference(two.some(np.array(places)), len(places), seed, judged=judged), slice=(kind, name))


def difference(two: Two, examples: int, seed: int, *, judged: bool = True) -> Difference:
    """Both figures, how far the first is ahead, and how sure that is."""
    (first, second), sign, interval = two.both(), sign_of(two.name), two.interval(seed)
    turned = interval and (interval if sign > 0 else Interval(-interval.high, -interval.low))
    p, exact = two.p_values(seed) if judged else (None, None)
    return Difference(examples, (first, second), sign * (first - second), turned, p, exact)


def corrected(many: Sequence[Difference]) -> list[Difference]:
    """The differences with p values corrected for all of them that are judged."""
    judged = {k: one.p for k, one in enumerate(many) if one.p is not None}
    both = zip(judged, holm([*judged.values()]), benjamini_hochberg([*judged.values()]), strict=True)
    made = {k: replace(many[k], holm=by_holm, bh=by_bh) for k, by_holm, by_bh in both}
    return [made.get(k, one) for k, one in enumerate(many)]


def _changed(first: Sequence[float], second: Sequence[float]) -> tuple[list[int], list[int]]:
    gaps = np.asarray(first) - np.asarray(second)
    order = np.argsort(-np.abs(gaps), kind="stable")
    return [int(k) for k in order if gaps[k] > 0], [int(k) for k in order if gaps[k] < 0]


def facts(reports: Sequence[Reported], made: Sequence[Comparison]) -> Json:
    """The comparison as one JSON object."""
    told = [{"name": r.name, "id": r.artifact.card.id, "model": r.report["model"]["id"]} for r in reports]
    return {"reports": told, "data": reports[0].report["data"], "comparisons": [one.tree() for one in made]}
