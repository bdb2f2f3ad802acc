"""A quality classifier trained on examples of high quality: "more like these".

Logistic regression over hashed character n-grams, in numpy. Characters, not words, so one model reads every script:

    text -> lower case -> n-grams of 1 ... 4 characters -> 2 ** 18 buckets -> sqrt of counts, length 1 -> score

A thousand examples of each kind train within seconds. The score says how much a text reads like the good ones
rather than like the others, no more: take the others from the corpus that is to be filtered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pretune.base.errors import EmptyInput
from pretune.text.clean.quality import scripts
from pretune.text.read.characters import codes_of, lowered

NUM_BUCKETS: Final = 1 << 18
LONGEST: Final = 4
MAX_CHARACTERS: Final = 4000
"""The head of a text that is looked at."""

Features = tuple[NDArray[np.int64], NDArray[np.float64]]
"""Buckets in rising order and their values, of Euclidean length 1."""


@dataclass(frozen=True)
class Classifier:
    """A trained classifier.

    Args:
        weights: float32 [NUM_BUCKETS].
        bias: added to their sum.
    """

    weights: NDArray[np.float32]
    bias: float

    def score(self, text: str) -> float:
        """How much the text is like the good examples, 0 ... 1; 0.5 is undecided."""
        buckets, values = features(text)
        return _sigmoid(float(values @ self.weights[buckets]) + self.bias)


def features(text: str) -> Features:
    """The n-grams of a text (1 to 4 characters, lower case) as buckets with the roots of their counts."""
    codes = codes_of(text[:MAX_CHARACTERS])
    lower = lowered(scripts.SIZE)[scripts.folded(codes)].astype(np.uint64) + np.uint64(1)
    grams = np.zeros(len(lower), np.uint64)
    found = []
    for n in range(min(LONGEST, len(lower))):
        grams = grams[: len(lower) - n] * np.uint64(0x9E3779B97F4A7C15) + lower[n:]
        mixed = (grams ^ (grams >> np.uint64(29))) * np.uint64(0xD6E8FEB86659FD93)
        found.append((mixed >> np.uint64(46)).astype(np.int64))  # the highest 18 bits
    buckets, counts = np.unique(np.concatenate(found or [np.zeros(0, np.int64)]), return_counts=True)
    values = np.sqrt(counts.astype(np.float64))
    return buckets, values / max(float(np.sqrt(counts.sum())), 1.0)


def train(good: Sequence[str], others: Sequence[str], seed: int, *, epochs: int = 5) -> Classifier:
    """A classifier of `good` against `others`; both weigh alike, however many there are.

    AdaGrad (Duchi et al. 2011) on one example at a time, in an order drawn from `seed`.

    Raises:
        EmptyInput: there is no good example, or no other.
    """
    if not good or not others:
        raise EmptyInput(f"{len(good)} good examples and {len(others)} others", hint="give some of both")
    rows = [features(text) for text in (*good, *others)]
    labels = [1.0] * len(good) + [0.0] * len(others)
    shares = [len(rows) / (2 * len(good))] * len(good) + [len(rows) / (2 * len(others))] * len(others)
    rng = np.random.default_rng(seed)
    weights, squares = np.zeros(NUM_BUCKETS + 1), np.full(NUM_BUCKETS + 1, 1e-8)
    for _ in range(epochs):
        for k in rng.permutation(len(rows)).tolist():
            _step(rows[k], labels[k], shares[k], weights, squares)
    return Classifier(weights[:-1].astype(np.float32), float(weights[-1]))


RATE: Final = 0.2


def _step(
    row: Features, label: float, share: float, weights: NDArray[np.float64], squares: NDArray[np.float64]
) -> None:
    """One step on one example, in place; the last weight is the bias."""
    buckets, values = np.append(row[0], NUM_BUCKETS), np.append(row[1], 1.0)
    gradient = share * (_sigmoid(float(values @ weights[buckets])) - label) * values
    squares[buckets] += gradient**2
    weights[buckets] -= RATE * gradient / np.sqrt(squares[buckets])


def _sigmoid(value: float) -> float:
    return float(1 / (1 + np.exp(-np.clip(value, -40, 40))))
