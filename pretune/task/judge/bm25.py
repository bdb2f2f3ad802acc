"""BM25: how well the words of a query find a text, for nothing.

Terms are words; where a text is Han or kana, characters and every two of them that are neighbours (white space would
make whole sentences one term, and no query would find anything).

Source: Robertson & Zaragoza 2009; idf and the usual k1 and b as in Lucene.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pretune.task.judge.closeness import is_cjk, words_of

K1, B = 1.2, 0.75


def rarity(number: int, having: int) -> float:
    """How much a term says that so many of so many texts have (Lucene's idf)."""
    return math.log(1 + (number - having + 0.5) / (having + 0.5))


def terms_of(text: str) -> list[str]:
    """Words; of neighbouring Han or kana characters also both together."""
    words = words_of(text)
    return [*words, *(a + b for a, b in pairwise(words) if is_cjk(a) and is_cjk(b))]


@dataclass(frozen=True)
class Bm25:
    """An index of texts: of each term the numbers of the texts that have it, and what it adds to their scores."""

    number: int
    weights: dict[str, tuple[NDArray[np.int64], NDArray[np.float64]]]
    terms: Callable[[str], list[str]] = terms_of

    @classmethod
    def of(cls, texts: Sequence[str], terms: Callable[[str], list[str]] = terms_of) -> Bm25:
        counts = [Counter(terms(text)) for text in texts]
        lengths = np.array([one.total() for one in counts], dtype=np.float64)
        longer = K1 * (1 - B + B * lengths / max(lengths.mean(), 1.0))
        found: dict[str, list[tuple[int, int]]] = {}
        for number, one in enumerate(counts):
            for term, times in one.items():
                found.setdefault(term, []).append((number, times))
        weights = {}
        for term, places in found.items():
            numbers, times = np.array(places, dtype=np.int64).T
            weights[term] = numbers, rarity(len(texts), len(numbers)) * times * (K1 + 1) / (times + longer[numbers])
        return cls(len(texts), weights, terms)

    def rarity(self, term: str) -> float:
        """How much a term says; most, if no text has it."""
        return rarity(self.number, len(self.weights[term][0]) if term in self.weights else 0)

    def scores(self, query: str) -> NDArray[np.float64]:
        """Of every text."""
        found = np.zeros(self.number)
        for term in self.terms(query):
            if term in self.weights:
                numbers, more = self.weights[term]
                found[numbers] += more
        return found
