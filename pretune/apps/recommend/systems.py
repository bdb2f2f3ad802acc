"""Systems that score items for a user, from what the user has seen.

All but popularity are linear: the score of item j is the sum over what was seen of W[i, j], so each entry says what one
thing that was seen has added (`shares`), which is the reason that a page gives.

*U users, N items, M of them that behaviour says something of, H of them seen by a user, D width of a vector.*
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import xxhash
from numpy.typing import NDArray

from pretune.apps.recommend.split import Seen
from pretune.task.judge.bm25 import terms_of

Numbers = NDArray[np.int64]
Scores = NDArray[np.float32]
MOST_SEEN = 500
"""Of a user with more events the last ones count: pairs grow with the square."""
USERS_AT_ONCE = 4096
"""Whose events are counted together: two million at most."""
WIDTH = 512
"""Of the vectors that are made of words."""


class System(Protocol):
    """Something that scores all items for one user."""

    def scores(self, seen_H: Numbers, weight_H: Scores) -> Scores:
        """[N], more is better, of a user who has seen these items, each with its weight."""
        ...

    def shares(self, seen_H: Numbers, weight_H: Scores, item: int) -> Scores:
        """[H], what each thing that was seen adds to the score of one item."""
        ...


def recent(number: int, half_life: float) -> Scores:
    """[number], the weight of each event, the newest last with 1."""
    if not half_life:
        return np.ones(number, dtype=np.float32)
    found: Scores = np.exp2(-np.arange(number - 1, -1, -1) / half_life).astype(np.float32)
    return found


@dataclass
class Popularity:
    """log(1 + how many have seen it), whoever asks. A list: an event that arrives counts."""

    count_N: NDArray[np.int64]

    def scores(self, seen_H: Numbers, weight_H: Scores) -> Scores:
        return np.log1p(self.count_N).astype(np.float32)

    def shares(self, seen_H: Numbers, weight_H: Scores, item: int) -> Scores:
        return np.zeros(len(seen_H), dtype=np.float32)


@dataclass(frozen=True)
class Linear:
    """Weights between items that behaviour says something of; the others score 0.

    Args:
        weight_MM: row: what was seen; column: what it speaks for.
        item_M: the numbers of these items; row_N: the row of each item, -1 where it has none.
    """

    weight_MM: Scores
    item_M: Numbers
    row_N: Numbers

    def _rows(self, seen_H: Numbers) -> tuple[Numbers, NDArray[np.bool_]]:
        rows = self.row_N[seen_H]
        return rows, rows >= 0

    def scores(self, seen_H: Numbers, weight_H: Scores) -> Scores:
        rows, known = self._rows(seen_H)
        found = np.zeros(len(self.row_N), dtype=np.float32)
        found[self.item_M] = weight_H[known] @ self.weight_MM[rows[known]]
        return found

    def shares(self, seen_H: Numbers, weight_H: Scores, item: int) -> Scores:
        rows, known = self._rows(seen_H)
        found = np.zeros(len(seen_H), dtype=np.float32)
        if self.row_N[item] >= 0:
            found[known] = weight_H[known] * self.weight_MM[rows[known], self.row_N[item]]
        return found


@dataclass(frozen=True)
class Vectors:
    """The cosines of an item's vector with those of what was seen; an item without text has the vector 0."""

    unit_ND: Scores

    def scores(self, seen_H: Numbers, weight_H: Scores) -> Scores:
        found: Scores = self.unit_ND @ (weight_H @ self.unit_ND[seen_H])
        return found

    def shares(self, seen_H: Numbers, weight_H: Scores, item: int) -> Scores:
        found: Scores = weight_H * (self.unit_ND[seen_H] @ self.unit_ND[item])
        return found


def popularity(seen: Seen, num_items: int) -> Popularity:
    return Popularity(np.bincount(seen.item_E, minlength=num_items))


# ---- from behaviour -----------------------------------------------------------------------------


def most_seen(seen: Seen, num_items: int, most: int) -> Numbers:
    """The numbers of the `most` items that most have seen, in rising order; those that nobody has seen are not among
    them."""
    counts = np.bincount(seen.item_E, minlength=num_items)
    return np.sort(np.argsort(-counts, kind="stable")[: min(most, int((counts > 0).sum()))])


def seen_together(seen: Seen, item_M: Numbers, num_items: int) -> NDArray[np.float64]:
    """[M, M], how many users have seen both; on the diagonal, how many have seen the one."""
    row_N = row_of(item_M, num_items)
    found_MM = np.zeros((len(item_M), len(item_M)))
    for user in range(len(seen)):
        rows = row_N[seen[user][-MOST_SEEN:]]
        rows = rows[rows >= 0]
        found_MM[np.ix_(rows, rows)] += 1.0
    return found_MM


def row_of(item_M: Numbers, num_items: int) -> Numbers:
    """The place of each item among some, -1 of one that is not among them."""
    found = np.full(num_items, -1, dtype=np.int64)
    found[item_M] = np.arange(len(item_M))
    return found


