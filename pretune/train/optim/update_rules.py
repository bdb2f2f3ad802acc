"""The arithmetic of optimizers: one function each, over groups of weights that move alike.

A group holds float32 masters, gradients that are already clipped, a rate for each, and moments by name. Weight decay
is decoupled: a weight is first made smaller by rate * decay, then moved.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from pretune.train.optim.settings import Adafactor, Adagrad, Adam, Lion, Muon, ScheduleFree, Sgd

NEWTON_SCHULZ = ((4.0848, -6.8946, 2.9270), (3.9505, -6.3029, 2.6377), (3.7418, -5.5913, 2.3037),
                 (2.8769, -3.1427, 1.2046), (2.8366, -3.0525, 1.2012))  # fmt: skip
"""Coefficients per iteration (You Jiacheng 2025, in modded-nanogpt): singular values end within 1 +- 0.1."""
FIRST_MOMENTUM = 0.85


@dataclass(frozen=True)
class WeightGroup:
    """Weights that move alike.

    Args:
        masters: of each weight, moved in place.
        grads: of each, in the master's type; a rule may use them up.
        rates: learning rate of each at this step.
        scales: what the rate of each is multiplied with (layer-wise rates); it is in `rates` already.
        factor: share of the peak rate at this step.
        number: updates made so far, this one counting.
        decay: of these weights, 0 for norms and biases.
        is_inner: matrices of one shape inside the blocks, which Muon moves.
        fast: the type in which this machine multiplies the model's matrices; Muon orthogonalises in it.
        kept: the moment of a name for each weight, made by the function where it is not there yet.
        stacked: matrices of one shape that lie on top of each other in each weight.
        shape: of the first weight as a whole, where this process holds a part of it.
        of_wholes: a function of whole weights, of which this process holds parts.
    """

    masters: list[Tensor]
    grads: list[Tensor]
    rates: list[float]
    scales: list[float]
    factor: float
    number: int
    decay: float
    is_inner: bool
    fast: torch.dtype
    kept: Callable[[str, Callable[[Tensor], Tensor]], list[Tensor]]
    stacked: int = 1
    shape: tuple[int, ...] = ()
    of_wholes: Callable[[list[Tensor], Callable[[list[Tensor]], list[Tensor]]], list[Tensor]] = lambda ts, f: f(ts)

    def moments(self, name: str) -> list[Tensor]:
        """The moment of this name, zeros at first."""
        return self.kept(name, torch.zeros_like)

    def shrink(self) -> None:
        """Weight decay."""
        if self.decay:
            torch._foreach_mul_(self.masters, [1 - rate * self.decay for rate in self.rates])

    def subtract(self, moves: Any, over: float = 1.0) -> None:
        """Move each weight by -rate / over * its move, which is used up."""
        torch._foreach_mul_(moves, [-rate / over for rate in self.rates])
        torch._foreach_add_(self.masters, moves)


def adamw(group: WeightGroup, s: Adam) -> None:
    """Adam, decay apart: Loshchilov & Hutter 2019, arXiv:1711.05101, algorithm 2."""
    m, root = group.moments("first"), _root_of_second(group, s)
    torch._foreach_lerp_(m, group.grads, 1 - s.betas[0])
    group.shrink()
    group.subtract(torch._foreach_div(m, root), 1 - s.betas[0] ** group.number)


def _root_of_second(group: WeightGroup, s: Adam) -> Any:
    """The unbiased second moment after this gradient: its root, and eps."""
    v, beta = group.moments("second"), s.betas[1]
    torch._foreach_mul_(v, beta)
    torch._foreach_addcmul_(v, group.grads, group.grads, 1 - beta)
    root = torch._foreach_div(torch._foreach_sqrt(v), math.sqrt(1 - beta**group.number))
    torch._foreach_add_(root, s.eps)
    return root


def schedule_free(group: WeightGroup, s: ScheduleFree) -> None:
    """The masters are y, where gradients are taken; z is Adam's path, x = (y - (1 - beta) z) / beta its average.

    Source: Defazio et al. 2024, arXiv:2405.15682, algorithm 1.
    """
    beta = s.betas[0]
    z, total = group.kept("path", torch.clone), group.kept("weight", lambda _: torch.zeros((), dtype=torch.float64))
    moves = torch._foreach_div(group.grads, _root_of_second(group, s))
    if group.decay:
        torch._foreach_add_(moves, group.masters, alpha=group.decay)
    for y, zk, move, weight, rate in zip(group.masters, z, moves, total, group.rates, strict=True):
        weight.add_(group.factor**2)  # the average is weighted by the squared rate (section 4 of the paper)
        share = group.factor**2 / float(weight)
        y.lerp_(zk, share).add_(move, alpha=rate * (beta * (1 - share) - 1))
        zk.sub_(move, alpha=rate)


def lion(group: WeightGroup, s: Lion) -> None:
    """Chen et al. 2023, arXiv:2302.06675, algorithm 2."""
    m = group.moments("first")
    moves = torch._foreach_lerp(m, group.grads, 1 - s.betas[0])
    torch._foreach_sign_(moves)
    torch._foreach_lerp_(m, group.grads, 1 - s.betas[1])
    group.shrink()
    group.subtract(moves)


def sgd(group: WeightGroup, s: Sgd) -> None:
    """Momentum as torch.optim.SGD has it, without dampening."""
    m = group.moments("momentum")
    torch._foreach_mul_(m, s.momentum)
    torch._foreach_add_(m, group.grads)
    moves = torch._foreach_add(group.grads, m, alpha=s.momentum) if s.nesterov else torch._foreach_mul(m, 1.0)
    group.shrink()
    group.subtract(moves)


def adagrad(group: WeightGroup, s: Adagrad) -> None:
    """Duchi, Hazan & Singer 2011, JMLR 12, the diagonal form."""
    v = group.moments("squares")
    torch._foreach_addcmul_(v, group.grads, group.grads, 1.0)
    root = torch._foreach_sqrt(v)
    torch._foreach_add_(root, s.eps)
    group.shrink()
    group.subtract(torch._foreach_div(group.grads, root))


def adafactor(group: WeightGroup, s: Adafactor) -> None:
    """Shazeer & Stern 2018, arXiv:1804.04235, algorithms 4 and 5; the rate is at most 1 / sqrt(updates), as torch's."""
    rows = group.kept("rows", lambda master: _row_means(torch.zeros_like(master)))
    columns = group.kept("columns", lambda master: _column_means(torch.zeros_like(master)))
    fresh, sizes = group.number**-s.decay_power, []
    for master, grad, row, column, rate in zip(group.masters, group.grads, rows, columns, group.rates, strict=True):
        row.lerp_(_row_means(grad.square()), fresh)
        column.lerp_(_column_means(grad.square()), fresh)
        grad.mul_(_factored(row, column, grad).rsqrt())
        scale = max(s.min_scale, _rms(master)) / max(1.0, _rms(grad) / s.threshold)
        sizes.append(scale * min(rate, group.number**-0.5))
    group.shrink()
    torch._foreach_mul_(group.grads, sizes)
    torch._foreach_sub_(group.masters, group.grads)


