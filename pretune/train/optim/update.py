"""One optimizer update over float32 masters, state by parameter name; the arithmetic itself is in update_rules.py.

Weights in bfloat16 lose updates smaller than 1/256 of themselves, so each trained weight has a float32
master here; the model's own weight is a rounded copy of it. In float32 (or float64) the weight is its
own master.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from importlib import import_module
from pathlib import Path

import torch
from torch import Tensor, nn

from pretune.model.families import family_of
from pretune.train.optim.moments import CODES, SCALES, Files, is_packed, pack, unpack
from pretune.train.optim.settings import Muon, Optim, ScheduleFree
from pretune.train.optim.update_rules import WeightGroup
from pretune.train.parallel.pieces import ALL, Piece, Pieces, here

BEGAN = "began"
"""Among the moments of a weight that was set free later: updates that were made before."""


class Update:
    """The optimizer of a model's trained parameters.

    Args:
        model: parameters with `requires_grad` are trained.
        compute_dtype: the type that the model computes in, where it is narrower than its weights' own: the
            parameters are cast (buffers are not: rotary frequencies need float32), their exact values kept.
        scales: factor on the learning rate by parameter name (layer-wise rates); 1 where absent.
        folder: for files of masters and moments, with offload=disk; a temporary one if it is not given.
        pieces: what of each weight lies in this process.
        shown: the whole model that is evaluated and saved, where this process trains a part of it.
    """

    def __init__(
        self,
        model: nn.Module,
        settings: Optim,
        *,
        compute_dtype: torch.dtype | None = None,
        scales: dict[str, float] | None = None,
        folder: Path | None = None,
        pieces: Pieces = ALL,
        shown: nn.Module | None = None,
    ):
        self.settings = settings
        module, _, name = settings.rule.partition(":")
        self.rule: Callable[[WeightGroup, Optim], None] = getattr(import_module(module), name)
        self.family, self.pieces = family_of(model), pieces
        self.every = dict(model.named_parameters())
        self.weights = {name: p for name, p in self.every.items() if p.requires_grad}
        assert self.weights, "nothing is set to train"
        # In bfloat16 only where the model computes in it: elsewhere its products may be the slower ones.
        fast = compute_dtype if compute_dtype == torch.bfloat16 else None  # a product of float16 overflows
        self.fast = fast or next(iter(self.weights.values())).dtype
        self.files = Files(folder) if settings.offload == "disk" else None
        narrow = None if pieces.casts else compute_dtype
        self.has_master_weights = narrow is not None or settings.offload == "cpu"
        self.exact = {n: self._exact(n, p) for n, p in self.every.items()}
        if narrow:
            self.family.narrow(model, narrow)
        self.masters = {n: self.exact[n] for n in self.weights}
        self.moments: dict[str, dict[str, Tensor]] = {n: {} for n in self.weights}
        self.moving = list(self.weights)
        self.normed, self.norms = list(self.weights), torch.zeros(len(self.weights))
        self.open: list[tuple[str, str]] = []
        self.grad_scale = 1.0  # what the gradients are multiplied with, a power of two (loop/scaling.py)
        self.scales = scales or {}
        self.shown = dict(shown.named_parameters()) if shown is not None else self.every
        self.matrices = self.family.matrices(shown or model) if isinstance(settings, Muon) else set()

    def _exact(self, name: str, parameter: nn.Parameter) -> Tensor:
        """The exact values of a parameter, where they shall lie; without masters apart they are its own."""
        trains = name in self.weights
        if self.settings.offload == "cpu" and trains:
            return here(parameter).detach().to("cpu", copy=True)
        if self.files is not None and trains:
            placed = self.files.keep(parameter.data, f"master-{name}")
            parameter.data = parameter.data if self.has_master_weights else placed
            return placed
        return here(parameter).detach().clone() if self.has_master_weights else here(parameter.data)

    @property
    def trained(self) -> list[str]:
        """Names of the weights that train, in whatever process they lie."""
        return [name for name, parameter in self.shown.items() if parameter.requires_grad]

    @contextmanager
    def exact_weights(self) -> Iterator[None]:
        """The model computes with the weights that are evaluated and saved (and in their type) inside this block."""
        narrow = {n: p.data for n, p in self.shown.items()}
        for name, tensor in self.final().items():
            self.shown[name].data = tensor.to(self.shown[name].device)
        try:
            yield
        finally:
            for name, parameter in self.shown.items():
                parameter.data = narrow[name]

    def looked_at(self) -> AbstractContextManager[None]:
        """The model computes as it is in training inside this block; one that lies in parts as in `exact_weights`."""
        return self.exact_weights() if self.pieces.is_cut else nullcontext()

    @torch.no_grad()
    def final(self) -> dict[str, Tensor]:
        """The weights that are evaluated and saved, by name: exact, and averaged where an average was asked for.

        Whole, where processes hold parts of them: then all of them must ask.
        """
        mine = {name: self._final(name, exact) for name, exact in self.exact.items()}
        return self.pieces.whole(mine, next(iter(mine.values()))) if self.pieces.is_cut else mine

    def settle(self) -> None:
        """Training is over: every process has the whole model, and may go on alone."""
        if not self.pieces.is_cut:
            return
        found, self.pieces = self.final(), ALL
        for name, parameter in self.shown.items():
            parameter.data = found[name]
        self.every, self.exact = self.shown, found
        self.weights = {name: p for name, p in self.shown.items() if p.requires_grad}
        self.masters = {name: found[name] for name in self.weights}
        self.moments = {name: {} for name in self.weights}
        self.has_master_weights = False

    def _final(self, name: str, exact: Tensor) -> Tensor:
        moments = self.moments.get(name, {})
        if "average" in moments:
            return moments["average"]
        if "path" in moments and isinstance(self.settings, ScheduleFree):
            return exact.lerp(moments["path"], 1 - 1 / self.settings.betas[0])
        return exact

    @torch.no_grad()
    def replace(self, weights: Mapping[str, Tensor]) -> None:
        """These are the final weights, by name; nothing is averaged any more."""
        for name in weights:
            if self.pieces.is_cut and name not in self.masters:
                continue  # another process holds it
            mine = self.pieces.cut(name, weights[name])
            self.masters[name].copy_(mine)
            here(self.weights[name]).copy_(mine)
            self.moments[name].clear()

    def keep_gradients(self, names: Collection[str]) -> None:
        """Drop the gradients of all other weights: they do not move at this step."""
        chosen = set(names)
        self.moving = [n for n in self.weights if n in chosen]
        for name in self.weights.keys() - set(self.moving):
            self.weights[name].grad = None

    @torch.no_grad()
    def gradient_norm(self) -> float:
        """Norm of the gradient of the weights that move, in float32 or wider."""
        grads = [here(grad) for n in self.moving if (grad := self.weights[n].grad) is not None]
        assert len(grads) == len(self.moving), self._without_gradient()
        wide = torch.float64 if grads[0].dtype == torch.float64 else torch.float32
        self.normed, self.norms = self.pieces.norms(self.moving, torch.stack(torch._foreach_norm(grads, dtype=wide)))
        self.norms = self.norms / self.grad_scale
        return float(torch.linalg.vector_norm(self.norms))

    def _without_gradient(self) -> str:
        missing = [n for n in self.moving if self.weights[n].grad is None]
        return f"parameters meant to train have no gradient: {missing[:3]}"

    def first_without_norm(self) -> str | None:
        """The first weight whose last gradient was not finite."""
        return _first_infinite(self.normed, self.norms)

    @torch.no_grad()
    def broken(self) -> str | None:
        """The first weight that holds what is no number (a sum is none if one of its parts is none)."""
        both = [(n, self.masters[n]) for n in self.masters]
        both += [(n, self.weights[n]) for n in self.weights if self.has_master_weights]
        sums = torch.stack([tensor.sum(dtype=torch.float64).cpu() for _, tensor in both])
        return _first_infinite([name for name, _ in both], sums)

    def norms_by_part(self) -> dict[str, float]:
        """Norm of the last gradient whose norm was taken, of each part of the model (model/families)."""
        squares: dict[str, float] = {}
        for name, norm in zip(self.normed, self.norms.tolist(), strict=True):
            part = self.family.part_of(name)
            squares[part] = squares.get(part, 0.0) + norm**2
        return {part: math.sqrt(total) for part, total in sorted(squares.items())}

    @torch.no_grad()
    def step(self, number: int, factor: float, *, clip_scale: float = 1.0, average: float = 1.0) -> None:
        """Move the masters, copy them into the weights, drop the gradients.

        Args:
            number: updates made so far, this one counting (for Adam's bias correction).
            factor: share of the peak learning rate.
            clip_scale: what the gradient is multiplied with.
            average: how much of the average the weights after this step make up.
        """
        named = [n for n in self.moving if self.weights[n].grad is not None]
        assert len(named) == len(self.moving), self._without_gradient()
        grads = {n: self._gradient(n).mul_(clip_scale / self.grad_scale) for n in named}
        for names, decay, is_inner in self._groups(named, number):
            own = number - self._began(names[0])
            self.rule(self._group(names, grads, own, factor, decay, is_inner), self.settings)
            self._close()
        if self.settings.average.kind != "none":
            torch._foreach_lerp_(self._kept(named, "average", torch.clone), [self.masters[n] for n in named], average)
        for name in named:
            if self.has_master_weights:
                here(self.weights[name]).copy_(self.masters[name])
            self.weights[name].grad = None

    def _gradient(self, name: str) -> Tensor:
        """In the type of the master, and where it lies."""
        grad = self.weights[name].grad
        assert grad is not None
        return here(grad).to(self.masters[name].device, self.masters[name].dtype)

    def _began(self, name: str) -> int:
        """Updates that were made before the first one of this weight."""
        return int(self.moments[name].get(BEGAN, 0))

    def _groups(self, named: list[str], number: int) -> Iterator[tuple[list[str], float, bool]]:
        """(names, weight decay, are they matrices that Muon moves) of weights that move alike, and have for as long."""
        if number > 1:  # moments of what is set free later are as young as itself
            for name in [name for name in named if not self.moments[name]]:
                self.moments[name][BEGAN] = torch.tensor(number - 1)
        for began in sorted({self._began(name) for name in named}):
            yield from self._of_an_age([name for name in named if self._began(name) == began])

    def _of_an_age(self, named: list[str]) -> Iterator[tuple[list[str], float, bool]]:
        plain = [n for n in named if n not in self.matrices]
        for decay, names in _by_decay(self.masters, plain, self.settings.weight_decay):
            # One at a time in eight bits, so that one at a time is unpacked.
            for part in [[n] for n in names] if self.settings.moments == "8bit" else [names]:
                yield part, decay, False
        for names in self._alike([n for n in named if n in self.matrices]):
            yield names, self.settings.weight_decay, True

    def _alike(self, names: list[str]) -> list[list[str]]:
        """Names whose tensors can be stacked, so that many small products become one."""
        kinds = {name: (self.pieces.shape(name, self.masters[name]), self.family.stacked(name)) for name in names}
        return [[n for n in names if kinds[n] == kind] for kind in sorted(set(kinds.values()))]

    def _group(
        self, names: list[str], grads: dict[str, Tensor], number: int, factor: float, decay: float, is_inner: bool
    ) -> WeightGroup:
        rates = [self.settings.rate * factor * self.scales.get(n, 1.0) for n in names]
        kept = partial(self._kept, names)
        masters, mine = [self.masters[n] for n in names], [grads[n] for n in names]
        scales = [self.scales.get(n, 1.0) for n in names]
        return WeightGroup(
            masters,
            mine,
            rates,
            scales,
            factor,
            number,
            decay,
            is_inner,
            self.fast,
            kept,
            stacked=self.family.stacked(names[0]),
            shape=self.pieces.shape(names[0], masters[0]),
            of_wholes=partial(self.pieces.of_wholes, names),
        )

    def _kept(self, names: list[str], kind: str, make: Callable[[Tensor], Tensor]) -> list[Tensor]:
        """The moment `kind` of each of these weights, made where it is not there yet."""
        return [self._opened(name, kind, make) for name in names]

    def _opened(self, name: str, kind: str, make: Callable[[Tensor], Tensor]) -> Tensor:
        kept, master = self.moments[name], self.masters[name]
        if kind not in kept:
            if kind + CODES in kept:
                kept[kind] = unpack(kept[kind + CODES], kept[kind + SCALES], kind, master)
            else:
                made = make(master)
                kept[kind] = self.files.keep(made, f"{kind}-{name}") if self.files is not None else made
        if self.settings.moments == "8bit" and is_packed(kind, master):
            self.open.append((name, kind))
        return kept[kind]

    def _close(self) -> None:
        """Pack the moments that were opened."""
        for name, kind in self.open:
            kept = self.moments[name]
            kept[kind + CODES], kept[kind + SCALES] = pack(kept.pop(kind), kind)
        self.open.clear()

    def held(self) -> dict[str, Piece]:
        """What of each trained weight lies here."""
        return {name: self.pieces.piece(name, master) for name, master in self.masters.items()}

    def state(self) -> dict[str, Tensor]:
        """Masters and moments by name, for a checkpoint."""
        kept = {f"master/{n}": t for n, t in self.masters.items()}
        return kept | {f"{kind}/{n}": t for n, moments in self.moments.items() for kind, t in moments.items()}

    @torch.no_grad()
    def load(self, state: dict[str, Tensor]) -> None:
        """Take masters and moments back; every master must be there and have its shape."""
        names = {key.partition("/")[2] for key in state if key.startswith("master/")}
        assert names == set(self.masters), f"other parameters: {sorted(names ^ set(self.masters))[:3]}"
        for kept in self.moments.values():  # those of a run that goes back may be younger than the checkpoint
            kept.clear()
        for key, tensor in state.items():
            kind, _, name = key.partition("/")
            if kind == "master":
                self.masters[name].copy_(tensor)
                here(self.weights[name]).copy_(tensor)
            else:
                mine = tensor.to(self.masters[name].device, copy=True)
                self.moments[name][kind] = self.files.keep(mine, f"{kind}-{name}") if self.files is not None else mine


def _first_infinite(names: list[str], numbers: Tensor) -> str | None:
    """The first of these names whose number [N] is not finite."""
    return next((n for n, is_fine in zip(names, numbers.isfinite().tolist(), strict=True) if not is_fine), None)


def _by_decay(masters: dict[str, Tensor], names: list[str], decay: float) -> Iterator[tuple[float, list[str]]]:
    """Matrices are decayed, norms and biases are not."""
    split = (decay, [n for n in names if masters[n].dim() > 1]), (0.0, [n for n in names if masters[n].dim() <= 1])
    yield from ((share, group) for share, group in split if group)
