"""Methods that find a change: equal to river's on seeded streams, and to arithmetic by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
from river import drift, stats

from pretune.apps.monitor.detect.adwin import Adwin
from pretune.apps.monitor.detect.detector import DETECTOR, Detector
from pretune.apps.monitor.detect.ewma import Ewma
from pretune.apps.monitor.detect.page_hinkley import PageHinkley

SEEDS = range(5)


def stream(seed: int) -> list[float]:
    """A mean that jumps, falls and creeps, with noise whose width jumps too."""
    rng = np.random.default_rng(seed)
    mean = np.repeat([0.0, 1.5, -0.5, 0.5], 400) + np.concatenate([np.zeros(1200), np.linspace(0, 2, 400)])
    return [float(x) for x in mean + rng.normal(size=1600) * np.repeat([1.0, 0.5, 2.0, 1.0], 400)]


def changes(detector: Detector, values: list[float]) -> list[int]:
    """Where it says so; its state goes through JSON at every step, as it does in the store."""
    state, found = detector.begin(), []
    for place, value in enumerate(values):
        if detector.step(state, value).is_change:
            found.append(place)
        state = json.loads(json.dumps(state, allow_nan=False))
    return found


def of_river(detector: drift.ADWIN | drift.PageHinkley, values: list[float]) -> list[int]:
    found = []
    for place, value in enumerate(values):
        detector.update(value)
        if detector.drift_detected:
            found.append(place)
    return found


@pytest.mark.parametrize("seed", SEEDS)
def test_adwin_finds_the_changes_that_river_finds(seed: int) -> None:
    values = stream(seed)
    ours, theirs = changes(Adwin(clock=32), values), of_river(drift.ADWIN(), values)
    assert ours == theirs
    assert len(ours) >= 3
    assert changes(Adwin(clock=1, delta=0.1, buckets=3, min_part=2), values) == of_river(
        drift.ADWIN(clock=1, delta=0.1, max_buckets=3, min_window_length=2), values
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_page_hinkley_finds_the_changes_that_river_finds(seed: int) -> None:
    values = stream(seed)
    ours = changes(PageHinkley(threshold=50), values)
    assert ours == of_river(drift.PageHinkley(), values)
    assert len(ours) >= 2


def test_the_mean_of_ewma_is_rivers() -> None:
    ours, theirs = Ewma(fading=0.3), stats.EWMean(fading_factor=0.3)
    theirs.update(0.0)  # river begins at the first value, a control chart at its centre
    state = ours.begin()
    for value in stream(0)[:300]:
        ours.step(state, value)
        theirs.update(value)
        assert state["mean"] == pytest.approx(theirs.get(), abs=1e-12)


def test_ewma_says_how_many_standard_deviations_its_mean_is_up() -> None:
    ewma = Ewma(fading=0.5, threshold=3)
    state = ewma.begin()
    first, second = ewma.step(state, 4.0), ewma.step(state, 4.0)
    assert (first.score, first.is_change) == (pytest.approx(2 * 3**0.5), True)  # 2 / sqrt(.5 / 1.5)
    assert second.score == pytest.approx(3 * 3**0.5)


def test_a_drift_says_which_way_it_went() -> None:
    for detector in (Adwin(clock=1), PageHinkley(threshold=20)):
        for sign in (1, -1):
            state = detector.begin()
            found = [detector.step(state, sign * float(k >= 100) * 3 + 0.1 * (k % 2)) for k in range(150)]
            assert [one.rises for one in found if one.is_change][:1] == [sign > 0]


@pytest.mark.parametrize("kind", DETECTOR.kinds())
def test_no_method_sees_a_change_where_there_is_none(kind: str) -> None:
    values = [float(x) for x in np.random.default_rng(9).normal(size=500)]
    assert changes(DETECTOR(kind), values) == []
