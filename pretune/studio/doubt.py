"""How sure a classifier was of each text, so that those of which it is least sure are labelled first.

one label    the probability of the likeliest one (least confidence, Lewis & Gale 1994, arXiv:cmp-lg/9407020)
any number   how far the label that is nearest to its threshold is away from it, in logits (binary minimum, Brinker
             2006): a text to which no label was given may be a sure one

Thresholds are those of the model; the answers tell between which probabilities each of them is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from pretune.base.json import Json

SURE = math.inf
"""Of an answer without probabilities: it comes last."""
USUAL = 0.5
"""The threshold of a label, where the answers do not say otherwise."""


def sureness(answers: Sequence[Json]) -> list[float]:
    """A number for each answer, as `predict` writes it: the lower, the less sure."""
    cuts = _cuts([one for one in answers if _is_set(one)])
    return [_nearest(one, cuts) if _is_set(one) else max(_scores(one).values(), default=SURE) for one in answers]


def guess(answer: Json) -> str:
    """The label, or the labels, as people read them."""
    return ", ".join(answer["labels"]) if _is_set(answer) else str(answer.get("label") or "")


def _is_set(answer: Json) -> bool:
    return isinstance(answer.get("labels"), list)


def _scores(answer: Json) -> Mapping[str, float]:
    """Label -> probability; a ranking has a list under this name."""
    found = answer.get("scores")
    return found if isinstance(found, dict) else {}


def _cuts(answers: Sequence[Json]) -> dict[str, float]:
    """The threshold of each label: the usual one, or as near to it as what was given and what was not allow."""
    above: dict[str, float] = {}
    below: dict[str, float] = {}
    for one in answers:
        for name, chance in _scores(one).items():
            if name in one["labels"]:
                above[name] = min(chance, above.get(name, 1.0))
            else:
                below[name] = max(chance, below.get(name, 0.0))
    return {n: min(max(USUAL, below.get(n, 0.0)), above.get(n, 1.0)) for n in {*above, *below}}


def _nearest(answer: Json, cuts: Mapping[str, float]) -> float:
    away = (abs(_logit(chance) - _logit(cuts[name])) for name, chance in _scores(answer).items())
    return min(away, default=SURE)


def _logit(chance: float) -> float:
    inside = min(max(chance, 1e-9), 1 - 1e-9)
    return math.log(inside / (1 - inside))
