"""One optimizer update over float32 masters, state by parameter name; the arithmetic itself is in rules.py.

Weights in bfloat16 lose updates smaller than 1/256 of themselves, so each trained weight has a float32
master here; the model's own weight is a rounded copy of it. In float32 (or float64) the weight is its
own master.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from pretune.train.optim import Muon, Optim, ScheduleFree
from pretune.train.rules import Group


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
        self.masters_apart = narrow is not None
        self.masters = {n: self.exact[n] for n in self.weights}
        self.moments: dict[str, dict[str, Tensor]] = {n: {} for n in self.weights}
        self.scales = scales or {}
        self.matrices = _muon_names(model, self.weights) if isinstance(settings, Muon) else set()

    @contextmanager
    def exact_weights(self) -> Iterator[None]:
        """The model computes with the weights that are evaluated and saved (and in their type) inside this block."""
        narrow = {n: p.data for n, p in self.every.items()}
        for name, tensor in self.final().items():
            self.every[name].data = tensor
        try:
            yield
        finally:
            for name, parameter in self.every.items():
                parameter.data = narrow[name]

    @torch.no_grad()
    def final(self) -> dict[str, Tensor]:
        """The weights that are evaluated and saved, by name: exact, and averaged where an average was asked for."""
        return {name: self._final(name, exact) for name, exact in self.exact.items()}

    def _final(self, name: str, exact: Tensor) -> Tensor:
        moments = self.moments.get(name, {})
        if "average" in moments:
            return moments["average"]
        if "path" in moments and isinstance(self.settings, ScheduleFree):
            return exact.lerp(moments["path"], 1 - 1 / self.settings.betas[0])
        return exact

    @torch.no_grad()
    def settle(self, weights: Mapping[str, Tensor]) -> None:
        """These are the final weights, by name; nothing is averaged any more."""
        for name, tensor in weights.items():
            self.masters[name].copy_(tensor)
            self.weights[name].copy_(tensor)
            self.moments[name].clear()

    @torch.no_grad()
    def gradient_norm(self) -> float:
        """Norm of the whole gradient, in float32 or wider."""
        grads = [w.grad for w in self.weights.values() if w.grad is not None]
        wide = torch.float64 if grads[0].dtype == torch.float64 else torch.float32
        norms = torch._foreach_norm(grads, dtype=wide)
        return float(torch.linalg.vector_norm(torch.stack(norms)))

    @torch.no_grad()
    def step(self, number: int, factor: float, *, clip_scale: float = 1.0, average: float = 1.0) -> None:
        """Move the masters, copy them into the weights, drop the gradients.

        Args:
            number: updates made so far, this one counting (for Adam's bias correction).
            factor: share of the peak learning rate.
            clip_scale: what the gradient is multiplied with.
            average: how much of the average the weights after this step make up.
        """
        named = [n for n, w in self.weights.items() if w.grad is not None]
        missing = [n for n in self.weights if n not in named]
        assert not missing, f"parameters meant to train have no gradient: {missing[:3]}"
        grads = {n: self.weights[n].grad.to(self.masters[n].dtype).mul_(clip_scale) for n in named}  # type: ignore[union-attr]
        for names, decay, is_inner in self._groups(named):
            self.settings.move(self._group(names, grads, number, factor, decay, is_inner))
        if self.settings.average.kind != "none":
            torch._foreach_lerp_(self._kept(named, "average", torch.clone), [self.masters[n] for n in named], average)
        for name in named:
            if self.masters_apart:
                self.weights[name].copy_(self.masters[name])
            self.weights[name].grad = None

    def _groups(self, named: list[str]) -> Iterator[tuple[list[str], float, bool]]:
        """(names, weight decay, are they matrices that Muon moves) of weights that move alike."""
        plain = [n for n in named if n not in self.matrices]
        for decay, names in _by_decay(self.masters, plain, self.settings.weight_decay):
            yield names, decay, False
        for names in _same_shape(self.masters, [n for n in named if n in self.matrices]):
            yield names, self.settings.weight_decay, True

    def _group(
        self, names: list[str], grads: dict[str, Tensor], number: int, factor: float, decay: float, is_inner: bool
    ) -> Group:
        rates = [self.settings.rate * factor * self.scales.get(n, 1.0) for n in names]
        kept = partial(self._kept, names)
        masters, mine = [self.masters[n] for n in names], [grads[n] for n in names]
        return Group(masters, mine, rates, factor, number, decay, is_inner, kept)

    def _kept(self, names: list[str], kind: str, make: Callable[[Tensor], Tensor]) -> list[Tensor]:
        """The moment `kind` of each of these weights, made where it is not there yet."""
        for name in names:
            if kind not in self.moments[name]:
                self.moments[name][kind] = make(self.masters[name])
        return [self.moments[name][kind] for name in names]

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
                self.moments[name][kind] = tensor.to(self.masters[name].device, copy=True)


def _muon_names(model: nn.Module, weights: dict[str, nn.Parameter]) -> set[str]:
    """Matrices inside the blocks: not embeddings, not heads."""
    tables = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    outer = ("lm_head", "classifier", "score", "cls.", "pooler")
    return {n for n, p in weights.items() if p.dim() == 2 and id(p) not in tables and not any(o in n for o in outer)}


def _same_shape(masters: dict[str, Tensor], names: list[str]) -> Iterator[list[str]]:
    """Names whose tensors can be stacked, so that many small products become one."""
    for shape in sorted({tuple(masters[n].shape) for n in names}):
        yield [n for n in names if tuple(masters[n].shape) == shape]


def _by_decay(masters: dict[str, Tensor], names: list[str], decay: float) -> Iterator[tuple[float, list[str]]]:
    """Matrices are decayed, norms and biases are not."""
    split = (decay, [n for n in names if masters[n].dim() > 1]), (0.0, [n for n in names if masters[n].dim() <= 1])
    yield from ((share, group) for share, group in split if group)
