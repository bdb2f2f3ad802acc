"""A penalty on weights that leave where they were: weight / 2 * the sum of F (theta - theta0) squared.

It is no sum over rows: its gradient, weight * F (theta - theta0), is added to that of a step once, when the
micro-batches of all ranks are in. So how a step is cut changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pretune.train.optim.update import Update


@dataclass(frozen=True)
class Penalty:
    """What holds weights near an anchor.

    Args:
        anchor: theta0 by the name of the weight; weights that are not named move freely.
        importance: F by name; a weight that is not named here has F = 1.
    """

    weight: float
    anchor: Mapping[str, Tensor]
    importance: Mapping[str, Tensor]

    @torch.no_grad()
    def add(self, update: Update) -> float:
        """Add its gradient to those of the weights that have one; returns its value.

        Of the exact weights: the difference of two roundings to bfloat16 would mostly be 0.
        """
        total = 0.0
        for name, anchor in self.anchor.items():
            master, grad = update.masters[name], update.weights[name].grad
            moved = master - anchor.to(master)
            pull = self.importance[name].to(master) * moved if name in self.importance else moved
            total += float((pull.double() * moved.double()).sum())
            if grad is not None:
                grad.add_(pull.to(grad), alpha=self.weight * update.grad_scale)
        return self.weight / 2 * total
