"""A burst: the exponentially weighted mean of the last windows is far above the usual."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from pretune.apps.monitor.detect.detector import Detector, Found
from pretune.base.json import Json


class Ewma(Detector):
    """EWMA control chart over standardised counts.

    With s <- fading * z + (1 - fading) * s, the score is s over its standard deviation, sqrt(fading / (2 - fading)).

    Source: Roberts 1959, Technometrics 1(3); its limits in Lucas & Saccucci 1990, Technometrics 32(1).
    """

    what: ClassVar[str] = "burst"
    tried: ClassVar[Mapping[str, tuple[float, ...]]] = {
        "fading": (0.3, 0.4, 0.5, 0.6, 0.8),
        "threshold": (2.5, 3.0, 3.25, 3.5, 3.75, 4.0, 4.25, 4.5, 5.0, 6.0),
    }
    kind: str = "ewma"
    fading: float = Field(0.6, gt=0, le=1)
    """Weight of the newest window; 1 looks at it alone, less finds smaller and longer bursts, later."""
    threshold: float = Field(4.0, gt=0)
    """From how many standard deviations above its usual a series has a burst. `--replay` chooses it on a history."""

    def begin(self) -> Json:
        return {"mean": 0.0}

    def step(self, state: Json, value: float) -> Found:
        state["mean"] += self.fading * (value - state["mean"])
        score = state["mean"] / math.sqrt(self.fading / (2 - self.fading))
        return Found(score > self.threshold, score)
