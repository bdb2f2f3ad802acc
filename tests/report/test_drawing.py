"""Pictures: places by hand, and colours that can be told apart."""

import math
from collections import Counter

import pytest

from pretune.report.drawing import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, chart, colour, length_bars, thinned, ticks


def test_ticks_are_round_and_lie_inside():
    assert ticks(0, 10) == [0, 2, 4, 6, 8, 10]
    assert ticks(1.4, 2.1) == pytest.approx([1.4, 1.6, 1.8, 2.0])
    assert ticks(100, 90100, 4) == [50000]


def test_a_curve_without_two_finite_points_is_not_drawn():
    assert chart("Loss", "nats", {"loss": [(1, 2.0), (2, math.nan)]}) is None


def test_a_curve_goes_from_the_left_edge_to_the_right_edge_inside_its_frame():
    frame = chart("", "", {"up": [(0, 0.0), (5, 1.0), (10, 2.0)]}).frame
    assert (frame.x(0), frame.x(10)) == (LEFT, WIDTH - RIGHT) and frame.x(5) == pytest.approx(
        (LEFT + WIDTH - RIGHT) / 2
    )
    assert HEIGHT - BOTTOM > frame.y(0.0) > frame.y(2.0) > TOP


def test_thinning_keeps_the_mean_and_the_last_point():
    points = [(float(k), float(k % 2)) for k in range(1000)]
    kept = thinned(points, most=100)
    assert len(kept) == 100 and kept[-1] == points[-1]
    assert all(y == pytest.approx(0.5) for _, y in kept[:-1])


def test_no_two_series_have_one_colour_and_neighbours_are_far_apart():
    assert len({colour(place) for place in range(24)}) == 24
    hues = [float(colour(k)[4:].split()[0]) for k in range(8)]
    turns = [abs(a - b) % 360 for i, a in enumerate(hues) for b in hues[:i]]
    assert min(min(turn, 360 - turn) for turn in turns) > 30  # of eight, which need 45 at best


def test_lengths_are_binned_by_doubling_for_each_name():
    bars = length_bars({"before": Counter({0: 1, 2: 5}), "after": Counter({2: 4})})
    assert [(bar.name, bar.value) for bar in bars] == [
        *(("0 ... 0 before", 1), ("after", 0)),
        *(("1 ... 1 before", 0), ("after", 0)),
        *(("2 ... 3 before", 5), ("after", 4)),
    ]
    assert len({bar.colour for bar in bars}) == 2
    assert length_bars({"": Counter()}) == []
