"""The systems of a mixture, learnt from events, and which of the users they are asked about.

*U users, N items, D width of a vector.*
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pretune.apps.recommend.mixing import Mixture, chosen
from pretune.apps.recommend.split import Parts, Seen
from pretune.apps.recommend.systems import (
    Linear,
    Numbers,
    Scores,
    System,
    Vectors,
    ease,
    most_seen,
    neighbours,
    popularity,
    row_of,
    seen_together,
)
from pretune.apps.recommend.tables import Events

CHOSEN_BY = 1000
"""Users of validation by whom the weights are chosen, at most."""


@dataclass(frozen=True)
class Learner:
    """How systems are learnt.

    Args:
        most_items: items that behaviour says something of, the most seen ones; memory and disk grow with the square.
        unit_ND: vectors of the items' texts; None: no item has one.
    """

    num_items: int
    neighbours: int
    shrinkage: float
    ridge: float
    most_items: int
    unit_ND: Scores | None

    def learnt(self, events: Events) -> dict[str, System]:
        """Every system, the simplest first."""
        seen = Seen.of(events)
        item_M = most_seen(seen, self.num_items, self.most_items)
        together_MM, row_N = seen_together(seen, item_M, self.num_items), row_of(item_M, self.num_items)
        alike_MM = neighbours(together_MM, most=self.neighbours, shrinkage=self.shrinkage)
        found: dict[str, System] = {
            "popularity": popularity(seen, self.num_items),
            "neighbours": Linear(alike_MM, item_M, row_N),
            "ease": Linear(ease(together_MM, ridge=self.ridge), item_M, row_N),
        }
        return found | ({} if self.unit_ND is None else {"text": Vectors(self.unit_ND)})

    def mixture(self, parts: Parts) -> tuple[Mixture, float]:
        """Learnt from train; its weights are those that do best on validation, whose nDCG@10 is returned too."""
        asked = asked_of(parts.validation, parts.train, most=CHOSEN_BY)
        return chosen(self.learnt(parts.train), asked.seen, asked.wanted)


@dataclass(frozen=True)
class Asked:
    """Users of whom it is known what they saw next.

    Args:
        seen: what each had seen, the oldest first; wanted: what came then, without what was seen; one at least.
    """

    users: Numbers
    seen: list[Numbers]
    wanted: list[Numbers]

    def __len__(self) -> int:
        return len(self.users)

    def only(self, places: Numbers) -> Asked:
        return Asked(self.users[places], [self.seen[k] for k in places], [self.wanted[k] for k in places])


def asked_of(part: Events, before: Events, *, most: int) -> Asked:
    """The users of a part, at most so many (spread evenly over all), with what they had seen before."""
    there, then = Seen.of(before), Seen.of(part)
    users = np.unique(part.user_E)
    users = users[np.linspace(0, len(users) - 1, min(most, len(users))).astype(np.int64)]
    return Asked(users, [there[user] for user in users], [then[user] for user in users])
