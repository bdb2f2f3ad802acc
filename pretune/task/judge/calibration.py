"""Whether probabilities are what they say: of the texts that are called 0.9, nine in ten should be right.

    temperature   probabilities are softmax(logits / T); one T for all labels, so the likeliest label stays what it is
    ece           the mean distance of probability and share of right ones, in 15 bins of equal width
    auroc         how often a text that belongs here has a higher probability than one that does not

*B texts, C labels.*

Source: Guo et al. 2017, arXiv:1706.04599.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pretune.base.json import Json
from pretune.infer.classify import softmax
from pretune.infer.correlation import ranks

Floats = NDArray[np.float64]
BINS = 15
COLDEST, HOTTEST = 0.02, 50.0
HALVINGS = 60
TINY = 1e-300


def best_temperature(logits_BC: Floats, gold_B: NDArray[np.int64]) -> float:
    """The temperature with the least negative log likelihood of the labels, in [0.02, 50].

    The likelihood is convex in 1 / T, so its slope has one zero, which is halved in on. Where no text is wrong, the
    likelihood says only "ever colder", and nothing is known of how often the model errs: 1.
    """
    wide, true_B = logits_BC.astype(np.float64), logits_BC[np.arange(len(gold_B)), gold_B].astype(np.float64)
    if (true_B >= wide.max(axis=1)).all():
        return 1.0
    low, high = 1 / HOTTEST, 1 / COLDEST
    for _ in range(HALVINGS):
        middle = (low * high) ** 0.5
        slope = ((softmax(middle * wide) * wide).sum(axis=1) - true_B).mean()
        low, high = (middle, high) if slope < 0 else (low, middle)
    return float(1 / low)


def at_temperature(chances_BC: Floats, power: float) -> Floats:
    """What probabilities would be at a temperature `power` times lower: softmax(power * logits)."""
    return softmax(power * np.log(np.maximum(chances_BC, TINY)))


def reliability(chances_B: Floats, right_B: NDArray[np.bool_]) -> list[Json]:
    """Of each bin that has texts, (k/15, (k+1)/15]: mean `chance`, share of `right` ones, and `texts`."""
    bins_B = np.clip(np.ceil(chances_B * BINS).astype(np.int64) - 1, 0, BINS - 1)
    inside = [(bins_B == k) for k in range(BINS)]
    return [
        {"chance": float(chances_B[one].mean()), "right": float(right_B[one].mean()), "texts": int(one.sum())}
        for one in inside
        if one.any()
    ]


def calibration_error(bins: Sequence[Json]) -> float:
    """The expected calibration error of `reliability`'s bins."""
    return float(sum(b["texts"] * abs(b["chance"] - b["right"]) for b in bins) / sum(b["texts"] for b in bins))


class Chances(NamedTuple):
    """Of each text the probability of its label, that of the likeliest one, and the sum of the squares of all."""

    gold: Floats
    top: Floats
    squares: Floats


def chances_of(chances_BC: Floats, gold_B: NDArray[np.int64]) -> Chances:
    return Chances(chances_BC[np.arange(len(gold_B)), gold_B], chances_BC.max(axis=1), (chances_BC**2).sum(axis=1))


def negative_log_likelihood(chances: Chances) -> float:
    """In nats per text."""
    return float(-np.log(np.maximum(chances.gold, TINY)).mean())


def brier(chances: Chances) -> float:
    """The squared distance of the probabilities from certainty of the right label, summed over labels (Brier 1950)."""
    return float((chances.squares - 2 * chances.gold + 1).mean())


def auroc(values_B: Floats, holds_B: NDArray[np.bool_]) -> float:
    """The share of pairs, of one that holds and one that does not, whose values are in that order; equal ones half."""
    positive, negative = int(holds_B.sum()), int((~holds_B).sum())
    return float((ranks(values_B)[holds_B].sum() - positive * (positive + 1) / 2) / (positive * negative))


def best_threshold(chances_B: Floats, right_B: NDArray[np.bool_], inside_B: NDArray[np.bool_]) -> float:
    """Below which probability a text is best said to be out of scope.

    Best is the highest mean of two shares: of the texts inside those that get their label, and of those outside that
    are rejected, so that it does not matter how many there are of either. It lies half way between two probabilities.

    Args:
        right_B: whether the likeliest label is that of the text; inside_B: whether it is in scope.
    """
    order = np.argsort(chances_B, kind="stable")
    ranked = chances_B[order]
    kept = right_B[order].sum() - np.concatenate([[0], np.cumsum(right_B[order])])
    out = np.concatenate([[0], np.cumsum(~inside_B[order])])
    score = kept / max(inside_B.sum(), 1) + out / max((~inside_B).sum(), 1)
    score[1:-1][ranked[1:] == ranked[:-1]] = -1.0  # equal probabilities are on one side
    ends = np.concatenate([[0.0], ranked, [1.0]])
    best = int(score.argmax())
    return float((ends[best] + ends[best + 1]) / 2) if best else 0.0


def threshold_keeping(chances_B: Floats, share: float) -> float:
    """A threshold that keeps at least this share of the texts, and few more; half way between two probabilities."""
    dropped = int(np.floor((1 - share) * len(chances_B) + 1e-9))
    kept = np.sort(chances_B)[min(dropped, len(chances_B) - 1)]
    return float((kept + chances_B[chances_B < kept].max(initial=0.0)) / 2)
