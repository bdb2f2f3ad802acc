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


def best_thresholds(chances_BC: Floats, gold_B: NDArray[np.int64]) -> list[float]:
    """By what the probability of each label is divided before the largest is taken, for the best macro-F1 on these.

    They add up to 1, so that of two labels each is the probability from which it is given. One label after the other is
    set to its best place, half way (in logarithms) between two texts, until none gains anything; a label that no text
    carries keeps its place. Where equal thresholds are not beaten they stay.
    """
    labels = chances_BC.shape[1]
    logs_BC, places_C = np.log(np.maximum(chances_BC, TINY)), np.zeros(labels)
    best, is_gold_BC = _macro_f1(logs_BC, gold_B), gold_B[:, None] == np.arange(labels)
    for _ in range(ROUNDS):
        before = best
        for label in np.unique(gold_B):
            f1, place = _best_place(logs_BC - places_C, is_gold_BC, int(label))
            if f1 > best + LEAST_GAIN:
                best, places_C[label] = f1, places_C[label] + place
        if best == before:
            break
    return [float(share) for share in softmax(places_C)]


ROUNDS = 10
LEAST_GAIN = 1e-9
"""Of macro-F1, so that rounding moves nothing."""


def _macro_f1(logs_BC: Floats, gold_B: NDArray[np.int64]) -> float:
    """Over the labels that are carried."""
    said_B = logs_BC.argmax(axis=1)
    carried = np.unique(gold_B)
    hits = np.array([((said_B == k) & (gold_B == k)).sum() for k in carried])
    return float((2 * hits / [(said_B == k).sum() + (gold_B == k).sum() for k in carried]).mean())


def _best_place(logs_BC: Floats, is_gold_BC: NDArray[np.bool_], label: int) -> tuple[float, float]:
    """The best macro-F1 that another threshold of one label gives, and the logarithm of its change.

    The texts that are nearest to the label come first; the first k of them get it, the others their next best.
    """
    others_BC = logs_BC.copy()
    others_BC[:, label] = -np.inf
    lead_B = logs_BC[:, label] - others_BC.max(axis=1)
    order = np.argsort(-lead_B, kind="stable")
    lead_B, is_gold_BC = lead_B[order], is_gold_BC[order]
    next_BC = others_BC[order].argmax(axis=1)[:, None] == np.arange(logs_BC.shape[1])
    said_KC, hits_KC = (one.sum(axis=0) - _before(one) for one in (next_BC, next_BC & is_gold_BC))
    said_KC[:, label] = np.arange(len(order) + 1)
    hits_KC[:, label] = _before(is_gold_BC)[:, label]
    carried = is_gold_BC.any(axis=0)
    f1_K = (2 * hits_KC / np.maximum(said_KC + is_gold_BC.sum(axis=0), 1))[:, carried].mean(axis=1)
    f1_K[1:-1][lead_B[1:] == lead_B[:-1]] = -1.0  # equal ones are on one side
    edges = np.concatenate([[lead_B[0] + 1], lead_B, [lead_B[-1] - 1]])
    best = int(f1_K.argmax())
    return float(f1_K[best]), float((edges[best] + edges[best + 1]) / 2)


def _before(counted_BC: NDArray[np.bool_]) -> NDArray[np.int64]:
    """How many hold among the first k rows, for k from 0 on, [B + 1, C]."""
    return np.concatenate([np.zeros((1, counted_BC.shape[1]), np.int64), counted_BC.cumsum(axis=0)])


def threshold_keeping(chances_B: Floats, share: float) -> float:
    """A threshold that keeps at least this share of the texts, and few more; half way between two probabilities."""
    dropped = int(np.floor((1 - share) * len(chances_B) + 1e-9))
    kept = np.sort(chances_B)[min(dropped, len(chances_B) - 1)]
    return float((kept + chances_B[chances_B < kept].max(initial=0.0)) / 2)
