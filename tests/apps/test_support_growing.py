"""Knowledge that grows: the same as if it had been there from the start, for the price of what is new."""

from __future__ import annotations

import numpy as np
import pytest

from pretune.apps.support.faq import entry
from pretune.apps.support.index import Index, units
from pretune.apps.support.live import Known, grown, knowledge_of
from pretune.apps.support.passages import Passage
from pretune.task.judge.bm25 import Bm25, terms_of

TEXTS = ["red lamp, red light", "a green lamp", "紫色的台灯", "", "blue chair", "lamp lamp lamp", "红色的台灯很红"]


@pytest.mark.parametrize("cut", range(len(TEXTS) + 1))
def test_an_index_that_grew_is_the_index_of_all_to_the_bit(cut: int) -> None:
    whole, parts = Bm25.of(TEXTS), Bm25.of(TEXTS[:cut]).plus(TEXTS[cut:5]).plus(TEXTS[max(cut, 5) :])
    assert parts.rows == whole.rows
    for name in ("starts", "numbers", "times", "weights", "lengths"):
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name), strict=True)


def test_growing_reads_what_is_new_alone_and_leaves_the_old_index_as_it_was() -> None:
    read: list[str] = []

    def terms(text: str) -> list[str]:
        read.append(text)
        return terms_of(text)

    before = Bm25.of(TEXTS, terms)
    scores = before.scores("red lamp")
    read.clear()
    more = before.plus(["a red red chair"])
    assert read == ["a red red chair"]
    assert (before.number, more.number) == (7, 8)
    np.testing.assert_array_equal(before.scores("red lamp"), scores)


def test_grown_knowledge_is_that_of_all_parts() -> None:
    files = [Passage("The red lamp weighs two kilograms."), entry("Is it free?", "Yes.", origin="f#0")]
    more = [entry("Where are you?", "In Lamp Street.", origin="desk#1"), Passage("The shop is closed on Mondays.")]
    known = Known(None)
    whole = knowledge_of({"docs.0": files, "learnt": more}, known, exact=10)
    found = grown(knowledge_of({"docs.0": files}, known, exact=10), more, known)
    assert (found.passages, found.entries) == (whole.passages, whole.entries)
    for question in ("Where is the shop?", "What weighs the lamp?", "Is it free?"):
        assert found.index.search(question) == whole.index.search(question)
        assert found.asked.search(question) == whole.asked.search(question)


def test_a_graph_that_is_older_than_the_vectors_finds_the_new_ones_too() -> None:
    pytest.importorskip("usearch", reason="extra apps")
    vectors = units(np.random.default_rng(0).normal(size=(60, 8)))
    texts = [str(k) for k in range(60)]
    index = Index.of(texts[:50], vectors[:50], exact=10).plus(texts[50:], vectors[50:])
    assert len(index.graph) == 50
    exact = Index.of(texts, vectors)
    assert [index.by_vectors(v, 5) for v in vectors] == [exact.by_vectors(v, 5) for v in vectors]
