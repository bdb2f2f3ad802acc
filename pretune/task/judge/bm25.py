"""BM25: how well the words of a query find a text, for nothing.

Terms are words; where a text is Han or kana, characters and every two of them that are neighbours (white space would
make whole sentences one term, and no query would find anything).

Source: Robertson & Zaragoza 2009; idf and the usual k1 and b as in Lucene.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise

import numpy as np
from numpy.typing import NDArray

from pretune.task.judge.closeness import has_cjk, words_of

K1, B = 1.2, 0.75


def rarity(number: int, having: NDArray[np.int64]) -> NDArray[np.float64]:
    """How much terms say that so many of so many texts have (Lucene's idf)."""
    found: NDArray[np.float64] = np.log(1 + (number - having + 0.5) / (having + 0.5))
    return found


def terms_of(text: str) -> list[str]:
    """Words; of neighbouring Han or kana characters also both together."""
    words = words_of(text)
    if not has_cjk(text):
        return words
    by_itself = [has_cjk(word) for word in words]
    pairs = zip(pairwise(words), pairwise(by_itself), strict=True)
    return [*words, *(a + b for (a, b), both in pairs if all(both))]


@dataclass(frozen=True)
class Bm25:
    """An index of texts: of each term the numbers of the texts that have it, and what it adds to their scores.

    Args:
        rows: of each term its row; `starts`: where a row's entries begin in `numbers`, `times` and `weights`.
        times: how often the term is in the text.
        lengths: terms of each text.
        terms: how a text becomes terms.
    """

    rows: dict[str, int]
    starts: NDArray[np.int64]
    numbers: NDArray[np.int64]
    times: NDArray[np.int64]
    weights: NDArray[np.float64]
    lengths: NDArray[np.int64]
    terms: Callable[[str], list[str]] = terms_of

    @classmethod
    def of(cls, texts: Sequence[str], terms: Callable[[str], list[str]] = terms_of) -> Bm25:
        none = np.zeros(0, dtype=np.int64)
        return cls({}, np.zeros(1, dtype=np.int64), none, none, np.zeros(0), none, terms).plus(texts)

    @property
    def number(self) -> int:
        """Of texts."""
        return len(self.lengths)

    def plus(self, texts: Sequence[str]) -> Bm25:
        """An index of more texts, the same as if all were given at once; those of before are not read again."""
        rows = dict(self.rows)
        found = [[rows.setdefault(term, len(rows)) for term in self.terms(text)] for text in texts]
        new = np.array([len(one) for one in found], dtype=np.int64)
        every = np.fromiter(chain.from_iterable(found), dtype=np.int64, count=int(new.sum()))
        # A term and a text are one number, so that sorting counts how often the one is in the other.
        size = max(len(texts), 1)
        pairs, more = np.unique(every * size + np.repeat(np.arange(len(texts)), new), return_counts=True)
        row_of = np.concatenate([np.repeat(np.arange(len(self.rows)), np.diff(self.starts)), pairs // size])
        order = np.argsort(row_of, kind="stable")
        numbers = np.concatenate([self.numbers, self.number + pairs % size])[order]
        times = np.concatenate([self.times, more])[order]
        lengths, having = np.concatenate([self.lengths, new]), np.bincount(row_of, minlength=len(rows))
        longer = K1 * (1 - B + B * lengths / max(lengths.mean() if len(lengths) else 0.0, 1.0))
        weights = rarity(len(lengths), having)[row_of[order]] * times * (K1 + 1) / (times + longer[numbers])
        starts = np.concatenate([[0], np.cumsum(having)])
        return Bm25(rows, starts, numbers, times, weights, lengths, self.terms)

    def _places(self, term: str) -> slice:
        """Where its entries are; an empty slice for a term that no text has."""
        row = self.rows.get(term)
        return slice(0, 0) if row is None else slice(self.starts[row], self.starts[row + 1])

    def rarity(self, term: str) -> float:
        """How much a term says; most, if no text has it."""
        places = self._places(term)
        return float(rarity(self.number, np.array(places.stop - places.start)))

    def scores(self, query: str) -> NDArray[np.float64]:
        """Of every text."""
        return self.scores_of(self.terms(query))

    def scores_of(self, terms: Iterable[str]) -> NDArray[np.float64]:
        """Of every text, for a query that is terms already."""
        found = np.zeros(self.number)
        for term in terms:
            places = self._places(term)
            found[self.numbers[places]] += self.weights[places]
        return found
