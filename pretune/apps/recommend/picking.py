"""From scores to the list that is shown: what rules leave out, how alike the things may be, and why each is there.

*N items, C candidates, H items that a user has seen.*
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pretune.apps.recommend.figures import best
from pretune.apps.recommend.mixing import Mixture
from pretune.apps.recommend.ordering import Ordering
from pretune.apps.recommend.systems import Numbers, Scores
from pretune.apps.recommend.tables import Items
from pretune.base.errors import WrongValue, did_you_mean

CANDIDATES = 100
"""Among so many of the best the list is made diverse, or a ranking model orders them."""


@dataclass(frozen=True)
class Picked:
    """An item of a list.

    Args:
        because: the number of the thing seen that speaks most for it; None: it is what others like.
    """

    item: int
    score: float
    because: int | None


def excluded(items: Items, rules: Sequence[str]) -> NDArray[np.bool_]:
    """[N], the items that any rule leaves out; a rule is COLUMN=VALUE, and `stock=0` leaves out what has 0 there.

    Raises:
        WrongValue: a rule without `=`, or of a column that no item has.
    """
    found = np.zeros(len(items.ids), dtype=np.bool_)
    columns = {name for row in items.rows for name in row} if rules else set()
    for rule in rules:
        column, equals, value = rule.partition("=")
        if not equals or column not in columns:
            problem = f"{rule!r} is no rule COLUMN=VALUE" if not equals else f"no item has a column {column!r}"
            raise WrongValue(problem, hint=did_you_mean(column, columns))
        found |= np.array([str(row.get(column, "")).strip() == value.strip() for row in items.rows])
    return found


def diverse(score_C: Scores, unit_CD: Scores, *, places: int, diversity: float) -> Numbers:
    """Which of the candidates make the list, in its order: maximal marginal relevance.

    Each place goes to the candidate with the best (1 - diversity) · score - diversity · cosine with the nearest that is
    in the list; scores are brought to [0, 1] first.

    Source: Carbonell & Goldstein 1998, section 2.
    """
    span = float(np.ptp(score_C)) or 1.0
    value_C, near_C = (score_C - score_C.min()) / span, np.zeros(len(score_C), dtype=np.float32)
    list_K: list[int] = []
    for _ in range(min(places, len(score_C))):
        gain_C = (1 - diversity) * value_C - diversity * near_C
        gain_C[list_K] = -np.inf
        list_K.append(int(gain_C.argmax()))
        cosine_C = unit_CD @ unit_CD[list_K[-1]]
        near_C = cosine_C if len(list_K) == 1 else np.maximum(near_C, cosine_C)
    return np.array(list_K, dtype=np.int64)


def picked(
    mixture: Mixture,
    seen_H: Numbers,
    out_N: NDArray[np.bool_],
    *,
    places: int,
    diversity: float = 0.0,
    unit_ND: Scores | None = None,
    repeat: bool = False,
    ordering: Ordering | None = None,
) -> list[Picked]:
    """The list of a user.

    Args:
        out_N: what is never shown.
        unit_ND: vectors by which things are alike; without them there is nothing to be diverse by.
        repeat: what was seen may come again.
        ordering: puts the best in order before.
    """
    scores_N = mixture.scores(seen_H)
    scores_N[out_N] = -np.inf
    if not repeat:
        scores_N[seen_H] = -np.inf
    is_diverse = bool(diversity) and unit_ND is not None
    wanted = max(places, CANDIDATES if is_diverse else 0, ordering.candidates if ordering else 0)
    (item_C,) = best(scores_N[None], wanted)
    item_C = item_C[np.isfinite(scores_N[item_C])]
    if ordering and len(item_C):
        scores_N[item_C] = ordering.mixed(seen_H, item_C, scores_N[item_C])
        item_C = item_C[np.argsort(-scores_N[item_C], kind="stable")]
    if is_diverse and unit_ND is not None and len(item_C):
        item_C = item_C[diverse(scores_N[item_C], unit_ND[item_C], places=places, diversity=diversity)]
    item_K = item_C[:places]
    reasons = because(mixture, seen_H, item_K)
    return [Picked(int(k), float(scores_N[k]), reason) for k, reason in zip(item_K, reasons, strict=True)]


def because(mixture: Mixture, seen_H: Numbers, item_K: Numbers) -> list[int | None]:
    """Of each item the thing seen that adds most to its score; None where nothing adds anything."""
    if not len(seen_H) or not len(item_K):
        return [None] * len(item_K)
    share_KH = mixture.shares(seen_H, item_K)
    return [int(seen_H[share_H.argmax()]) if share_H.max() > 0 else None for share_H in share_KH]
