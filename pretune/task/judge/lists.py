"""Lists of candidates: those of rankings as they are; those of pairs from what other pairs of the split have as right.

    pooled   every query with the right texts of the whole split: what a search finds
    drawn    every query with its own right texts and a few others, drawn: what a cross-encoder can read

What is right for a query is never one of its others. Right texts stand anywhere in a drawn list, not first.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pretune.base.sample import evenly
from pretune.text.dataset.example import Pair, Ranking

POOL = 1000
"""Texts of a pool at most, evenly spread over the split; a query's own are always among its candidates."""


def usable(rankings: Sequence[Ranking]) -> list[Ranking]:
    """Those with an order to learn or to judge: at least two candidates, and not all as good."""
    return [one for one in rankings if len(set(one.scores)) > 1]


def pooled(pairs: Sequence[Pair]) -> list[Ranking]:
    """Every query with the texts of the pool."""
    every = list(dict.fromkeys(text for pair in pairs for text in pair.targets))
    pool = tuple(evenly(every, min(POOL, len(every))))
    in_pool, zeros = {text: k for k, text in enumerate(pool)}, (0.0,) * len(pool)
    found = []
    for pair in pairs:
        more = tuple(text for text in dict.fromkeys(pair.targets) if text not in in_pool)
        scores = [*zeros, *(1.0 for _ in more)]
        for text in pair.targets:
            if text in in_pool:
                scores[in_pool[text]] = 1.0
        found.append(Ranking(pair.source, pool + more if more else pool, tuple(scores), pair.origin))
    return usable(found)


def drawn(pairs: Sequence[Pair], number: int) -> list[Ranking]:
    """Every query with its right texts and `number` others, fewer where there are not so many; the same each time."""
    every = list(dict.fromkeys(text for pair in pairs for text in pair.targets))
    found = []
    for k, pair in enumerate(pairs):
        rng, right = np.random.default_rng([len(pairs), k]), list(dict.fromkeys(pair.targets))
        tried = rng.choice(len(every), size=min(len(every), number + len(right)), replace=False)
        others = [every[n] for n in tried if every[n] not in right][:number]
        texts = [*right, *others]
        order = rng.permutation(len(texts))
        scores = tuple(float(n < len(right)) for n in order)
        found.append(Ranking(pair.source, tuple(texts[n] for n in order), scores, pair.origin))
    return usable(found)