def _row_means(squares: Tensor) -> Tensor:
    """Of a matrix [m, n] the means of its rows [m, 1]; a vector as it is."""
    return squares if squares.dim() < 2 else squares.mean(dim=-1, keepdim=True)


def _column_means(squares: Tensor) -> Tensor:
    """Of a matrix [m, n] the means of its columns [1, n]; nothing of a vector."""
    return squares.new_zeros(()) if squares.dim() < 2 else squares.mean(dim=-2, keepdim=True)


def _factored(row: Tensor, column: Tensor, like: Tensor) -> Tensor:
    """The second moment of each entry, rebuilt from rows and columns."""
    tiny = torch.finfo(like.dtype).eps
    if like.dim() < 2:
        return row.clamp(min=tiny**2)
    return (row * column / row.mean(dim=-2, keepdim=True).clamp(min=tiny)).clamp(min=tiny**2)


def _rms(tensor: Tensor) -> float:
    return float(tensor.norm()) / math.sqrt(tensor.numel())


def muon(group: WeightGroup, s: Muon) -> None:
    """Matrices of one shape [m, n], stacked: many small products become one. Tall ones move sqrt(m / n) further.

    What lies outside the blocks is moved by AdamW. Source: Jordan 2024, Muon.
    """
    if not group.is_inner:
        return adamw(group, s)
    m, momentum = group.moments("momentum"), _momentum(group.number, s)
    torch._foreach_lerp_(m, group.grads, 1 - momentum)
    torch._foreach_lerp_(group.grads, m, momentum)
    moves = group.of_wholes(group.grads, partial(_orthogonal_moves, stacked=group.stacked, fast=group.fast))
    height, width = group.shape[-2:]
    size = math.sqrt(max(1.0, height // group.stacked / width))
    for master, move, scale in zip(group.masters, moves, group.scales, strict=True):
        rate = s.matrix_rate * group.factor * scale
        decayed = (master * move > 0).to(master.dtype) if s.cautious else 1.0
        master.mul_(1 - rate * s.weight_decay * decayed).add_(move, alpha=-rate * size)


def _orthogonal_moves(grads: list[Tensor], *, stacked: int, fast: torch.dtype) -> list[Tensor]:
    together = torch.stack(grads)
    *many, height, width = together.shape
    moves = orthogonal(together.view(*many, stacked, height // stacked, width), fast)
    return list(moves.flatten(-3, -2).to(grads[0].dtype))


def _momentum(number: int, s: Muon) -> float:
    if number > s.momentum_warmup:
        return s.momentum
    return FIRST_MOMENTUM + (s.momentum - FIRST_MOMENTUM) * (number - 1) / s.momentum_warmup


def orthogonal(matrices: Tensor, fast: torch.dtype = torch.bfloat16) -> Tensor:
    """Nearest orthogonal matrices of a stack [..., m, n], by Newton-Schulz in the `fast` type."""
    x = matrices.to(fast)
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    x = x / (x.norm(dim=(-2, -1), keepdim=True) * 1.02 + 1e-6)
    for a, b, c in NEWTON_SCHULZ:
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    found: Tensor = x.mT if tall else x
    return found
