"""How good lists of recommendations are. A list never shows what its user has seen already.

    ndcg_10     what was wanted, and how far up       Järvelin & Kekäläinen 2002; 1 if all of it is on top
    recall_10   the share of it that is among ten
    coverage    the share of all items that stand in any list
    novelty     bits: mean -log2(share of users who have seen an item); less is what everybody knows

*B users, N items, K places of a list.*
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pretune.apps.recommend.systems import Numbers, Scores

PLACES = 10


@dataclass(frozen=True)
class Figures:
    """Of one system, for each user whose list was asked for.

    Args:
        shown_BK: the lists; coverage, novelty: over all of them.
    """

    ndcg_B: NDArray[np.float64]
    recall_B: NDArray[np.float64]
    shown_BK: Numbers
    coverage: float
    novelty: float

    def means(self) -> dict[str, float]:
        figures = {"ndcg_10": float(self.ndcg_B.mean()), "recall_10": float(self.recall_B.mean())}
        return figures | {"coverage": self.coverage, "novelty": self.novelty}


def best(scores_BN: Scores, places: int) -> Numbers:
    """[B, K], the items with the largest scores, the largest first; of equal ones the first."""
    places = min(places, scores_BN.shape[1])
    least_B1 = np.partition(scores_BN, -places, axis=1)[:, -places, None]
    above_BN, level_BN = scores_BN > least_B1, scores_BN == least_B1
    # A partition takes any of those that are level with the last place: which ones depends on the processor.
    chosen_BN = above_BN | (level_BN & (level_BN.cumsum(axis=1) <= places - above_BN.sum(axis=1, keepdims=True)))
    some_BK = np.nonzero(chosen_BN)[1].reshape(len(scores_BN), places)
    order_BK = np.argsort(-np.take_along_axis(scores_BN, some_BK, axis=1), axis=1, kind="stable")
    found: Numbers = np.take_along_axis(some_BK, order_BK, axis=1)
    return found


def hide(scores_BN: Scores, seen: Sequence[Numbers]) -> Scores:
    """-inf for what each user has seen, in place."""
    for row_N, items in zip(scores_BN, seen, strict=True):
        row_N[items] = -np.inf
    return scores_BN


def gains(shown_BK: Numbers, wanted: Sequence[Numbers]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """([B] nDCG, [B] recall) of lists; every item that is wanted counts the same."""
    discount_K = 1 / np.log2(np.arange(2, shown_BK.shape[1] + 2))
    ideal_K = np.cumsum(discount_K)
    hit_BK = np.stack([np.isin(row_K, items) for row_K, items in zip(shown_BK, wanted, strict=True)])
    number_B = np.array([len(items) for items in wanted])
    ndcg_B = (hit_BK @ discount_K) / ideal_K[np.minimum(number_B, len(discount_K)) - 1]
    return ndcg_B, hit_BK.sum(axis=1) / number_B


def figures_of(shown_BK: Numbers, wanted: Sequence[Numbers], count_N: Numbers, num_users: int) -> Figures:
    """All figures of lists.

    Args:
        wanted: what each user saw later, at least one item each.
        count_N: how many of `num_users` have seen each item, in what was learnt from.
    """
    ndcg_B, recall_B = gains(shown_BK, wanted)
    bits_N = -np.log2(np.maximum(count_N, 1) / max(num_users, 1))
    return Figures(ndcg_B, recall_B, shown_BK, len(np.unique(shown_BK)) / len(count_N), float(bits_N[shown_BK].mean()))


def place_among(scores_N: Scores, item: int, others: Numbers) -> float:
    """The share of the others that stand below an item, ties by half: 0.5 is chance, 1 the best (the AUC)."""
    rest = scores_N[others[others != item]]
    return float(((rest < scores_N[item]).mean() + (rest <= scores_N[item]).mean()) / 2)
