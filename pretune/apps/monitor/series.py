"""One line of the watch: the counts of one sentiment on one subject, window after window, and what is said of each.

    count ──▶ usual(weekday, hour) ──▶ z ──▶ every detector ──▶ signal, unless the series is warming up or quiet
                    ▲─────── learns the window, clipped ───────┘
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from pretune.apps.monitor.detect.detector import DETECTOR, Detector
from pretune.apps.monitor.detect.ewma import Ewma
from pretune.apps.monitor.usual import WEEK, Usual, standardised
from pretune.base.config import Config, chosen
from pretune.base.json import Json

HOUR = 3600


class Watching(Config):
    """When a change in the counts is one to tell of."""

    window_minutes: int = Field(60, ge=1, le=24 * 60)
    """How long a window is that texts are counted in; it is judged when it is over."""
    detect: tuple[Annotated[Detector, *chosen(DETECTOR)], ...] = (Ewma(),)
    """How changes are found: ewma (bursts of hours); page-hinkley, adwin (changes that stay)."""
    usual: Usual = Usual()
    warmup_days: float = Field(7, ge=0)
    """A series says nothing before so many days of it were seen: there is no usual Sunday before the first one."""
    cooldown_hours: float = Field(6, ge=0)
    """An alert of a series ends when nothing was found for so long; until then it is one alert, not many."""
    least: int = Field(5, ge=1)
    """Texts that a window has at least when it is called a burst."""

    @property
    def seconds(self) -> int:
        """Length of a window."""
        return self.window_minutes * 60

    def window_of(self, time: float) -> int:
        """The start of the window that a time is in, in seconds since 1970."""
        return int(time // self.seconds) * self.seconds


@dataclass(frozen=True)
class Signal:
    """A change that was found in a window.

    Args:
        method: of the detector, and `what` it finds (burst, drift).
        count: texts of the window; `usual`: that were expected.
        is_new: false while an alert of this series and method goes on.
    """

    method: str
    what: str
    score: float
    rises: bool
    count: int
    usual: float
    is_new: bool = True


def begin(watching: Watching) -> Json:
    """The state of a series before its first window."""
    states = [detector.begin() for detector in watching.detect]
    return {"usual": watching.usual.begin(), "detectors": states, "quiet": [0] * len(states), "first": None}


def judge(watching: Watching, state: Json, start: int, count: int) -> list[Signal]:
    """Take a window of the series; `state` is changed in place.

    Args:
        start: of the window, in seconds since 1970; each once, in rising order.
    """
    state["first"] = start if state["first"] is None else state["first"]
    usual = watching.usual.expected(state["usual"], start)
    found = [] if usual is None else _found(watching, state, start, count, usual)
    watching.usual.learn(state["usual"], start, count, seconds=watching.seconds)
    return found


def _found(watching: Watching, state: Json, start: int, count: int, usual: float) -> list[Signal]:
    z, signals = standardised(count, usual), list[Signal]()
    is_warm = start - state["first"] >= watching.warmup_days * WEEK / 7
    for place, (detector, own) in enumerate(zip(watching.detect, state["detectors"], strict=True)):
        found = detector.step(own, z)
        if not found.is_change or not is_warm or (detector.what == "burst" and count < watching.least):
            continue
        is_new = start > state["quiet"][place]
        state["quiet"][place] = int(start + watching.cooldown_hours * HOUR)
        signals.append(Signal(detector.kind, detector.what, found.score, found.rises, count, usual, is_new))
    return signals


def signals_of(watching: Watching, counts: Sequence[int], *, first: int) -> list[tuple[int, Signal]]:
    """What is new in a whole history: (place of the window, signal)."""
    state, found = begin(watching), list[tuple[int, Signal]]()
    for place, count in enumerate(counts):
        signals = judge(watching, state, first + place * watching.seconds, count)
        found += [(place, one) for one in signals if one.is_new]
    return found
