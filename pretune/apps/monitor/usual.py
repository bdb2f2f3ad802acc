"""How many texts a series usually has in a window: its level, times what the weekday and the hour of day make of it.

    usual(Tuesday, 9 h) = 6.0 a window  *  1.4 (Tuesdays)  *  1.8 (9 h)  =  15.1     z = (31 - 15.1) / sqrt(15.1) = 4.1

A count of independent events is a Poisson variable, whose variance is its mean: so `z` is a standard score without a
second estimate. Factors shrink towards 1 as long as little was seen; the past fades with a half-life; and a burst does
not become usual, since a count enters no higher than `clip` standard deviations above what was expected.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

from pydantic import Field

from pretune.base.config import Config
from pretune.base.json import Json

WEEK = 7 * 24 * 3600
LEAST = 0.5
"""The usual of a series is never less: one text would otherwise be a burst where nothing was ever seen."""


class Usual(Config):
    """What a series is compared with."""

    weeks: float = Field(8, gt=0)
    """After so many weeks a window counts half."""
    days: float = Field(10, gt=0)
    """How many texts a weekday must have had before its own factor counts as much as 1."""
    hours: float = Field(60, gt=0)
    """The same for an hour of the day."""
    clip: float = Field(3, gt=0)
    """A window teaches no more than so many standard deviations above its usual."""
    utc_offset: float = Field(0, ge=-14, le=14)
    """Hours that the readers' clocks are ahead of UTC: where a day begins."""

    def begin(self, windows: int = 0, *, seconds: int = 3600) -> Json:
        """Nothing is known; or that in so many windows, each of so many seconds, nothing was seen."""
        rate = math.log(2) * seconds / (self.weeks * WEEK)
        number = math.expm1(-windows * rate) / math.expm1(-rate)  # the sum of fade ** k, as `learn` adds them up
        days, hours = ([[0.0, number / slots]] * slots for slots in (7, 24))
        return {"sum": 0.0, "number": number, "days": days, "hours": hours}

    def expected(self, state: Json, start: int) -> float | None:
        """Texts of the window that begins at `start` (seconds since 1970), at least LEAST; None: it is the first."""
        return max(self.mean(state, start), LEAST) if state["number"] else None

    def mean(self, state: Json, start: int) -> float:
        """The same, however few they are; 0 where nothing was seen yet."""
        if not state["number"]:
            return 0.0
        level = state["sum"] / state["number"]
        day, hour = self._slot(start)
        factors = _factor(state["days"][day], level, self.days) * _factor(state["hours"][hour], level, self.hours)
        return float(level * factors)

    def learn(self, state: Json, start: int, count: float, *, seconds: int) -> None:
        """Take a window of so many seconds into the usual; `state` is changed in place."""
        expected = self.expected(state, start)
        most = math.inf if expected is None else expected + self.clip * math.sqrt(expected) + 1
        kept, (day, hour) = min(count, most), self._slot(start)
        fade = 0.5 ** (seconds / (self.weeks * WEEK))
        state["sum"], state["number"] = state["sum"] * fade + kept, state["number"] * fade + 1
        for name, place in (("days", day), ("hours", hour)):
            faded = [[total * fade, number * fade] for total, number in state[name]]
            faded[place] = [faded[place][0] + kept, faded[place][1] + 1]
            state[name] = faded

    def _slot(self, start: int) -> tuple[int, int]:
        local = datetime.fromtimestamp(start, UTC) + timedelta(hours=self.utc_offset)
        return local.weekday(), local.hour


def _factor(seen: list[float], level: float, prior: float) -> float:
    total, number = seen
    return (prior + total) / (prior + number * level)


def standardised(count: float, expected: float) -> float:
    """How many standard deviations a Poisson count is above its mean."""
    return (count - expected) / math.sqrt(expected)
