"""A ranking model over the best candidates: it reads what was seen last, and each candidate's text, together.

    query       Alien; Blade Runner; Brazil          the last five, the newest first
    candidate   12 Monkeys. Drama Sci-Fi

*C candidates, H items that a user has seen.*
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from pretune.apps.recommend.figures import best, gains, hide
from pretune.apps.recommend.learning import Asked
from pretune.apps.recommend.mixing import WEIGHTS, Mixture, standard
from pretune.apps.recommend.systems import Numbers, Scores
from pretune.apps.recommend.tables import Items
from pretune.infer.answers import Ranking

REMEMBERED = 5
"""Things seen last that a query names."""
CHOSEN_BY = 100
"""Users by whom its weight is chosen: every candidate of each is read once."""


class Reads(Protocol):
    """What answers with a ranking."""

    def answer(self, inputs: Sequence[Any]) -> Sequence[Any]: ...


@dataclass(frozen=True)
class Ordering:
    """A model with the weight that it has next to the mixture.

    Args:
        candidates: so many of the best are read.
    """

    model: Reads
    items: Items
    candidates: int
    weight: float = 1.0

    def scores(self, seen_H: Numbers, item_C: Numbers) -> Scores:
        """[C], of the model alone; all the same for who has seen nothing."""
        if not len(seen_H) or not len(item_C):
            return np.zeros(len(item_C), dtype=np.float32)
        queried = {"query": query_of(self.items, seen_H), "candidates": [text_of(self.items, k) for k in item_C]}
        (answer,) = self.model.answer([queried])
        assert isinstance(answer, Ranking), "what orders gives rankings"
        found = np.zeros(len(item_C), dtype=np.float32)
        found[list(answer.order)] = answer.scores
        return found

    def mixed(self, seen_H: Numbers, item_C: Numbers, score_C: Scores) -> Scores:
        """[C], with those of the mixture."""
        return standard(score_C) + self.weight * standard(self.scores(seen_H, item_C))


def query_of(items: Items, seen_H: Numbers) -> str:
    """What a user has seen last, as the model reads it."""
    return "; ".join(items.titles[k] for k in seen_H[: -REMEMBERED - 1 : -1])


def text_of(items: Items, item: int) -> str:
    """A candidate, as the model reads it."""
    return items.texts[item] or items.titles[item]


@dataclass(frozen=True)
class Lists:
    """The candidates of some users, with both scores."""

    asked: Asked
    item_BC: list[Numbers]
    mixture_BC: list[Scores]
    model_BC: list[Scores]

    @classmethod
    def of(cls, ordering: Ordering, mixture: Mixture, asked: Asked) -> Lists:
        scores = (hide(mixture.scores(seen)[None], [seen]) for seen in asked.seen)
        found = [(best(one, ordering.candidates)[0], one[0]) for one in scores]
        known = [(item_C[np.isfinite(one[item_C])], one) for item_C, one in found]
        model = [ordering.scores(seen, item_C) for seen, (item_C, _) in zip(asked.seen, known, strict=True)]
        return cls(asked, [item_C for item_C, _ in known], [one[item_C] for item_C, one in known], model)

    def quality(self, weight: float) -> list[float]:
        """nDCG@10 of each user with this weight."""
        found = []
        for wanted, item_C, mixture_C, model_C in zip(
            self.asked.wanted, self.item_BC, self.mixture_BC, self.model_BC, strict=True
        ):
            (order,) = best((standard(mixture_C) + weight * standard(model_C))[None], 10)
            found.append(float(gains(item_C[order][None], [wanted])[0][0]))
        return found


def weighed(ordering: Ordering, mixture: Mixture, asked: Asked) -> Ordering:
    """With the weight that does best on these users of validation; 0 where it helps nobody."""
    lists = Lists.of(ordering, mixture, asked)
    return replace(ordering, weight=max(WEIGHTS, key=lambda weight: float(np.mean(lists.quality(weight)))))