def neighbours(together_MM: NDArray[np.float64], *, most: int, shrinkage: float) -> Scores:
    """[M, M], of each item (column) the cosines with the `most` items that are most often seen by the same people.

    Args:
        shrinkage: added below the cosine, so that two things that one person has seen are not alike for that.

    Source: Sarwar et al. 2001, section 3.1.1; shrinkage as Bell & Koren 2007 have it.
    """
    length_M = np.sqrt(np.diag(together_MM))
    cosine_MM = together_MM / (np.outer(length_M, length_M) + shrinkage)
    np.fill_diagonal(cosine_MM, 0.0)
    if most < len(cosine_MM):
        least_M = np.partition(cosine_MM, -most, axis=0)[-most]
        cosine_MM[cosine_MM < least_M] = 0.0
    return cosine_MM.astype(np.float32)


def nearest(seen: Seen, num_items: int, *, most: int, shrinkage: float) -> Iterator[tuple[int, Numbers]]:
    """Of each item that somebody has seen: its number, and those of its `neighbours`, the nearest first.

    One item after the other: the square of all items, which 100,000 of them have not in any memory, is never there.
    """
    own_E, rows, starts = _by_item(seen, num_items)
    counts_N = np.diff(starts)
    length_N = np.sqrt(counts_N)
    for item in np.flatnonzero(counts_N):
        item_K, together_K = _seen_with(seen, own_E[rows[starts[item] : starts[item + 1]]])
        cosine_K = together_K / (length_N[item_K] * length_N[item] + shrinkage)
        cosine_K[item_K == item] = 0.0
        if most < len(cosine_K):
            cosine_K[cosine_K < np.partition(cosine_K, -most)[-most]] = 0.0
        found_K = cosine_K.astype(np.float32)
        order = np.argsort(-found_K, kind="stable")[:most]
        yield int(item), item_K[order[found_K[order] > 0]]


def _by_item(seen: Seen, num_items: int) -> tuple[Numbers, Numbers, Numbers]:
    """The user of each event; the events that count (MOST_SEEN) in order of their items; where those of each begin."""
    counts_U = np.diff(seen.starts)
    user_E = np.repeat(np.arange(len(seen)), counts_U)
    counting = np.flatnonzero(np.arange(len(user_E)) >= np.repeat(seen.starts[1:] - MOST_SEEN, counts_U))
    order = counting[np.argsort(seen.item_E[counting], kind="stable")]
    counts_N = np.bincount(seen.item_E[counting], minlength=num_items)
    return user_E, order, np.concatenate([[0], np.cumsum(counts_N)])


def _seen_with(seen: Seen, users: Numbers) -> tuple[Numbers, NDArray[np.int64]]:
    """The items that some users have seen, in rising order, and how many of them have seen each."""
    found: tuple[Numbers, NDArray[np.int64]] = np.zeros(0, np.int64), np.zeros(0, np.int64)
    for start in range(0, len(users), USERS_AT_ONCE):
        some = [seen[user][-MOST_SEEN:] for user in users[start : start + USERS_AT_ONCE]]
        item_K, place = np.unique(np.concatenate([found[0], *some]), return_inverse=True)
        times = np.concatenate([found[1], np.ones(len(place) - len(found[1]), np.int64)])
        found = item_K, np.bincount(place, weights=times).astype(np.int64)
    return found


def ease(together_MM: NDArray[np.float64], *, ridge: float) -> Scores:
    """[M, M], the weights with diagonal 0 that give what was seen back best: argmin |X - XB|² + ridge |B|².

    Source: Steck 2019, arXiv:1905.03375, equation 8: B = I - P / diag(P), P = (X'X + ridge I)^-1.
    """
    inverse_MM = np.linalg.inv(together_MM + ridge * np.eye(len(together_MM)))
    weight_MM = -inverse_MM / np.diag(inverse_MM)
    np.fill_diagonal(weight_MM, 0.0)
    return weight_MM.astype(np.float32)


# ---- from text ----------------------------------------------------------------------------------


def word_vectors(texts: Sequence[str], width: int = WIDTH) -> Scores:
    """Unit vectors [N, width] of the words of texts, rare ones first; 0 where there is none.

    A word has a place and a sign by its hash, so that products are those of whole TF-IDF vectors but for a noise of
    1 / sqrt(width).

    Source: Weinberger et al. 2009, arXiv:0902.2206.
    """
    counts = [Counter(terms_of(text)) for text in texts]
    in_texts = Counter(term for one in counts for term in one)
    found_ND = np.zeros((len(texts), width), dtype=np.float32)
    for row_D, one in zip(found_ND, counts, strict=True):
        for term, times in one.items():
            number = xxhash.xxh3_64_intdigest(term.encode())
            sign = 1.0 if number >> 63 else -1.0
            row_D[number % width] += sign * np.log1p(times) * np.log(1 + len(texts) / in_texts[term])
    return units(found_ND)


def units(vector_ND: NDArray[np.floating]) -> Scores:
    """Rows of length 1; one of length 0 stays as it is."""
    length_N1 = np.linalg.norm(vector_ND, axis=1, keepdims=True)
    found: Scores = (vector_ND / np.maximum(length_N1, 1e-12)).astype(np.float32)
    return found
