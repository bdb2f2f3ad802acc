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

AT_ONCE = 1 << 27
"""Scores that are in memory together (512 MiB): where there are more, they are reckoned again for each step."""
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
    """Validation users, and how good mixtures are for them at one half-life."""

    systems: Mapping[str, System]
    seen: Sequence[Numbers]
    wanted: Sequence[Numbers]
    half_life: float
    users: int
    """Whose scores are in memory together."""
    kept: NDArray[np.float32] | None = None
    tried: dict[tuple[float, ...], float] = field(default_factory=dict)

    def qualities(self, weights: Sequence[tuple[float, ...]]) -> list[float]:
        """Mean nDCG of each mixture; -1 of one of nothing."""
        new = [one for one in dict.fromkeys(weights) if any(one) and one not in self.tried]
        found = [self._gains(new, start) for start in range(0, len(self.seen), self.users)] if new else []
        for place, one in enumerate(new):
            self.tried[one] = float(np.concatenate([gain[place] for gain in found]).mean())
        return [self.tried.get(one, -1.0) for one in weights]

    def _gains(self, weights: Sequence[tuple[float, ...]], start: int) -> list[NDArray[np.float64]]:
        """Of each mixture the nDCG of some users."""
        score_SBN, wanted = self._scores(start), self.wanted[start : start + self.users]
        mixed = (np.sum([w * score_SBN[k] for k, w in enumerate(one) if w], axis=0) for one in weights)
        return [gains(best(mixed_BN, PLACES), wanted)[0] for mixed_BN in mixed]

    def _scores(self, start: int) -> NDArray[np.float32]:
        """Kept where they are those of all users."""
        if self.kept is not None:
            return self.kept
        found = _all_scores(self.systems, self.seen[start : start + self.users], self.half_life)
        self.kept = found if self.users >= len(self.seen) else None
        return found

    def best_of(self, weights: Sequence[tuple[float, ...]]) -> tuple[float, ...]:
        """Of equal ones the first."""
        return max(zip(self.qualities(weights), weights, strict=True), key=lambda one: one[0])[1]

    def search(self) -> tuple[float, ...]:
        """From the best single system on, one weight after the other to its best value, twice over."""
        number = len(self.systems)
        now = self.best_of([tuple(float(k == j) for j in range(number)) for k in range(number)])
        for _ in range(ROUNDS):
            for place in range(number):
                now = self.best_of([now, *((*now[:place], weight, *now[place + 1 :]) for weight in WEIGHTS)])
        return now


def chosen(systems: Mapping[str, System], seen: Sequence[Numbers], wanted: Sequence[Numbers]) -> tuple[Mixture, float]:
    """The mixture with the best nDCG@10 on validation, and that nDCG.

    Args:
        seen: what each user had seen; wanted: what came then, at least one item each.
    """
    found: tuple[Mixture, float] | None = None
    items = len(next(iter(systems.values())).scores(seen[0], recent(len(seen[0]), 0.0)))
    for half_life in HALF_LIVES:
        trial = _Trial(systems, seen, wanted, half_life, max(1, AT_ONCE // (items * len(systems))))
        weight_S = trial.search()
        (quality,) = trial.qualities([weight_S])
        if found is None or quality > found[1]:
            found = Mixture(systems, dict(zip(systems, weight_S, strict=True)), half_life), quality
    assert found is not None, "there is more than one half-life"
    return found


def _all_scores(systems: Mapping[str, System], seen: Sequence[Numbers], half_life: float) -> NDArray[np.float32]:
    """[S, B, N], standard scores, what was seen at -inf; those who have seen nothing are scored, too."""
    asked = np.stack(
        [[standard(one.scores(items, recent(len(items), half_life))) for items in seen] for one in systems.values()]
    )
    for score_BN in asked:
        hide(score_BN, seen)
    return asked
