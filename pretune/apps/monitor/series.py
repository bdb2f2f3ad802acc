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
from pretune.apps.monitor.usual import LEAST, WEEK, Usual, standardised
from pretune.base.config import Config, chosen
from pretune.base.json import Json

HOUR = 3600
BEFORE = 256
"""Windows without a text, at most, that a drift of a series that begins is compared with."""


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
    return {"usual": watching.usual.begin(), "detectors": states, "quiet": [0] * len(states), "first": None, "idle": 0}


def newcomer(watching: Watching, first: int, start: int) -> Json:
    """The state of a series that begins at `start`, in a watch that began at `first` and saw nothing of it so far."""
    state, windows = begin(watching), (start - first) // watching.seconds
    if windows > 0:
        state["usual"], state["first"] = watching.usual.begin(windows, seconds=watching.seconds), first
        for detector, own in zip(watching.detect, state["detectors"], strict=True):
            if detector.what == "drift":  # a rise is one above what was there before: nothing
                for _ in range(min(windows, BEFORE)):
                    detector.step(own, standardised(0, LEAST))
    return state


def is_idle(watching: Watching, state: Json, start: int) -> bool:
    """Whether a series that was judged up to this window had no text for so long that its past counts half."""
    is_over = state["idle"] * watching.seconds >= watching.usual.weeks * WEEK
    return is_over and start > max(state["quiet"], default=0)


def judge(watching: Watching, state: Json, start: int, count: int) -> list[Signal]:
    """Take a window of the series; `state` is changed in place.

    Args:
        start: of the window, in seconds since 1970; each once, in rising order.
    """
    usual = watching.usual.expected(state["usual"], start)
    watching.usual.learn(state["usual"], start, count, seconds=watching.seconds)
    state["idle"] = 0 if count else state.get("idle", 0) + 1
    return found_in(watching, state, start, count, usual)


def found_in(watching: Watching, state: Json, start: int, count: int, usual: float | None) -> list[Signal]:
    """What the detectors say of a window whose usual is known (None: it is the first)."""
    state["first"] = start if state["first"] is None else state["first"]
    if usual is None:
        return []
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


def usual_in(watching: Watching, counts: Sequence[int], *, first: int) -> list[float | None]:
    """What is usual in each window of a whole history, as it was known then."""
    state, found = watching.usual.begin(), list[float | None]()
    for place, count in enumerate(counts):
        start = first + place * watching.seconds
        found.append(watching.usual.expected(state, start))
        watching.usual.learn(state, start, count, seconds=watching.seconds)
    return found


def new_in(watching: Watching, counts: Sequence[int], usual: Sequence[float | None], *, first: int) -> list[int]:
    """The places of windows in which something new is found, over a whole history."""
    state, found = begin(watching), list[int]()
    for place, (count, expected) in enumerate(zip(counts, usual, strict=True)):
        signals = found_in(watching, state, first + place * watching.seconds, count, expected)
        found += [place] if any(one.is_new for one in signals) else []
    return found
