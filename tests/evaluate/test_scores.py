from itertools import pairwise

import numpy as np
import pytest

from pretune.evaluate.scores import bootstrap, bootstrap_gap, wilson


def test_wilson_is_the_textbook_interval_and_stays_inside_0_and_1():
    assert wilson(8, 10).pair() == pytest.approx([0.4902, 0.9433], abs=1e-4)  # Wilson 1927, as statsmodels gives it
    assert wilson(0, 10).low == 0.0 and wilson(10, 10).high == pytest.approx(1.0) and wilson(10, 10).high <= 1.0
    assert wilson(0, 0).pair() == [0.0, 1.0]


def test_bootstrap_of_a_share_agrees_with_wilson_and_is_the_same_for_a_seed():
    hits = [1.0] * 300 + [0.0] * 100
    found = bootstrap(hits, seed=1)
    assert found.pair() == pytest.approx(wilson(300, 400).pair(), abs=0.01)
    assert found == bootstrap(hits, seed=1)


def test_bootstrap_divides_sums_by_weights_of_the_same_draw():
    sums = np.array([2.0, 4.0, 6.0])
    assert bootstrap(sums, [1.0, 2.0, 3.0], seed=0).pair() == pytest.approx([2.0, 2.0])


def test_the_gap_of_two_ratios_is_drawn_on_the_same_examples():
    """The second is half of the first in every draw; a draw without anything below has the ratio 0, no NaN."""
    top, below = [1.0, 2.0, 0.0, 5.0], [2.0, 4.0, 0.0, 5.0]
    low, high = bootstrap_gap((top, below), ([t / 2 for t in top], below), seed=3).pair()
    whole = bootstrap(top, below, seed=3)
    assert (low, high) == pytest.approx((whole.low / 2, whole.high / 2))
    assert bootstrap_gap((top, below), (top, below), seed=3).pair() == [0.0, 0.0]
    assert bootstrap([0.0, 1.0], [0.0, 1.0], seed=0).pair() == [0.0, 1.0]


def test_intervals_grow_when_examples_are_fewer():
    widths = [wilson(n * 0.7, n).high - wilson(n * 0.7, n).low for n in (10, 100, 1000)]
    assert all(a > b for a, b in pairwise(widths))
