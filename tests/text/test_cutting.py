"""Words of a text and back: every place is right, and data, training and serving cut alike."""

from __future__ import annotations

import pytest

from pretune.text.dataset.cutting import joined, spaced, word_places
from pretune.text.dataset.shapes.tagged import tagged

TEXTS = [
    "Ann lives in St. Gallen, near 北京.",
    "安住在北京，near  Basel 🙂",
    "",
    "  \n",
    "don't",
    "naïve\u3000café",
    "👩‍👩‍👧 ok",
]


def test_words_and_marks_are_cut_apart_and_a_text_with_han_into_characters() -> None:
    text = "Ann, 3 km."
    assert [text[a:b] for a, b in word_places(text)] == ["Ann", ",", "3", "km", "."]
    text = "安 at 北"
    assert [text[a:b] for a, b in word_places(text)] == ["安", "a", "t", "北"]


@pytest.mark.parametrize("text", TEXTS)
def test_the_words_of_a_text_are_those_that_its_entities_are_read_with_and_no_letter_is_lost(text: str) -> None:
    words = [text[a:b] for a, b in word_places(text)]
    assert "".join(words) == "".join(text.split())
    assert tuple(words) == tagged(text, [])[0]


@pytest.mark.parametrize("text", TEXTS)
def test_joined_words_are_at_their_places(text: str) -> None:
    words = [text[a:b] for a, b in word_places(text)]
    whole, places = joined(words)
    assert [whole[a:b] for a, b in places] == words
    assert whole == "".join(spaced(words))


def test_a_blank_is_between_words_and_none_next_to_han() -> None:
    assert spaced(["Ann", "met", "安", "在", "Basel", "."]) == ["Ann", " met", "安", "在", "Basel", " ."]
