"""A drift: the sum of what is above the mean so far has risen far from where it was lowest (or fallen from its top)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from pretune.apps.monitor.detect.detector import Detector, Found
from pretune.base.json import Json


class PageHinkley(Detector):
    """Page's test with a mean that is learnt, both ways; after a change it begins again.

    Source: Page 1954, Biometrika 41; Hinkley 1971, Biometrika 58; with forgetting as in Gama et al. 2014,
    doi:10.1145/2523813. The defaults are those of river's PageHinkley, whose changes it gives; only `threshold` is
    smaller, since windows are fewer than the examples of a stream.
    """

    what: ClassVar[str] = "drift"
    tried: ClassVar[Mapping[str, tuple[float, ...]]] = {"threshold": (5, 10, 15, 20, 30, 50, 80)}
    kind: str = "page-hinkley"
    min_windows: int = Field(30, ge=1)
    """Windows before the first change is said."""
    delta: float = Field(0.005, ge=0)
    """What a window may be off the mean without counting, in standard deviations."""
    threshold: float = Field(30.0, gt=0)
    """How far the sum moves before it is a change."""
    alpha: float = Field(0.9999, gt=0, le=1)
    """What is left of the sum after each window."""

    def begin(self) -> Json:
        return {"number": 0, "mean": 0.0, "up": 0.0, "down": 0.0, "lowest": None, "highest": None}

    def step(self, state: Json, value: float) -> Found:
        state["number"] += 1
        state["mean"] += (value - state["mean"]) / state["number"]
        off = value - state["mean"]
        state["up"] = self.alpha * state["up"] + off - self.delta
        state["down"] = self.alpha * state["down"] + off + self.delta
        # None: the first sum is lowest and highest (infinities are no JSON).
        state["lowest"] = state["up"] if state["lowest"] is None else min(state["lowest"], state["up"])
        state["highest"] = state["down"] if state["highest"] is None else max(state["highest"], state["down"])
        rise, fall = state["up"] - state["lowest"], state["highest"] - state["down"]
        found = Found(
            state["number"] >= self.min_windows and max(rise, fall) > self.threshold, max(rise, fall), rise >= fall
        )
        if found.is_change:
            state |= self.begin()
        return found
