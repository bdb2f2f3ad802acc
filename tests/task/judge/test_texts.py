"""Figures of translations and summaries by hand, and simple systems."""

import pytest

from pretune.infer.answers import Text
from pretune.task.judge.judge import whole
from pretune.task.judge.texts import TextJudge, bleu_and_chrf, lead
from pretune.text.dataset.example import Pair


def test_bleu_of_words_and_of_chinese_characters_is_the_arithmetic_of_the_papers() -> None:
    pytest.importorskip("sacrebleu", reason="the extra `translate` is not installed")
    # n-grams in common: 5 of 6, 3 of 5, 2 of 4, 1 of 3; no brevity penalty
    found = bleu_and_chrf(["the cat sat on the mat"], [["the cat sat on a mat"]])["bleu"]
    assert found == pytest.approx((5 / 6 * 3 / 5 * 2 / 4 * 1 / 3) ** 0.25, abs=1e-9)
    # characters: 5 of 6, 3 of 5, 1 of 4, and none of 3, which is smoothed to a half
    found = bleu_and_chrf(["猫坐在垫子上"], [["猫坐在席子上"]])["bleu"]
    assert found == pytest.approx((5 / 6 * 3 / 5 * 1 / 4 * 0.5 / 3) ** 0.25, abs=1e-9)


def test_chrf_is_the_mean_of_runs_of_characters_and_the_best_of_several_targets_counts() -> None:
    pytest.importorskip("sacrebleu", reason="the extra `translate` is not installed")
    # runs of one 2 of 3, of two 1 of 2, of three 0 of 1; precision and recall are alike
    assert bleu_and_chrf(["abc"], [["abd"]])["chrf"] == pytest.approx((2 / 3 + 1 / 2) / 3, abs=1e-9)
    assert bleu_and_chrf(["abc", "x"], [["abd", "abc"], ["x"]])["chrf"] == pytest.approx(1)


def test_an_answer_is_marked_by_the_nearest_of_its_targets() -> None:
    judge = TextJudge()
    (asked,), _ = judge.asked([Pair("a", ("the cat sat", "a dog", " "), "x#1")], [], None)
    assert asked.wanted == ["the cat sat", "a dog"]
    marks = judge.marks(Text("the cat"), asked)
    assert marks["rouge_l"] == 0.8 and not marks["exact"]
    assert whole([marks["length_ratio"]]) == 2 / 3
    assert judge.marks(Text("a dog"), asked)["exact"]
    assert judge.marks(Text(""), asked)["rouge_l"] == 0


def test_baselines_are_the_source_its_first_sentences_and_the_nearest_pair() -> None:
    pytest.importorskip("sklearn", reason="the extra `evaluate` is not installed")
    judge = TextJudge()
    train = [Pair("red cats", ("rouge",), "t#1"), Pair("blue dogs", ("bleu",), "t#2")]
    asked, _ = judge.asked([Pair("One dogs. Two. 三。 Four.", ("b",), "x#1")], train, None)
    found = {b.name: [a.text for a in b.answers if isinstance(a, Text)] for b in judge.baselines(asked, train, seed=0)}
    assert found == {"copy": ["One dogs. Two. 三。 Four."], "lead": ["One dogs. Two. 三。"], "nearest_pair": ["bleu"]}
    assert lead("One. Two.") == "One. Two."
