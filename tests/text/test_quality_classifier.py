"""The classifier of texts the user calls good."""

from __future__ import annotations

import gzip
import json
import random

import pytest

from pretune.base.errors import EmptyInput
from pretune.text.clean.quality.classifier import NUM_BUCKETS, features, train

GOOD = [
    "the harbour was quiet and the boats",
    "海港很安静，渔船归来",
    "a letter came from the sea",
    "远处有人在唱歌",
] * 3
OTHERS = [
    "BUY NOW!!! best price $$$ click",
    "点击这里立即购买！！！优惠",
    "click click win $$$ prize",
    "恭喜中奖，点击领取",
] * 3


def test_good_examples_score_high_and_others_low_in_english_and_chinese():
    classifier = train(GOOD, OTHERS, 1)
    assert all(classifier.score(text) > 0.8 for text in GOOD)
    assert all(classifier.score(text) < 0.2 for text in OTHERS)


def test_the_same_seed_gives_the_same_weights_and_another_seed_another_order():
    a, b, c = (train(GOOD, OTHERS, seed).weights.tobytes() for seed in (1, 1, 2))
    assert a == b != c


def test_examples_of_one_kind_alone_are_refused():
    with pytest.raises(EmptyInput, match="0 good examples"):
        train([], OTHERS, 1)
    with pytest.raises(EmptyInput, match="0 others"):
        train(GOOD, [], 1)


def test_features_have_length_one_and_count_every_ngram_once():
    buckets, values = features("ab A")
    grams = {"a", "b", " ", "ab", "b ", " a", "ab ", "b a", "ab a"}
    assert len(buckets) == len(grams)
    assert sorted((values**2 * 10).round(9).tolist()) == [1.0] * 8 + [2.0]  # "a" twice of 10
    assert buckets.max() < NUM_BUCKETS
    assert features("AB a")[0].tolist() == buckets.tolist()


@pytest.mark.parametrize("text", ["", "a", "\ud800", "\U0010ffff", "\x00" * 9])
def test_any_text_has_a_score(text):
    assert 0 < train(GOOD, OTHERS, 1, epochs=1).score(text) < 1


def test_unequal_numbers_of_examples_do_not_tip_the_score():
    classifier = train(GOOD[:4], OTHERS * 20, 1)
    assert all(classifier.score(text) > 0.5 for text in GOOD)


def test_textbook_paragraphs_are_told_from_assistant_answers_they_were_not_trained_on(shared):
    chapters = [p.read_text("utf-8") for p in sorted((shared / "data/d2l-zh").glob("*.md"))]
    good = [p for chapter in chapters for p in chapter.split("\n\n") if 60 < len(p) < 400]
    with gzip.open(shared / "data/alpaca-zh/train.jsonl.gz", "rt", encoding="utf-8") as lines:
        others = [json.loads(line)["output"] for _, line in zip(range(2000), lines, strict=False)]
    random.Random(1).shuffle(good)
    classifier = train(good[:400], others[:400], 1)
    right = sum(classifier.score(t) > 0.5 for t in good[400:800]) + sum(
        classifier.score(t) < 0.5 for t in others[400:800]
    )
    assert right >= 0.95 * 800
