"""The classifier of texts the user calls good."""

from __future__ import annotations

import gzip
import json
import random

import numpy as np
import pytest

from pretune.base.errors import BadFile, EmptyInput, NoSuchFile
from pretune.text.clean.quality.liked import NUM_BUCKETS, Liked, features, train

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
    liked = train(GOOD, OTHERS, 1)
    assert all(liked.score(text) > 0.8 for text in GOOD)
    assert all(liked.score(text) < 0.2 for text in OTHERS)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_another_order(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train(GOOD, OTHERS, seed).save(tmp_path / name)
    a, b, c = ((tmp_path / name).read_bytes() for name in "abc")
    assert a == b != c


def test_a_saved_classifier_scores_the_same(tmp_path):
    liked = train(GOOD, OTHERS, 1)
    liked.save(tmp_path / "liked.npz")
    again = Liked.load(tmp_path / "liked.npz")
    assert [again.score(t) for t in GOOD + OTHERS] == [liked.score(t) for t in GOOD + OTHERS]


def test_what_is_no_classifier_is_told(tmp_path):
    with pytest.raises(NoSuchFile):
        Liked.load(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("weights", encoding="utf-8")
    (tmp_path / "empty.npz").write_bytes(b"")
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    np.savez(tmp_path / "pickled.npz", weights=np.array([{}], object), bias=np.float64(0), format=np.int64(1))
    np.savez(tmp_path / "small.npz", weights=np.zeros(3, np.float32), bias=np.float64(0), format=np.int64(1))
    train(GOOD, OTHERS, 1).save(tmp_path / "cut.npz")
    (tmp_path / "cut.npz").write_bytes((tmp_path / "cut.npz").read_bytes()[:5000])
    for name in ("text", "empty", "other", "pickled", "small", "cut"):
        with pytest.raises(BadFile):
            Liked.load(tmp_path / f"{name}.npz")


def test_one_side_without_examples_is_told():
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
    liked = train(GOOD[:4], OTHERS * 20, 1)
    assert all(liked.score(text) > 0.5 for text in GOOD)


def test_textbook_paragraphs_are_told_from_assistant_answers_they_were_not_trained_on(shared):
    chapters = [p.read_text("utf-8") for p in sorted((shared / "data/d2l-zh").glob("*.md"))]
    good = [p for chapter in chapters for p in chapter.split("\n\n") if 60 < len(p) < 400]
    with gzip.open(shared / "data/alpaca-zh/train.jsonl.gz", "rt", encoding="utf-8") as lines:
        others = [json.loads(line)["output"] for _, line in zip(range(2000), lines, strict=False)]
    random.Random(1).shuffle(good)
    liked = train(good[:400], others[:400], 1)
    right = sum(liked.score(t) > 0.5 for t in good[400:800]) + sum(liked.score(t) < 0.5 for t in others[400:800])
    assert right >= 0.95 * 800
