"""How the next token is chosen from logits: greedy, or drawn by temperature, top-k and top-p.

Numbers are float64 whatever the back end, so that a seed draws the same tokens from equal logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pretune.base.errors import NotFinite


@dataclass(frozen=True)
class Sampling:
    """Settings of an answer; the defaults are greedy.

    Args:
        temperature: 0 takes the likeliest token; 1 draws from the model's own distribution.
        top_p: draw from the smallest set of likeliest tokens whose probability reaches this, in (0, 1].
        top_k: draw from this many likeliest tokens; 0 means all.
        max_tokens: the answer ends here at the latest.
        seed: the same seed draws the same tokens.
        stop: the answer ends before the first of these texts.
        repetition_penalty: above 1, what was already written becomes less likely (arXiv:1909.05858, section 4.1).
    """

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    max_tokens: int = 512
    seed: int = 0
    stop: tuple[str, ...] = ()
    repetition_penalty: float = 1.0


GREEDY = Sampling()


def choose(logits_V: np.ndarray, written: Sequence[int], sampling: Sampling, rng: np.random.Generator) -> int:
    """The next token. Raises NotFinite when the model gave no numbers."""
    check_finite(logits_V)
    scores_V = penalised(logits_V.astype(np.float64), written, sampling.repetition_penalty)
    if sampling.temperature == 0:
        return int(scores_V.argmax())
    probabilities_V = distribution(scores_V, sampling)
    return int(np.searchsorted(np.cumsum(probabilities_V), rng.random() * probabilities_V.sum(), side="right"))


def check_finite(logits: np.ndarray) -> None:
    """Raise NotFinite when the model gave no numbers; -inf is a token that it never says."""
    if np.isnan(logits).any() or np.isposinf(logits).any():
        raise NotFinite("the model's logits are not finite", hint="its weights are damaged; train or export it again")


def penalised(scores_V: np.ndarray, written: Sequence[int], penalty: float) -> np.ndarray:
    """Logits with those of written tokens divided (above zero) or multiplied (below) by the penalty."""
    if penalty == 1.0 or not len(written):
        return scores_V
    seen = np.unique(np.asarray(written))
    chosen = scores_V[seen]
    scores_V = scores_V.copy()
    scores_V[seen] = np.where(chosen > 0, chosen / penalty, chosen * penalty)
    return scores_V


def distribution(scores_V: np.ndarray, sampling: Sampling) -> np.ndarray:
    """Probabilities after temperature, top-k and top-p; they sum to 1. Ties keep the smaller id."""
    # Subtract first: a temperature of 1e-300 would overflow to inf - inf otherwise.
    scaled_V = np.maximum(scores_V - scores_V.max(), -1e300) / max(sampling.temperature, 1e-6)
    probabilities_V = np.exp(np.maximum(scaled_V, -745.0))
    probabilities_V[scaled_V < -745.0] = 0.0
    probabilities_V /= probabilities_V.sum()
    if not sampling.top_k and sampling.top_p >= 1:  # all of them: sorting takes longer than the rest
        return np.asarray(probabilities_V / probabilities_V.sum())
    order = np.argsort(-probabilities_V, kind="stable")
    keep = order[: _num_kept(probabilities_V[order], sampling)]
    kept_V = np.zeros_like(probabilities_V)
    kept_V[keep] = probabilities_V[keep]
    return np.asarray(kept_V / kept_V.sum())


def _num_kept(falling_V: np.ndarray, sampling: Sampling) -> int:
    """How many of the likeliest tokens remain; at least one."""
    kept = len(falling_V) if sampling.top_k == 0 else min(sampling.top_k, len(falling_V))
    if sampling.top_p < 1:
        kept = min(kept, int(np.searchsorted(np.cumsum(falling_V), sampling.top_p, side="left")) + 1)
    return max(kept, 1)
