"""Tests on the same examples against scipy, and how often they raise the alarm where two models are equal."""

from __future__ import annotations

import numpy as np
import pytest

from pretune.evaluate.compare.significance import Sums, benjamini_hochberg, holm, mcnemar, swapped, swapped_figure
from pretune.infer.correlation import spearman

stats = pytest.importorskip("scipy.stats")
PAIRS = 1000


def test_mcnemar_is_scipys_binomial_test_in_every_table_of_up_to_30_examples() -> None:
    for total in range(1, 31):
        for one in range(total + 1):
            found, exact = mcnemar(one, total - one), stats.binomtest(one, total, 0.5).pvalue
            fewer = min(one, total - one)
            middle = 2 * stats.binom.cdf(fewer, total, 0.5) - stats.binom.pmf(fewer, total, 0.5)
            assert found == pytest.approx((middle, exact), abs=1e-12), (one, total)


@pytest.mark.parametrize(("one", "other"), [(0, 0), (0, 5), (3, 9), (12, 12), (61, 20), (400, 460), (9000, 9300)])
def test_mcnemar_is_scipys_binomial_test_and_mid_p_takes_half_of_its_last_step_off(one: int, other: int) -> None:
    found, total = mcnemar(one, other), one + other
    exact = stats.binomtest(one, total, 0.5).pvalue if total else 1.0
    assert found.exact == pytest.approx(exact, rel=1e-9)
    middle = exact - stats.binom.pmf(min(one, other), total, 0.5) if one != other else 1.0
    assert found.p == pytest.approx(middle, rel=1e-9)


def test_swaps_of_few_examples_are_scipys_exact_permutation_test() -> None:
    rng = np.random.default_rng(3)
    one, other, ones = rng.random(9), rng.random(9), np.ones(9)
    mine = swapped(Sums(one, ones), Sums(other, ones), seed=0)
    theirs = stats.permutation_test(
        (one, other), lambda a, b: a.mean() - b.mean(), permutation_type="samples", n_resamples=np.inf
    )
    assert mine == pytest.approx(theirs.pvalue, abs=1e-12)


def test_swaps_of_a_correlation_are_scipys_exact_permutation_test() -> None:
    rng = np.random.default_rng(4)
    gold, one, other = rng.random(8), rng.random(8), rng.random(8)

    def gap(swap: np.ndarray) -> float:
        return spearman(gold, np.where(swap, other, one)) - spearman(gold, np.where(swap, one, other))

    def theirs(a: np.ndarray, b: np.ndarray) -> float:
        return float(stats.spearmanr(gold, a).statistic - stats.spearmanr(gold, b).statistic)

    exact = stats.permutation_test(
        (one, other), theirs, permutation_type="samples", n_resamples=np.inf, vectorized=False
    )
    assert swapped_figure(gap, 8, seed=0) == pytest.approx(exact.pvalue, abs=1e-12)


@pytest.mark.parametrize("examples", [8, 9, 10, 11, 12, 13])
def test_swaps_of_a_figure_are_of_all_examples_also_where_not_all_ways_are_tried(examples: int) -> None:
    rng = np.random.default_rng(5)
    gaps_N = np.append(rng.normal(0, 1, size=examples - 2), [5.0, 4.0])

    def gap(swap: np.ndarray) -> float:
        return float(np.where(swap, -gaps_N, gaps_N).sum())

    signs = 1 - 2 * (np.arange(2**examples)[:, None] >> np.arange(examples) & 1)
    exact = (np.abs(signs @ gaps_N) >= abs(gaps_N.sum()) - 1e-12).mean()
    found = swapped_figure(gap, examples, seed=0)
    assert found == pytest.approx(exact, abs=0.0 if examples < 10 else 4 * np.sqrt(exact * (1 - exact) / 999) + 1e-3)


def test_corrections_are_holms_by_hand_and_scipys_false_discovery_control() -> None:
    p_values = [0.01, 0.04, 0.03, 0.005]
    assert holm(p_values) == pytest.approx([0.03, 0.06, 0.06, 0.02])  # 3 x .01, 2 x .03, then not below it, 4 x .005
    assert benjamini_hochberg(p_values) == pytest.approx(stats.false_discovery_control(p_values).tolist())


@pytest.mark.parametrize("examples", [100, 1000])
def test_equal_models_are_called_different_in_5_percent_of_1000_pairs_of_labels(examples: int) -> None:
    rng = np.random.default_rng(1)
    right = rng.random((2, PAIRS, examples)) < rng.uniform(0.6, 0.95, size=(1, PAIRS, 1))
    first, second = ((a & ~b).sum(axis=1) for a, b in (right, right[::-1]))
    alarms = sum(mcnemar(int(a), int(b)).p < 0.05 for a, b in zip(first, second, strict=True))
    assert 0.04 <= alarms / PAIRS <= 0.06


def test_equal_models_are_called_different_in_5_percent_of_1000_pairs_of_ratios() -> None:
    rng = np.random.default_rng(2)
    alarms = 0
    for _ in range(PAIRS):
        below = rng.integers(1, 9, size=(2, 40)).astype(float)
        one, other = (Sums(rng.binomial(b.astype(int), 0.7).astype(float), b) for b in below)
        alarms += swapped(one, other, seed=0) < 0.05
    assert 0.04 <= alarms / PAIRS <= 0.06
