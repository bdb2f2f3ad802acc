"""What hides single examples in a step: each gradient is clipped, the sum gets noise (private.py says why)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from pretune.train.optim.update import Update

NOISE = 2
"""What is drawn from the secret, besides the sample."""


@dataclass(frozen=True)
class Mechanism:
    """The noise of a run.

    Args:
        clip: norm of what one example may add; noise: standard deviation over the clip.
        expected: examples of a step on the average.
        secret: of the run.
        sums: of the clipped gradients of the step, by name.
    """

    clip: float
    noise: float
    expected: float
    secret: int
    sums: dict[str, Tensor] = field(default_factory=dict)

    @torch.no_grad()
    def take(self, update: Update) -> None:
        """Add the gradient of one example, which is divided by the examples of a step already, and drop it."""
        norm = update.gradient_norm()
        shrunk = min(1.0, self.clip / self.expected / norm) if norm else 1.0
        for name in update.moving:
            grad = update.weights[name].grad
            assert grad is not None
            wide = grad if grad.dtype == torch.float64 else grad.float()
            if not math.isfinite(norm):  # it would reach every weight; an example that adds nothing keeps the bound
                wide = torch.zeros_like(wide)
            elif shrunk < 1:
                wide = wide * shrunk
            self.sums[name] = self.sums[name] + wide if name in self.sums else wide.clone()
        for weight in update.weights.values():  # of all: those that are set free later begin without one
            weight.grad = None

    @torch.no_grad()
    def finish(self, update: Update, step: int) -> None:
        """Put the sum and its noise in the place of the gradient."""
        dice = np.random.default_rng([self.secret, step, NOISE])  # torch's own keeps 32 bits of a seed
        for name in update.moving:
            weight = update.weights[name]
            found = self.sums.pop(name, torch.zeros_like(update.masters[name], device=weight.device))
            if self.noise:
                drawn = torch.from_numpy(np.asarray(dice.standard_normal(tuple(found.shape))))
                found = found + drawn.to(found.device, found.dtype) * (self.noise * self.clip / self.expected)
            weight.grad = found.to(weight.dtype)
        self.sums.clear()
