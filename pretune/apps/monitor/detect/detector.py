"""What finds a change: a table of methods, each a few settings and one step over a state that is JSON.

The numbers of a series are how far each window is from its usual, in standard deviations (usual.py). The state is kept
in the store in the transaction that keeps the counts, so that a watch that was killed goes on in the middle of a burst.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, NamedTuple

from pretune.base.config import Choice, Variant
from pretune.base.json import Json


class Found(NamedTuple):
    """What a step says: whether the series has changed, by how much, and whether it went up.

    A replay makes millions of them, and a frozen dataclass takes twice as long.
    """

    is_change: bool
    score: float
    rises: bool = True


class Detector(Variant):
    """One way to find a change."""

    what: ClassVar[str] = "burst"
    """What it finds: a burst (hours) or a drift (it stays)."""
    tried: ClassVar[Mapping[str, tuple[float, ...]]] = {}
    """What a replay tries: setting -> values. They trade false alarms for delay."""

    def begin(self) -> Json:
        """The state before the first number."""
        raise AssertionError(f"{type(self).__name__} has no begin()")

    def step(self, state: Json, value: float) -> Found:
        """Take the next number; `state` is changed in place."""
        raise AssertionError(f"{type(self).__name__} has no step()")


DETECTOR = Choice(
    Detector,
    {
        "ewma": "pretune.apps.monitor.detect.ewma:Ewma",
        "page-hinkley": "pretune.apps.monitor.detect.page_hinkley:PageHinkley",
        "adwin": "pretune.apps.monitor.detect.adwin:Adwin",
    },
    group="pretune.detectors",
)
