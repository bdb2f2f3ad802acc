"""Temperature, calibration error and thresholds: by hand, and next to scikit-learn 1.9.1 and scipy."""

from __future__ import annotations

import numpy as np
import pytest

from pretune.infer.classify import softmax
from pretune.task.judge.calibration import (
    at_temperature,
    auroc,
    best_temperature,
    best_threshold,
    best_thresholds,
    brier,
    calibration_error,
    chances_of,
    negative_log_likelihood,
    reliability,
    threshold_keeping,
)

CHANCES = np.array([0.95, 0.9, 0.6, 0.66, 0.3])
RIGHT = np.array([True, False, True, True, False])


def draws(number: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits of three labels, and labels that fall as often as softmax(logits) says."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(number, 3)) * 2
    gold = (rng.random((number, 1)) > np.cumsum(softmax(logits), axis=1)).sum(axis=1)
    return logits, gold


def test_the_calibration_error_is_the_mean_distance_of_fifteen_bins() -> None:
    bins = reliability(CHANCES, RIGHT)
    # (4/15, 5/15]: 0.3;  (8/15, 9/15]: 0.6;  (9/15, 10/15]: 0.66;  (13/15, 14/15]: 0.9;  (14/15, 1]: 0.95
    assert [one["texts"] for one in bins] == [1, 1, 1, 1, 1]
    assert calibration_error(bins) == pytest.approx((0.3 + 0.4 + 0.34 + 0.9 + 0.05) / 5)
    assert calibration_error(reliability(np.full(10, 0.7), np.arange(10) < 7)) == pytest.approx(0)
    assert reliability(np.array([0.0, 1.0, 1.0]), np.array([False, True, False])) == [
        {"chance": 0.0, "right": 0.0, "texts": 1},
        {"chance": 1.0, "right": 0.5, "texts": 2},
    ]


def test_loss_and_brier_score_are_those_of_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    logits, gold = draws(50, 0)
    chances = softmax(logits)
    assert negative_log_likelihood(chances_of(chances, gold)) == pytest.approx(
        metrics.log_loss(gold, chances), rel=1e-12
    )
    squares = [metrics.brier_score_loss(gold == k, chances[:, k]) for k in range(3)]
    assert brier(chances_of(chances, gold)) == pytest.approx(sum(squares), rel=1e-12)


def test_the_temperature_is_where_the_loss_has_its_minimum_and_no_likeliest_label_changes() -> None:
    logits, gold = draws(2000, 1)
    found = best_temperature(3 * logits, gold)
    assert found == pytest.approx(3, rel=0.1), "logits three times too large"
    losses = [negative_log_likelihood(chances_of(softmax(3 * logits / (found * by)), gold)) for by in (0.999, 1, 1.001)]
    assert losses[1] == min(losses)
    assert best_temperature(logits / 2, gold) == pytest.approx(found / 6, rel=1e-9)
    assert (softmax(3 * logits / found).argmax(axis=1) == logits.argmax(axis=1)).all()


def test_a_split_without_a_mistake_says_nothing_of_the_temperature() -> None:
    logits = np.array([[2.0, 0.0], [0.0, 1.0]])
    assert best_temperature(logits, np.array([0, 1])) == 1.0
    assert best_temperature(logits, np.array([1, 0])) == pytest.approx(50)


def test_probabilities_at_another_temperature_are_those_of_their_logits() -> None:
    logits, _ = draws(20, 2)
    assert at_temperature(softmax(logits / 2.5), 2.5) == pytest.approx(softmax(logits), rel=1e-9)
    assert at_temperature(np.array([[1.0, 0.0]]), 2.0).tolist() == [[1.0, 0.0]]


def test_auroc_is_that_of_scikit_learn_ties_counted_half() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(3)
    values, holds = rng.integers(0, 6, 40).astype(float), rng.random(40) < 0.4
    assert auroc(values, holds) == pytest.approx(metrics.roc_auc_score(holds, values), rel=1e-12)
    assert auroc(np.array([1.0, 2, 3]), np.array([False, False, True])) == 1.0
    assert auroc(np.ones(3), np.array([False, False, True])) == 0.5


def test_a_threshold_parts_texts_inside_from_those_outside_however_many_there_are() -> None:
    inside = np.array([True] * 4 + [False] * 2)
    right = np.array([True, True, True, False, False, False])
    # In order: 0.2 outside, 0.3 wrong, 0.5 right, 0.6 outside, 0.8 right, 0.9 right. Rejecting the first of them gives
    # 3/4 + 1/2, the first four 2/4 + 2/2, which is more.
    chances = np.array([0.9, 0.8, 0.5, 0.3, 0.6, 0.2])
    assert best_threshold(chances, right, inside) == pytest.approx(0.7)
    # With 0.3 right as well: nothing 4/4, the first 4/4 + 1/2, the first four 2/4 + 2/2: the first of equals.
    assert best_threshold(chances, inside, inside) == pytest.approx(0.25)
    equal = np.full(6, 0.5)
    assert best_threshold(equal, right, inside) == pytest.approx(0.75), "one cannot be rejected without the others"


def test_a_threshold_that_keeps_nine_in_ten_keeps_nine_in_ten() -> None:
    chances = np.arange(1, 21) / 20
    assert (chances >= threshold_keeping(chances, 0.9)).mean() == 0.9
    assert threshold_keeping(chances, 0.9) == pytest.approx(0.125), "rounding of 0.15 rejects no other text"
    assert threshold_keeping(np.array([0.2, 0.5, 0.5, 0.5]), 0.5) == pytest.approx(0.35), "all of the equal ones"
    assert threshold_keeping(np.array([0.4]), 0.5) == pytest.approx(0.2)
    assert (chances >= threshold_keeping(chances, 0.93)).mean() == 0.95


def macro_f1_with(thresholds: np.ndarray, chances: np.ndarray, gold: np.ndarray) -> float:
    from sklearn.metrics import f1_score

    said = (chances / thresholds).argmax(axis=1)
    return float(f1_score(gold, said, labels=np.unique(gold), average="macro", zero_division=0))


def test_the_thresholds_of_two_labels_are_the_best_of_all_cuts() -> None:
    rng = np.random.default_rng(3)
    gold = (rng.random(400) < 0.05).astype(np.int64)
    rare = np.clip(0.08 * gold + rng.beta(1, 12, 400), 0, 1).round(3)  # equal ones among them
    chances = np.stack([1 - rare, rare], axis=1)
    found = np.array(best_thresholds(chances, gold))
    assert found.sum() == pytest.approx(1, abs=1e-12)
    cuts = np.unique(rare) - 0.0005
    best = max(macro_f1_with(np.array([1 - cut, cut]), chances, gold) for cut in cuts if cut > 0)
    assert macro_f1_with(found, chances, gold) == pytest.approx(best, abs=1e-12)
    assert best > macro_f1_with(np.array([0.5, 0.5]), chances, gold) + 0.1
    assert ((chances / found).argmax(axis=1) == (rare >= found[1])).all(), "of two labels it is a probability"


def test_thresholds_of_many_labels_are_never_worse_and_stay_equal_where_nothing_is_gained() -> None:
    logits, gold = draws(300, 5)
    chances = softmax(logits - [0.0, 2.0, 4.0])  # as if the last were hardly ever seen
    found = np.array(best_thresholds(chances, gold))
    assert macro_f1_with(found, chances, gold) > macro_f1_with(np.ones(3), chances, gold) + 0.1
    sure = np.eye(3)[gold] * 0.97 + 0.01
    assert best_thresholds(sure, gold) == pytest.approx([1 / 3] * 3, abs=1e-12)
