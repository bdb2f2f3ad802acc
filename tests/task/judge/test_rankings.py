"""Figures of orders, BM25, and lists made of pairs."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pretune.base.errors import NoTarget
from pretune.infer.answers import Ranking as Order
from pretune.infer.candidates import ranking
from pretune.task.judge.bm25 import Bm25, terms_of
from pretune.task.judge.lists import drawn, pooled, usable
from pretune.task.judge.rankings import RankingJudge, ranking_marks
from pretune.text.dataset.example import Pair, Ranking

PAIRS = [Pair(f"q{k}", (f"t{k}",), f"f#{k}") for k in range(30)]


@pytest.mark.parametrize(
    ("scores", "said", "ndcg"),
    [  # sklearn.metrics.ndcg_score([scores], [said], k=10), scikit-learn 1.9.1
        ([0, 2, 1], [0.9, 0.2, 0.5], 0.6199062332840657),
        ([3, 0, 0, 1, 2], [0.1, 0.9, 0.3, 0.8, 0.7], 0.5862180879313589),
        ([0] * 11 + [1], list(range(12, 0, -1)), 0.0),
        ([0, 0, 1], [0.1, 0.2, 0.3], 1.0),
    ],
)
def test_ndcg_is_that_of_scikit_learn(scores: list[float], said: list[float], ndcg: float) -> None:
    assert ranking_marks(ranking(np.array(said)).order, scores)["ndcg_10"] == pytest.approx(ndcg, abs=1e-12)


def test_marks_by_hand() -> None:
    """Two of the best, at places 2 and 11 of twelve."""
    order = [2, 0, 3, 4, 5, 6, 7, 8, 9, 10, 1, 11]
    marks = ranking_marks(order, [5, 5, *[1] * 10])
    ideal = 1 + 1 / math.log2(3)
    assert marks == {"ndcg_10": pytest.approx(1 / math.log2(3) / ideal), "mrr": 0.5, "recall_1": 0.0, "recall_10": 0.5}
    assert ranking_marks([1], [1, 0])["mrr"] == 0, "the best was not given"


def test_bm25_by_hand() -> None:
    """Three texts of 2, 2 and 4 words, 8/3 on average: idf of `cat` (in two) ln(1 + 1.5/2.5), of `hat` ln(1 + 2.5/1.5)."""
    index = Bm25.of(["a cat", "the hat", "cat cat or dog"])
    norm = [1.2 * (0.25 + 0.75 * n / (8 / 3)) for n in (2, 2, 4)]
    cat, hat = math.log(1 + 1.5 / 2.5), math.log(1 + 2.5 / 1.5)
    wanted = [cat * 2.2 / (1 + norm[0]), hat * 2.2 / (1 + norm[1]), cat * 2 * 2.2 / (2 + norm[2])]
    assert index.scores("Cat HAT").tolist() == pytest.approx(wanted, abs=1e-12)
    assert index.scores("nothing").tolist() == [0, 0, 0]


def test_bm25_finds_chinese_by_characters_and_pairs_of_them() -> None:
    assert terms_of("如何退款 now") == ["如", "何", "退", "款", "now", "如何", "何退", "退款"]
    texts = ["商品可以退回，款项另计。", "申请退款的步骤如下。", "The weather is fine."]
    assert int(np.argmax(Bm25.of(texts).scores("怎么退款？"))) == 1


def test_lists_of_pairs_hold_the_right_text_once_somewhere_and_others_that_are_not_right() -> None:
    pairs = [*PAIRS, Pair("again", ("t3", "t4"), "f#30")]
    for lists, number in ((drawn(pairs, 5), 6), (pooled(pairs), 30)):
        assert len(lists) == 31
        for one, pair in zip(lists, pairs, strict=True):
            right = {t for t, score in zip(one.candidates, one.scores, strict=True) if score}
            assert right == {*pair.targets} and len(set(one.candidates)) == len(one.candidates)
            assert len(one.candidates) >= number
    assert drawn(pairs, 5) == drawn(pairs, 5)
    firsts = [one.scores[0] for one in drawn(pairs, 5)]
    assert 0 < sum(firsts) < 15, "not always first"


def test_what_has_no_order_is_left_out_told_and_refused_where_nothing_is_left() -> None:
    flat = Ranking("q", ("a", "b"), (1.0, 1.0), "f#0")
    judge = RankingJudge(usable)
    asked, notes = judge.asked([flat, Ranking("q", ("a", "b"), (0.0, 1.0), "f#1")], (), None)
    assert len(asked) == 1 and notes == ["1 queries have one candidate, or only such as are as good, and are left out"]
    with pytest.raises(NoTarget, match="no query of this split has an order"):
        judge.asked([flat, Ranking("q", ("a",), (3.0,), "f#2")], (), None)


def test_scores_that_are_all_the_same_are_told() -> None:
    asked, _ = RankingJudge(usable).asked([Ranking("q", ("a", "b"), (1.0, 0.0), "f#0")], (), None)
    _, told = RankingJudge(usable).tell([Order((0, 1), (0.5, 0.5))], asked, None)  # type: ignore[arg-type]
    assert told == ["the candidates of 1 queries get one and the same score, and stay in the order of the data"]
