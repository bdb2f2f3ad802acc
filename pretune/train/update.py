"""One optimizer update: AdamW and Muon over float32 masters, state by parameter name.

Weights in bfloat16 lose updates smaller than 1/256 of themselves, so each trained weight has a float32
master here; the model's own weight is a rounded copy of it. In float32 (or float64) the weight is its
own master.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from pretune.train.optim import Muon, Optim

NEWTON_SCHULZ = ((4.0848, -6.8946, 2.9270), (3.9505, -6.3029, 2.6377), (3.7418, -5.5913, 2.3037),
                 (2.8769, -3.1427, 1.2046), (2.8366, -3.0525, 1.2012))  # fmt: skip
"""Coefficients per iteration (You Jiacheng 2025, in modded-nanogpt): singular values end within 1 +- 0.1."""


class Update:
    """The optimizer of a model's trained parameters.

    Args:
        model: parameters with `requires_grad` are trained.
        narrow: the type that the model computes in, where it is narrower than its weights' own: the
            parameters are cast (buffers are not: rotary frequencies need float32), their exact values kept.
        scales: factor on the learning rate by parameter name (layer-wise rates); 1 where absent.
    """

    def __init__(
        self,
        model: nn.Module,
        settings: Optim,
        *,
        narrow: torch.dtype | None = None,
        scales: dict[str, float] | None = None,
    ):
        self.settings = settings
        self.every = dict(model.named_parameters())
        self.weights = {name: p for name, p in self.every.items() if p.requires_grad}
        assert self.weights, "nothing is set to train"
        self.exact = {n: p.detach().clone() if narrow else p.data for n, p in self.every.items()}
        if narrow:
            for parameter in self.every.values():
                parameter.data = parameter.data.to(narrow)
        self.masters = {n: self.exact[n] for n in self.weights}
        self.moments: dict[str, dict[str, Tensor]] = {n: {} for n in self.weights}
        self.scales = scales or {}
        self.matrices = _muon_names(model, self.weights) if isinstance(settings, Muon) else set()

    @contextmanager
    def exact_weights(self) -> Iterator[None]:
        """The model computes with its exact weights (and in their type) inside this block."""
        narrow = {n: p.data for n, p in self.every.items()}
        for name, parameter in self.every.items():
            parameter.data = self.exact[name]
        try:
            yield
        finally:
            for name, parameter in self.every.items():
                parameter.data = narrow[name]

    @torch.no_grad()
    def gradient_norm(self) -> float:
        """Norm of the whole gradient, in float32 or wider."""
        grads = [w.grad for w in self.weights.values() if w.grad is not None]
        wide = torch.float64 if grads[0].dtype == torch.float64 else torch.float32
        norms = torch._foreach_norm(grads, dtype=wide)
        return float(torch.linalg.vector_norm(torch.stack(norms)))

    @torch.no_grad()
    def step(self, number: int, factor: float, *, clip_scale: float = 1.0) -> None:
        """Move the masters, copy them into the weights, drop the gradients.

        Args:
            number: updates made so far, this one counting (for Adam's bias correction).
            factor: share of the peak learning rate.
            clip_scale: what the gradient is multiplied with.
        """
        named = [n for n, w in self.weights.items() if w.grad is not None]
        missing = [n for n in self.weights if n not in named]
        assert not missing, f"parameters meant to train have no gradient: {missing[:3]}"
        grads = {n: self.weights[n].grad.to(self.masters[n].dtype).mul_(clip_scale) for n in named}  # type: ignore[union-attr]
        self._adamw([n for n in named if n not in self.matrices], grads, number, factor)
        if isinstance(self.settings, Muon):
            for names in _same_shape(self.masters, [n for n in named if n in self.matrices]):
                self._muon(self.settings, names, grads, factor)
        for name in named:
            if self.masters[name].data_ptr() != self.weights[name].data_ptr():
                self.weights[name].copy_(self.masters[name])
            self.weights[name].grad = None

    def _adamw(self, names: list[str], grads: dict[str, Tensor], number: int, factor: float) -> None:
        s = self.settings
        first, second = s.betas
        for decayed, group in _by_decay(self.masters, names):
            if not group:
                continue
            m = [self._moment(n, "first") for n in group]
            v = [self._moment(n, "second") for n in group]
            g = [grads[n] for n in group]
            torch._foreach_lerp_(m, g, 1 - first)
            torch._foreach_mul_(v, second)
            torch._foreach_addcmul_(v, g, g, 1 - second)
            root = torch._foreach_div(torch._foreach_sqrt(v), math.sqrt(1 - second**number))
            torch._foreach_add_(root, s.eps)
            rates = [s.rate * factor * self.scales.get(n, 1.0) for n in group]
            masters = [self.masters[n] for n in group]
            if decayed and s.weight_decay:
                torch._foreach_mul_(masters, [1 - r * s.weight_decay for r in rates])
            steps = torch._foreach_div(m, root)
            torch._foreach_mul_(steps, [-r / (1 - first**number) for r in rates])
            torch._foreach_add_(masters, steps)

    def _muon(self, settings: Muon, names: list[str], grads: dict[str, Tensor], factor: float) -> None:
        momenta = [self._moment(n, "momentum") for n in names]
        g = [grads[n] for n in names]
        torch._foreach_lerp_(momenta, g, 1 - settings.momentum)
        torch._foreach_lerp_(g, momenta, settings.momentum)
        moves = orthogonal(torch.stack(g))
        rows, columns = moves.shape[-2:]
        rate = settings.matrix_rate * factor
        for name, move in zip(names, moves, strict=True):
            master = self.masters[name].mul_(1 - rate * settings.weight_decay)
            master.add_(move.to(master.dtype), alpha=-rate * math.sqrt(max(1.0, rows / columns)))

    def _moment(self, name: str, kind: str) -> Tensor:
        moments = self.moments[name]
        if kind not in moments:
            moments[kind] = torch.zeros_like(self.masters[name])
        return moments[kind]

    def state(self) -> dict[str, Tensor]:
        """Masters and moments by name, for a checkpoint."""
        kept = {f"master/{n}": t for n, t in self.masters.items()}
        return kept | {f"{kind}/{n}": t for n, moments in self.moments.items() for kind, t in moments.items()}

    @torch.no_grad()
    def load(self, state: dict[str, Tensor]) -> None:
        """Take masters and moments back; every master must be there and have its shape."""
        names = {key.partition("/")[2] for key in state if key.startswith("master/")}
        assert names == set(self.masters), f"other parameters: {sorted(names ^ set(self.masters))[:3]}"
        for key, tensor in state.items():
            kind, _, name = key.partition("/")
            if kind == "master":
                self.masters[name].copy_(tensor)
                self.weights[name].copy_(tensor)
            else:
                self._moment(name, kind).copy_(tensor)


def orthogonal(matrices: Tensor) -> Tensor:
    """Nearest orthogonal matrices of a stack [..., m, n], by Newton-Schulz in bfloat16 (float64 stays float64)."""
    x = matrices if matrices.dtype == torch.float64 else matrices.bfloat16()
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    x = x / (x.norm(dim=(-2, -1), keepdim=True) * 1.02 + 1e-6)
    for a, b, c in NEWTON_SCHULZ:
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    found: Tensor = x.mT if tall else x
    return found


def _muon_names(model: nn.Module, weights: dict[str, nn.Parameter]) -> set[str]:
    """Matrices inside the blocks: not embeddings, not heads."""
    tables = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    outer = ("lm_head", "classifier", "score", "cls.", "pooler")
    return {n for n, p in weights.items() if p.dim() == 2 and id(p) not in tables and not any(o in n for o in outer)}


def _same_shape(masters: dict[str, Tensor], names: list[str]) -> Iterator[list[str]]:
    """Names whose tensors can be stacked, so that many small products become one."""
    for shape in sorted({tuple(masters[n].shape) for n in names}):
        yield [n for n in names if tuple(masters[n].shape) == shape]


def _by_decay(masters: dict[str, Tensor], names: list[str]) -> Iterator[tuple[bool, list[str]]]:
    """Matrices are decayed, norms and biases are not."""
    yield True, [n for n in names if masters[n].dim() > 1]
    yield False, [n for n in names if masters[n].dim() <= 1]
