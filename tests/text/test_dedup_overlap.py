from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from pretune.text.dedup.overlap import Hits, Ngrams
from tests.text.dedup_worlds import UNITS, chinese, english

WORDS = st.lists(st.sampled_from(["a", "b", "c", "我"]), min_size=1, max_size=30)


def test_an_evaluation_text_inside_a_training_text_is_found_in_english_and_chinese() -> None:
    rng = random.Random(0)
    for make in (english, chinese):
        question, before, after = make(rng, 30), make(rng, 300), make(rng, 300)
        ngrams = Ngrams.of([question])
        # Units of the question, less the twelve at its end at which no 13-gram begins.
        assert ngrams.hits(f"{before} {question.upper()} {after}").found == 30 - 12
        assert ngrams.hits(f"{before} {after}").found == 0


def test_twelve_equal_words_are_no_hit_and_thirteen_are_one() -> None:
    words = [f"word{chr(97 + k)}" for k in range(20)]
    ngrams = Ngrams.of([" ".join(words)])
    assert ngrams.hits(" ".join(["x", *words[:12], "y"])).found == 0
    assert ngrams.hits(" ".join(["x", *words[:13], "y"])).found == 1


def test_a_short_text_is_compared_whole() -> None:
    ngrams = Ngrams.of(["What is the capital of France?", "今天天气怎么样？"])
    assert ngrams.hits("what is the capital of france") == Hits(1, 1, 1.0, 0)
    assert ngrams.hits("今天天气怎么样") == Hits(1, 1, 1.0, 1)
    assert ngrams.hits("What is the capital of Spain?").found == 0
    assert (
        ngrams.hits("He asked: What is the capital of France? Nobody among the many people there knew it.").found == 0
    )


def test_marks_alone_are_no_evaluation_text() -> None:
    ngrams = Ngrams.of(["", "...", "🙂"])
    assert ngrams.hits("").share == ngrams.hits("...").share == 0


def test_no_evaluation_texts_hit_nothing() -> None:
    assert Ngrams.of([]).hits("some text") == Hits(0, 1)


@given(WORDS, WORDS, st.integers(1, 5))
def test_hits_are_those_that_sets_of_tuples_find(one: list[str], other: list[str], length: int) -> None:
    ngrams = Ngrams.of([" ".join(one)], length=length)
    mine = _tuples(" ".join(other), length)
    expected = sum(t in _tuples(" ".join(one), length) for t in mine)
    hits = ngrams.hits(" ".join(other))
    theirs = set(_tuples(" ".join(one), length))
    assert (hits.found, hits.total) == (expected, len(mine))
    assert hits.covered == len(theirs & set(mine)) / len(theirs)


def test_the_held_out_text_that_is_covered_most_is_named() -> None:
    rng = random.Random(1)
    texts = [english(rng, 100) for _ in range(4)]
    part = " ".join(texts[2].split()[:56])  # 44 of its 88 13-grams
    whole = f"{english(rng, 500)} {part} {english(rng, 500)} {' '.join(texts[1].split()[:30])}"
    hits = Ngrams.of(texts).hits(whole)
    assert (hits.covered, hits.of) == (44 / 88, 2)
    assert hits.found == 44 + 18


def _tuples(text: str, length: int) -> list[tuple[str, ...]]:
    units = UNITS.findall(text)
    if len(units) < length:
        return [("whole", *units)]
    return [tuple(units[k : k + length]) for k in range(len(units) - length + 1)]
