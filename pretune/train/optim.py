"""Settings of optimizers and schedules, and the schedules themselves. No torch here; the updates are in update.py."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from pydantic import Field

from pretune.base.config import Choice, Variant


class Optim(Variant):
    """Settings that every optimizer has."""

    usual_rate: ClassVar[float]
    """The peak rate in pretraining when none is given."""

    learning_rate: float | None = Field(None, gt=0)
    """Peak rate (with Muon: of embeddings, norms and biases, which AdamW moves). By default 5e-4, with Muon 3e-3; in
    fine-tuning with AdamW what suits the method."""
    weight_decay: float = Field(0.01, ge=0)
    """Decoupled decay of matrices, times the learning rate; norms and biases are not decayed."""
    betas: tuple[float, float] = (0.9, 0.95)
    """Decay of the first and second moment of AdamW."""
    eps: float = Field(1e-8, gt=0)
    """Added to the root of the second moment."""
    clip: float = Field(1.0, gt=0)
    """The gradient's norm is clipped to this."""
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    """How the rate falls from its peak: to 0 in a line, along a cosine, or not at all."""
    warmup: float = Field(0.05, ge=0, lt=1)
    """Share of the steps in which the rate rises from 0."""

    @property
    def rate(self) -> float:
        """The peak rate that is meant."""
        return self.learning_rate if self.learning_rate is not None else self.usual_rate


class AdamW(Optim):
    """Adam with decoupled weight decay (arXiv:1711.05101)."""

    usual_rate: ClassVar[float] = 5e-4


class Muon(Optim):
    """Orthogonalised momentum for matrices, AdamW for the rest (Jordan 2024; arXiv:2502.16982)."""

    usual_rate: ClassVar[float] = 3e-3

    matrix_rate: float = Field(0.02, gt=0)
    """Peak rate of Muon for the matrices inside the blocks."""
    momentum: float = Field(0.95, ge=0, lt=1)
    """Decay of the momentum (Nesterov)."""


OPTIM = Choice(
    Optim,
    {"adamw": "pretune.train.optim:AdamW", "muon": "pretune.train.optim:Muon"},
    group="pretune.optimizers",
    default="adamw",
)


def rate_factor(step: int, *, total: int, warmup: float, schedule: str) -> float:
    """Share of the peak rate at `step` (from 0) of `total`: rises over the warm-up, then falls.

    The first step already moves (factor 1 / warm-up steps); the last one still does.
    """
    rising = math.ceil(warmup * total)
    if step < rising:
        return (step + 1) / rising
    if schedule == "constant":
        return 1.0
    done = (step - rising) / max(total - rising, 1)
    return 1 - done if schedule == "linear" else 0.5 * (1 + math.cos(math.pi * done))
