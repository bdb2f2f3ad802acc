"""Recommendations: each formula against its definition, written out the slow way."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pretune.apps.recommend import mixing, systems
from pretune.apps.recommend.figures import best, figures_of, gains, place_among
from pretune.apps.recommend.learning import Asked
from pretune.apps.recommend.mixing import Mixture, chosen
from pretune.apps.recommend.ordering import Ordering, weighed
from pretune.apps.recommend.picking import diverse, picked
from pretune.apps.recommend.split import Seen
from pretune.apps.recommend.systems import (
    Linear,
    Popularity,
    Vectors,
    ease,
    nearest,
    neighbours,
    popularity,
    recent,
    row_of,
    seen_together,
    units,
    word_vectors,
)
from pretune.apps.recommend.tables import Items
from pretune.infer.answers import Ranking

USERS, ITEMS = 30, 12
RNG = np.random.default_rng(5)
SEEN_UN = RNG.random((USERS, ITEMS)) < 0.35
SEEN_UN[0] = False


def seen_of(matrix_UN: np.ndarray) -> Seen:
    rows = [np.flatnonzero(row) for row in matrix_UN]
    starts = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    return Seen(starts, np.concatenate(rows))


@pytest.fixture(scope="module")
def together_NN() -> np.ndarray:
    return seen_together(seen_of(SEEN_UN), np.arange(ITEMS), ITEMS)


def test_what_was_seen_together_is_the_product_of_the_matrix_with_itself(together_NN: np.ndarray) -> None:
    X = SEEN_UN.astype(np.float64)
    assert np.array_equal(together_NN, X.T @ X)


def test_each_column_of_ease_is_the_ridge_regression_of_its_item_on_all_others(together_NN: np.ndarray) -> None:
    X, ridge = SEEN_UN.astype(np.float64), 3.0
    for j in range(ITEMS):
        others = [k for k in range(ITEMS) if k != j]
        A = X[:, others]
        wanted = np.linalg.solve(A.T @ A + ridge * np.eye(len(others)), A.T @ X[:, j])
        np.testing.assert_allclose(ease(together_NN, ridge=ridge)[others, j], wanted, atol=1e-6)
    assert not np.diag(ease(together_NN, ridge=ridge)).any()


def test_neighbours_are_the_cosines_of_columns_and_only_the_nearest(together_NN: np.ndarray) -> None:
    X = SEEN_UN.astype(np.float64)
    found = neighbours(together_NN, most=3, shrinkage=2.0)
    for j in range(ITEMS):
        dots = {k: X[:, k] @ X[:, j] for k in range(ITEMS) if k != j}
        cosine = {k: d / (np.linalg.norm(X[:, k]) * np.linalg.norm(X[:, j]) + 2.0) for k, d in dots.items()}
        third = sorted(cosine.values())[-3]
        wanted = [cosine[k] if k != j and cosine[k] >= third else 0.0 for k in range(ITEMS)]
        np.testing.assert_allclose(found[:, j], wanted, rtol=1e-6)


@pytest.mark.parametrize("users_at_once", [3, 4096])
@pytest.mark.parametrize("most", [1, 3, 50])
def test_the_nearest_one_item_at_a_time_are_those_of_the_whole_matrix(
    most: int, users_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(systems, "USERS_AT_ONCE", users_at_once)
    monkeypatch.setattr(systems, "MOST_SEEN", 7)
    rng, items = np.random.default_rng(8), 40
    matrix_UN = rng.random((60, items)) < rng.random(items) * 0.4
    matrix_UN[:, 11] = False
    seen = seen_of(matrix_UN)
    item_M = np.flatnonzero(np.bincount(seen.item_E, minlength=items))
    whole_MM = neighbours(seen_together(seen, item_M, items), most=most, shrinkage=10.0)
    wanted = {}
    for row, item in enumerate(item_M):
        order = np.argsort(-whole_MM[:, row], kind="stable")[:most]
        wanted[int(item)] = [int(item_M[k]) for k in order if whole_MM[k, row] > 0]
    found = {item: near.tolist() for item, near in nearest(seen, items, most=most, shrinkage=10.0)}
    assert {k: v for k, v in found.items() if v} == {k: v for k, v in wanted.items() if v}


def test_the_nearest_of_many_items_need_no_square_of_them() -> None:
    items = 200_000  # their square has 320 GB
    seen = Seen(np.array([0, 3, 5]), np.array([7, 199_999, 3, 199_999, 7]))
    found = {item: near.tolist() for item, near in nearest(seen, items, most=2, shrinkage=10.0)}
    assert found == {3: [7, 199_999], 7: [199_999, 3], 199_999: [7, 3]}


def test_ndcg_and_recall_by_hand() -> None:
    """Places 1 and 3 of ten are hits, of three that were wanted; and one of one at place 2."""
    shown = np.array([[4, 0, 5, 1, 2, 3, 6, 7, 8, 9], [4, 0, 5, 1, 2, 3, 6, 7, 8, 9]])
    ndcg_B, recall_B = gains(shown, [np.array([4, 5, 11]), np.array([0])])
    ideal = 1 + 1 / math.log2(3) + 1 / 2
    np.testing.assert_allclose(ndcg_B, [(1 + 1 / 2) / ideal, 1 / math.log2(3)], rtol=1e-12)
    np.testing.assert_allclose(recall_B, [2 / 3, 1], rtol=1e-12)


def test_coverage_and_novelty_by_hand() -> None:
    found = figures_of(np.array([[0, 1], [0, 2]]), [np.array([3])] * 2, np.array([8, 4, 2, 1]), 8)
    assert found.coverage == 3 / 4
    assert found.novelty == pytest.approx((0 + 1 + 0 + 2) / 4)


def test_the_best_are_those_of_a_whole_sort_and_of_equal_ones_the_first() -> None:
    scores = np.round(np.random.default_rng(1).random((300, 400)), 1).astype(np.float32)
    scores[:, ::7] = -np.inf
    for places in (1, 10, 399, 400, 900):
        assert np.array_equal(best(scores, places), np.argsort(-scores, axis=1, kind="stable")[:, :places])


def test_a_place_among_others_is_the_share_below_and_half_of_the_ties() -> None:
    assert place_among(np.array([3, 1, 2, 3, 5], dtype=np.float32), 0, np.arange(5)) == (2 + 1 / 2) / 4
    assert place_among(np.zeros(9, dtype=np.float32), 0, np.arange(9)) == 0.5


def _mixture(together_NN: np.ndarray) -> Mixture:
    everything = np.arange(ITEMS)
    places = row_of(everything, ITEMS)
    systems = {
        "popularity": popularity(seen_of(SEEN_UN), ITEMS),
        "neighbours": Linear(neighbours(together_NN, most=5, shrinkage=1.0), everything, places),
        "ease": Linear(ease(together_NN, ridge=2.0), everything, places),
        "text": Vectors(units(RNG.standard_normal((ITEMS, 6)))),
    }
    return Mixture(systems, {"popularity": 0.5, "neighbours": 1.0, "ease": 2.0, "text": 0.25}, 3.0)


def test_what_each_thing_seen_adds_is_what_the_score_loses_without_it(together_NN: np.ndarray) -> None:
    mixture, seen = _mixture(together_NN), np.array([1, 4, 7, 9])
    weight_H = recent(4, 3.0)
    for name, system in mixture.systems.items():
        whole = system.scores(seen, weight_H)
        for item in (0, 5, 11):
            shares = system.shares(seen, weight_H, item)
            lost = [whole[item] - system.scores(np.delete(seen, k), np.delete(weight_H, k))[item] for k in range(4)]
            np.testing.assert_allclose(shares, lost, atol=1e-5, err_msg=name)


def test_the_mixture_is_the_weighted_sum_of_standard_scores(together_NN: np.ndarray) -> None:
    mixture, seen = _mixture(together_NN), np.array([2, 3])
    wanted = np.zeros(ITEMS)
    for name, weight in mixture.weights.items():
        scores = mixture.systems[name].scores(seen, np.array([0.5 ** (1 / 3), 1], dtype=np.float32)).astype(np.float64)
        wanted += weight * (scores - scores.mean()) / scores.std()
    np.testing.assert_allclose(mixture.scores(seen), wanted, atol=1e-5)


def test_the_weights_that_validation_chooses_are_no_worse_than_any_system_alone(together_NN: np.ndarray) -> None:
    systems = _mixture(together_NN).systems
    seen, wanted = [np.flatnonzero(row)[:-1] for row in SEEN_UN[1:]], [np.flatnonzero(row)[-1:] for row in SEEN_UN[1:]]
    _, quality = chosen(systems, seen, wanted)
    for name in systems:
        alone = Mixture(systems, {name: 1.0})
        scores = np.stack([alone.scores(items) for items in seen])
        for row, items in zip(scores, seen, strict=True):
            row[items] = -np.inf
        assert quality >= gains(best(scores, 10), wanted)[0].mean()


@pytest.mark.parametrize("at_once", [1, 4 * ITEMS * 7])
def test_weights_chosen_with_few_users_in_memory_are_those_with_all(
    together_NN: np.ndarray, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    systems = _mixture(together_NN).systems
    seen, wanted = [np.flatnonzero(row)[:-1] for row in SEEN_UN[1:]], [np.flatnonzero(row)[-1:] for row in SEEN_UN[1:]]
    whole, quality = chosen(systems, seen, wanted)
    most = list[int]()
    scores = mixing._all_scores
    monkeypatch.setattr(mixing, "AT_ONCE", at_once)
    monkeypatch.setattr(mixing, "_all_scores", lambda *given: (most.append(len(given[1])), scores(*given))[1])
    assert chosen(systems, seen, wanted) == (whole, quality)
    assert max(most) == max(1, at_once // (4 * ITEMS))


def test_the_products_of_word_vectors_are_those_of_whole_tf_idf_vectors_but_for_a_little_noise() -> None:
    texts = ["a red car", "the red car drives", "你好 世界", "你好 猫", "an old house", ""]
    found = word_vectors(texts, width=1 << 16)  # so wide that no two words share a place
    assert found[0] @ found[1] > 0.2 > abs(float(found[0] @ found[4]))
    assert found[2] @ found[3] > 0.2 > abs(float(found[2] @ found[0]))
    assert not found[5].any()
    np.testing.assert_allclose(np.linalg.norm(found[:5], axis=1), 1, rtol=1e-6)


def test_diversity_of_nothing_is_the_order_of_the_scores_and_of_all_takes_the_least_alike_next() -> None:
    unit = units(np.array([[1, 0], [1, 0.01], [0, 1]]))
    score = np.array([3, 2, 1], dtype=np.float32)
    assert diverse(score, unit, places=3, diversity=0.0).tolist() == [0, 1, 2]
    assert diverse(score, unit, places=3, diversity=0.7).tolist() == [0, 2, 1]


def test_a_list_shows_nothing_seen_and_nothing_excluded_and_names_the_thing_that_adds_most(
    together_NN: np.ndarray,
) -> None:
    mixture, seen = _mixture(together_NN), np.array([1, 4, 7, 9])
    out = np.zeros(ITEMS, dtype=bool)
    out[[0, 2]] = True
    found = picked(mixture, seen, out, places=ITEMS)
    assert {one.item for one in found} == set(range(ITEMS)) - {0, 1, 2, 4, 7, 9}
    for one in found:
        (shares,) = mixture.shares(seen, np.array([one.item]))
        assert one.because == (seen[shares.argmax()] if shares.max() > 0 else None)


def test_who_has_seen_nothing_is_shown_what_most_have_seen() -> None:
    counts = np.array([1, 9, 3, 4])
    mixture = Mixture({"popularity": Popularity(counts)}, {"popularity": 1.0})
    nobody, nothing = np.zeros(0, dtype=np.int64), np.zeros(4, dtype=bool)
    assert [one.item for one in picked(mixture, nobody, nothing, places=3)] == [1, 3, 2]


class Knows:
    """A ranking model that likes texts with a 9 best; or, turned, least."""

    def __init__(self, sign: float):
        self.sign = sign

    def answer(self, inputs: Sequence[Any]) -> list[Ranking]:
        found = []
        for one in inputs:
            scores = np.array([self.sign * ("9" in text) for text in one["candidates"]])
            order = np.argsort(-scores, kind="stable")
            found.append(Ranking(tuple(order.tolist()), tuple(scores[order].tolist())))
        return found


def test_a_ranking_model_that_knows_gets_a_weight_and_one_that_does_not_gets_none(together_NN: np.ndarray) -> None:
    mixture = _mixture(together_NN)
    items = Items([str(k) for k in range(ITEMS)], [f"t{k}" for k in range(ITEMS)], [""] * ITEMS, [{}] * ITEMS)
    asked = Asked(np.arange(5), [np.array([k, k + 1]) for k in range(5)], [np.array([9])] * 5)
    assert weighed(Ordering(Knows(-1.0), items, 8), mixture, asked).weight == 0
    good = weighed(Ordering(Knows(1.0), items, ITEMS), mixture, asked)
    assert good.weight > 0
    nothing = np.zeros(ITEMS, dtype=bool)
    strong = replace(good, weight=100.0)
    assert picked(mixture, np.array([0, 1]), nothing, places=3, ordering=strong)[0].item == 9
