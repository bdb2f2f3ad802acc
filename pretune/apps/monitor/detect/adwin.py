"""A drift: a window that grows while nothing changes, until its old and its new part have other means.

    oldest                                       newest
    [8 values] [8] | [4] [4] [4] | [2] [2] | [1] [1] [1]     each bucket: their sum, their squared deviations
         n0, mean 0.1      ◀ cut ▶      n1, mean 0.9         |difference| > bound: a change

Buckets double in size towards the past, so memory and time are logarithmic in what is remembered.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import ClassVar, NamedTuple

from pydantic import Field

from pretune.apps.monitor.detect.detector import Detector, Found
from pretune.base.json import Json


class Part(NamedTuple):
    """A piece of the window: how many values, their sum, the sum of squared deviations from their mean."""

    number: float
    total: float
    squares: float

    @property
    def mean(self) -> float:
        return self.total / self.number

    def __add__(self, other: object) -> Part:
        assert isinstance(other, Part), "parts join parts"
        if not self.number or not other.number:
            return self if self.number else other
        number = self.number + other.number
        between = self.number * other.number * (self.mean - other.mean) ** 2 / number
        return Part(number, self.total + other.total, self.squares + other.squares + between)


NOTHING = Part(0, 0.0, 0.0)


class Adwin(Detector):
    """ADWIN2, the adaptive window on an exponential histogram.

    Source: Bifet & Gavaldà 2007, doi:10.1137/1.9781611972771.42, with the bound by the variance (section 4.1) and the
    least parts of MOA. The changes are those of river's ADWIN with the same settings (`clock` is 32 there): like it, it
    begins again after a change, where the paper keeps the new part.
    """

    what: ClassVar[str] = "drift"
    tried: ClassVar[Mapping[str, tuple[float, ...]]] = {"delta": (1e-1, 1e-2, 2e-3, 1e-4, 1e-5, 1e-6, 1e-8)}
    kind: str = "adwin"
    delta: float = Field(0.002, gt=0, lt=1)
    """How sure a change must be: about the chance of a false one; smaller is later and surer."""
    clock: int = Field(8, ge=1)
    """Every how many windows it looks for a change."""
    buckets: int = Field(5, ge=1)
    """Buckets of one size before two of them become one of twice the size."""
    min_part: int = Field(5, ge=1)
    """Windows that each of two parts has at least when they are compared."""
    grace: int = Field(10, ge=1)
    """Windows before it first looks."""

    def begin(self) -> Json:
        return {"ticks": 0, "rows": []}

    def step(self, state: Json, value: float) -> Found:
        self._insert(state["rows"], value)
        state["ticks"] += 1
        if state["ticks"] % self.clock or _whole(state["rows"]).number <= self.grace:
            return Found(False, 0.0)
        found = self._cut(state["rows"])
        if found.is_change:
            state |= self.begin()
        return found

    def _insert(self, rows: list[list[list[float]]], value: float) -> None:
        """A bucket of one; where a size has too many, its two oldest become one of the next."""
        carried: list[float] | None = [value, 0.0]
        for place, row in enumerate(rows):
            assert carried is not None, "the loop ends when nothing is carried on"
            row.append(carried)
            if len(row) <= self.buckets:
                return
            size = 2.0**place
            joined = Part(size, *row.pop(0)) + Part(size, *row.pop(0))
            carried = [joined.total, joined.squares]
        rows.append([carried] if carried is not None else [])

    def _cut(self, rows: list[list[list[float]]]) -> Found:
        """The first cut, from the past on, whose two parts differ too much; else the one that comes nearest to it."""
        whole = _whole(rows)
        variance = whole.squares / whole.number
        sure = math.log(2 * math.log(whole.number) / self.delta)
        old, nearest = NOTHING, Found(False, 0.0)
        for bucket in _oldest_first(rows):
            old = old + bucket
            number, total = whole.number - old.number, whole.total - old.total
            if number < self.min_part or old.number < self.min_part:
                continue
            parts = 1 / (old.number - self.min_part + 1) + 1 / (number - self.min_part + 1)
            bound = math.sqrt(2 * parts * variance * sure) + 2 / 3 * sure * parts
            difference = total / number - old.mean
            found = Found(abs(difference) > bound, abs(difference) / bound, difference > 0)
            if found.is_change:
                return found
            nearest = max(nearest, found, key=lambda one: one.score)
        return nearest


def _oldest_first(rows: list[list[list[float]]]) -> Iterator[Part]:
    for place in range(len(rows) - 1, -1, -1):
        yield from (Part(2.0**place, *bucket) for bucket in rows[place])


def _whole(rows: list[list[list[float]]]) -> Part:
    return sum(_oldest_first(rows), NOTHING)
