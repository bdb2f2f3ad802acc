"""Figures of numbers and of sets of labels, next to scipy 1.17.1 and scikit-learn 1.9.1."""

from __future__ import annotations

import numpy as np
import pytest

from pretune.infer.correlation import spearman
from pretune.task.judge.figures import best_cut, macro_f1, score_figures, set_figures

WANTED = np.array([1.0, 2.0, 2.0, 3.5, 5.0, 4.0])
SAID = np.array([0.5, 2.5, 2.0, 2.0, 4.0, 5.5])
GOLD = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0], [0, 1, 0]], dtype=bool)
GIVEN = np.array([[1, 0, 0], [1, 0, 1], [0, 0, 0], [1, 1, 0]], dtype=bool)


def test_correlations_and_errors_are_those_of_scipy() -> None:
    found = score_figures(WANTED, SAID)
    assert found["spearman"] == pytest.approx(0.8088235294117647, abs=1e-12)
    assert found["pearson"] == pytest.approx(0.7903328324426439, abs=1e-12)
    assert found["mae"] == pytest.approx(5 / 6)  # by hand: 0.5 0.5 0 1.5 1 1.5
    assert found["rmse"] == pytest.approx(np.sqrt(6 / 6))  # 0.25 0.25 0 2.25 1 2.25


def test_who_always_says_the_same_correlates_with_nothing() -> None:
    same = np.full(6, 0.1)
    assert score_figures(WANTED, same)["spearman"] == score_figures(same, SAID)["pearson"] == 0.0
    assert spearman(WANTED, -WANTED) == -1.0


def test_f1_of_sets_is_that_of_scikit_learn() -> None:
    found = set_figures(GOLD, GIVEN)
    assert found["micro_f1"] == pytest.approx(6 / 9)  # by hand: 3 right, 5 given, 4 true
    assert found["macro_f1"] == macro_f1(GOLD, GIVEN) == pytest.approx((4 / 5 + 2 / 3 + 0) / 3)
    assert macro_f1(GOLD[:, :2], GOLD[:, :2]) == 1.0
    assert macro_f1(GOLD[2:3], GIVEN[2:3]) == 0.0


def test_a_cut_is_where_f1_is_best_half_way_to_the_next_value() -> None:
    values = np.array([0.9, 0.8, 0.4, 0.4, 0.1])
    assert best_cut(values, np.array([1, 1, 0, 0, 0], dtype=bool), default=0.5) == pytest.approx(0.6)
    assert best_cut(values, np.array([1, 0, 1, 1, 0], dtype=bool), default=0.5) == pytest.approx(0.25)
    assert best_cut(values, np.zeros(5, dtype=bool), default=0.5) == 0.5
    assert best_cut(values, np.ones(5, dtype=bool), default=0.5) == pytest.approx(0.1)
