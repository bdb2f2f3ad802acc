"""Several systems as one: each in units of its own spread over the items, times a weight that validation chose.

    score(j) = sum over systems of weight · (score - mean) / deviation

What was seen counts the less the more has been seen since: half after `half_life` events. On ml-100k, of each user the
last event, this alone brought nDCG@10 of EASE from .041 to .075 (docs/LOG.md), and on a random split it cost; so
validation chooses it, too.

*B users, N items, S systems, H items that a user has seen.*
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from pretune.apps.recommend.figures import PLACES, best, gains, hide
from pretune.apps.recommend.systems import Numbers, Scores, System, recent

HALF_LIVES = (0.0, 5.0, 20.0, 80.0)
"""What is tried; 0: everything counts the same."""
WEIGHTS = (0.0, 0.25, 0.5, 1.0, 2.0)
ROUNDS = 2


@dataclass(frozen=True)
class Mixture:
    """Systems with their weights; those of weight 0 are not asked."""

    systems: Mapping[str, System]
    weights: Mapping[str, float]
    half_life: float = 0.0

    def scores(self, seen_H: Numbers) -> Scores:
        """[N] of a user who has seen these, the oldest first."""
        weight_H = recent(len(seen_H), self.half_life)
        used = [(w, self.systems[name].scores(seen_H, weight_H)) for name, w in self.weights.items() if w]
        found: Scores = np.sum([w * standard(scores) for w, scores in used], axis=0, dtype=np.float32)
        return found

    def shares(self, seen_H: Numbers, item_K: Numbers) -> Scores:
        """[K, H], what each thing that was seen adds to the score of some items."""
        weight_H = recent(len(seen_H), self.half_life)
        found_KH = np.zeros((len(item_K), len(seen_H)), dtype=np.float32)
        for name, w in self.weights.items():
            system = self.systems[name]
            if w and (deviation := float(system.scores(seen_H, weight_H).std())):
                shares = [system.shares(seen_H, weight_H, int(item)) for item in item_K]
                found_KH += w / deviation * np.stack(shares)
        return found_KH

    def alone(self, name: str) -> Mixture:
        """One of the systems by itself, with the same half-life."""
        return replace(self, weights={name: 1.0})


def standard(scores_N: Scores) -> Scores:
    """Mean 0 and deviation 1; all 0 where all are equal."""
    deviation = float(scores_N.std())
    return (scores_N - scores_N.mean()) / deviation if deviation > 1e-9 else np.zeros_like(scores_N)


# ---- choosing -----------------------------------------------------------------------------------


@dataclass
class _Trial:
    """Validation users and the standard scores of every system, at one half-life."""

    score_SBN: NDArray[np.float32]
    wanted: Sequence[Numbers]
    tried: dict[tuple[float, ...], float] = field(default_factory=dict)

    def quality(self, weight_S: tuple[float, ...]) -> float:
        """Mean nDCG of a mixture; -1 of one of nothing."""
        used = [k for k, w in enumerate(weight_S) if w]
        if not used:
            return -1.0
        if weight_S not in self.tried:
            mixed_BN = np.sum([weight_S[k] * self.score_SBN[k] for k in used], axis=0)
            self.tried[weight_S] = float(gains(best(mixed_BN, PLACES), self.wanted)[0].mean())
        return self.tried[weight_S]

    def search(self) -> tuple[float, ...]:
        """From the best single system on, one weight after the other to its best value, twice over."""
        number = len(self.score_SBN)
        now = max((tuple(float(k == j) for j in range(number)) for k in range(number)), key=self.quality)
        for _ in range(ROUNDS):
            for place in range(number):
                others = [(*now[:place], weight, *now[place + 1 :]) for weight in WEIGHTS]
                now = max([now, *others], key=self.quality)
        return now


def chosen(systems: Mapping[str, System], seen: Sequence[Numbers], wanted: Sequence[Numbers]) -> tuple[Mixture, float]:
    """The mixture with the best nDCG@10 on validation, and that nDCG.

    Args:
        seen: what each user had seen; wanted: what came then, at least one item each.
    """
    found: tuple[Mixture, float] | None = None
    for half_life in HALF_LIVES:
        trial = _Trial(_all_scores(systems, seen, half_life), wanted)
        weight_S = trial.search()
        if found is None or trial.quality(weight_S) > found[1]:
            mixture = Mixture(systems, dict(zip(systems, weight_S, strict=True)), half_life)
            found = mixture, trial.quality(weight_S)
    assert found is not None, "there is more than one half-life"
    return found


def _all_scores(systems: Mapping[str, System], seen: Sequence[Numbers], half_life: float) -> NDArray[np.float32]:
    """[S, B, N], standard scores, what was seen at -inf; those who have seen nothing are scored, too."""
    asked = [
        hide(np.stack([standard(one.scores(items, recent(len(items), half_life))) for items in seen]), seen)
        for one in systems.values()
    ]
    return np.stack(asked)
