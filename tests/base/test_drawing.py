import math

import pytest

from pretune.base.drawing import Bar, bar_chart, line_chart, thinned, ticks


def test_ticks_are_round_and_lie_inside():
    assert ticks(0, 10) == [0, 2, 4, 6, 8, 10]
    assert ticks(1.4, 2.1) == pytest.approx([1.4, 1.6, 1.8, 2.0])
    assert ticks(100, 90100, 4) == [50000]


def test_a_curve_without_two_finite_points_is_not_drawn():
    assert line_chart({"loss": [(1, 2.0), (2, math.nan)]}, x_name="step", y_name="loss") == ""


def test_thinning_keeps_the_mean_and_the_last_point():
    points = [(float(k), float(k % 2)) for k in range(1000)]
    kept = thinned(points, most=100)
    assert len(kept) == 100 and kept[-1] == points[-1]
    assert all(y == pytest.approx(0.5) for _, y in kept[:-1])


def test_names_in_pictures_are_escaped():
    assert "<b>" not in bar_chart([Bar("<b>", 0.5)])
    assert "<b>" not in line_chart({"<b>": [(0, 1.0), (1, 2.0)]}, x_name="<b>", y_name="<b>")
