"""How the next token is chosen from logits: greedy, or drawn by temperature, top-k and top-p.

Numbers are float64 whatever the back end, so that a seed draws the same tokens from equal logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from pretune.base.errors import NotFinite

if TYPE_CHECKING:
    from pretune.infer.grammar import Grammar


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
        presence_penalty: taken off the logit of each token that the answer has already; the prompt does not count.
        frequency_penalty: the same, for each time that it has it.
        logit_bias: tokens and what is added to their logits.
        grammar: what the whole answer must be (`pretune.infer.grammar`).
        top_logprobs: of each token its log-probability is told, and of so many of the likeliest in its place; None:
            it is not. They are the model's own: before temperature, penalties, bias, grammar, top-p and top-k.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    max_tokens: int = 512
    seed: int = 0
    stop: tuple[str, ...] = ()
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: tuple[tuple[int, float], ...] = ()
    grammar: Grammar | None = None
    top_logprobs: int | None = None

    @property
    def is_plain(self) -> bool:
        """Whether the likeliest answer is asked for and nothing else is asked of its tokens."""
        ignored = {name: getattr(GREEDY, name) for name in ("max_tokens", "seed", "stop", "top_p", "top_k")}
        return replace(self, **ignored) == GREEDY


GREEDY = Sampling()


def choose(
    logits_V: np.ndarray,
    written: Sequence[int],
    sampling: Sampling,
    rng: np.random.Generator,
    *,
    num_prompt: int = 0,
    allowed_V: np.ndarray | None = None,
) -> int:
    """The next token.

    Args:
        written: tokens of prompt and answer, the first `num_prompt` those of the prompt.
        allowed_V: bool, which tokens may be chosen; all by default, one at least.

    Raises:
        NotFinite: the model gave no numbers.
    """
    check_finite(logits_V)
    scores_V = penalised(logits_V.astype(np.float64), written, sampling.repetition_penalty)
    scores_V = adjusted(scores_V, written[num_prompt:], sampling)
    if allowed_V is not None:
        scores_V = _only(scores_V, allowed_V)
    if sampling.temperature == 0:
        return int(scores_V.argmax())
    probabilities_V = distribution(scores_V, sampling)
    upto_V = np.cumsum(probabilities_V)
    # Rounding may lift a draw of nearly 1 to the end; the last token with a chance is the first that reaches it.
    drawn = np.searchsorted(upto_V, rng.random() * upto_V[-1], side="right")
    return int(min(drawn, np.searchsorted(upto_V, upto_V[-1])))


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


def adjusted(scores_V: np.ndarray, answer: Sequence[int], sampling: Sampling) -> np.ndarray:
    """Logits with the biases added, and presence and frequency penalties of the answer's tokens taken off, in place."""
    for token, bias in sampling.logit_bias:
        scores_V[token] += bias
    if answer and (sampling.presence_penalty or sampling.frequency_penalty):
        seen, times = np.unique(np.asarray(answer), return_counts=True)
        scores_V[seen] -= sampling.presence_penalty + sampling.frequency_penalty * times
    return scores_V


def _only(scores_V: np.ndarray, allowed_V: np.ndarray) -> np.ndarray:
    """-inf for what is not allowed; where the model never says any of the others, all of those are alike."""
    possible = np.isfinite(scores_V[allowed_V]).any()
    return np.where(allowed_V, scores_V if possible else 0.0, -np.inf)


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
