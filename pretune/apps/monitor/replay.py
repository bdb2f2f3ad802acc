"""A history judged again and again: which threshold finds bursts soon, and how often it would have cried wolf.

    history (counts) + bursts at places that are known  ──▶  each setting that is tried    ──▶  false alarms a week
                                                                                                    found, delay

A real history does not say where its bursts were. So bursts are added to it at random places, and every alert elsewhere
counts as a false alarm, those that told of something true as well: the figure is an upper bound.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np
from numpy.typing import NDArray

from pretune.apps.monitor.detect.detector import Detector
from pretune.apps.monitor.series import Watching, new_in, usual_in
from pretune.apps.monitor.usual import WEEK
from pretune.base.json import Json

SOON = 2 * 3600
"""Seconds from its start within which a burst should be found."""
FACTOR, HOURS, BURSTS, COPIES = 4.0, 6, 20, 5
"""Bursts that are added: times the usual, hours long, to each of so many copies of the history."""


@dataclass(frozen=True)
class Burst:
    """More texts than usual in one series, windows [start, end)."""

    series: int
    start: int
    end: int


@dataclass(frozen=True)
class History:
    """Counts of several series over the same windows.

    Args:
        first: start of the first window, in seconds since 1970.
        counts: one row a series.
    """

    first: int
    counts: NDArray[np.int64]
    bursts: Sequence[Burst] = field(default=())

    def usual(self, watching: Watching) -> list[list[float | None]]:
        """What is usual in each window of each series."""
        return [usual_in(watching, counts, first=self.first) for counts in self.counts.tolist()]

    def weeks(self, watching: Watching) -> float:
        """How long it is, without the windows in which nothing is said yet."""
        return float(max(self.counts.shape[1] * watching.seconds / WEEK - watching.warmup_days / 7, 0.0))


@dataclass(frozen=True)
class Outcome:
    """What a watch would have made of histories.

    Args:
        settings: of the detector, those that are tried.
        false_a_week: alerts a week that were no burst; `found`: share of bursts found in time (`SOON`).
        delay_hours: from the start of a burst to its alert, on average; one that was missed counts with its length.
    """

    method: str
    settings: Mapping[str, float]
    false_a_week: float
    found: float
    delay_hours: float

    def to_json(self) -> Json:
        return {
            **{"method": self.method, **self.settings, "false_a_week": round(self.false_a_week, 3)},
            **{"found": round(self.found, 4), "delay_hours": round(self.delay_hours, 3)},
        }


def outcomes(watching: Watching, histories: Sequence[History]) -> list[Outcome]:
    """The outcome of all that each detector is tried with."""
    usual = [history.usual(watching) for history in histories]
    tried = [(d, dict(zip(d.tried, each, strict=True))) for d in watching.detect for each in product(*d.tried.values())]
    return [replayed(watching, turned(detector, settings), histories, usual) for detector, settings in tried]


def turned(detector: Detector, settings: Mapping[str, float]) -> Detector:
    """The detector with other settings."""
    return type(detector).model_validate({**detector.model_dump(), **settings})


def replayed(
    watching: Watching, detector: Detector, histories: Sequence[History], usual: Sequence[list[list[float | None]]]
) -> Outcome:
    """The outcome of one detector over some histories, whose usual is known."""
    alone, false, delays = watching.model_copy(update={"detect": (detector,)}), 0, list[float]()
    for history, expected in zip(histories, usual, strict=True):
        for series, counts in enumerate(history.counts.tolist()):
            places = new_in(alone, counts, expected[series], first=history.first)
            mine = [burst for burst in history.bursts if burst.series == series]
            false += sum(not any(burst.start <= place < burst.end for burst in mine) for place in places)
            delays += [_delay(places, burst) for burst in mine]
    weeks = sum(history.weeks(watching) for history in histories)
    hours = np.array(delays or [0.0]) * watching.seconds / 3600
    settings = {name: float(getattr(detector, name)) for name in detector.tried}
    in_time = float((hours * 3600 <= SOON).mean())
    return Outcome(detector.kind, settings, false / weeks if weeks else 0.0, in_time, float(hours.mean()))


def _delay(places: Sequence[int], burst: Burst) -> float:
    """Windows until it was told of, which is when a window is over; its length where it never was."""
    return next(
        (place + 1 - burst.start for place in places if burst.start <= place < burst.end), burst.end - burst.start
    )


def chosen(watching: Watching, tried: Sequence[Outcome], *, most_false: float) -> Watching:
    """Each detector with what finds most in time at so few false alarms a week; of equals, what has fewest.

    Where nothing has so few, what has fewest.
    """
    picked = []
    for detector in watching.detect:
        mine = [one for one in tried if one.method == detector.kind]
        quiet = [one for one in mine if one.false_a_week <= most_false]
        best = min(quiet or mine, key=lambda one: (-one.found if quiet else 0.0, one.false_a_week, one.delay_hours))
        picked.append(turned(detector, best.settings))
    return watching.model_copy(update={"detect": tuple(picked)})


def with_bursts(history: History, watching: Watching, rng: np.random.Generator) -> History:
    """A copy with bursts at random places, never two within a day in one series.

    Texts are added as a Poisson count of (factor - 1) times the mean of the series a day around; a series without a
    text there has no burst.
    """
    counts, bursts = history.counts.copy(), list[Burst]()
    length, day = max(1, HOURS * 3600 // watching.seconds), max(1, 24 * 3600 // watching.seconds)
    warm = int(np.ceil(watching.warmup_days * WEEK / 7 / watching.seconds))
    for _ in range(100 * BURSTS if len(counts) and counts.shape[1] - warm > length else 0):
        series, start = int(rng.integers(counts.shape[0])), int(rng.integers(warm, counts.shape[1] - length))
        level = history.counts[series, max(0, start - day) : start + day].mean()
        if level and all(b.series != series or abs(b.start - start) > day for b in bursts):
            counts[series, start : start + length] += rng.poisson((FACTOR - 1) * level, length)
            bursts.append(Burst(series, start, start + length))
        if len(bursts) == BURSTS:
            break
    return History(history.first, counts, tuple(bursts))
