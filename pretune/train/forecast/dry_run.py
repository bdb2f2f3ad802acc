"""A dry run: a training step without memory, what it would allocate, and how much it would multiply.

    small, large = dry_run(build, objective, [batches of few rows, batches of more])
    large.peak_bytes          weights, gradients, masters, moments, activations, logits: the most at one time
    large.flops               of all its matrix products, the optimizer's too

The real model, objective, loop and optimizer run, but on fake tensors, which have a shape and no content. So there is
no second formula to keep in step with the code: whatever the step becomes, this is what it would take. Every storage
that appears is counted until it is dropped. Price: about a tenth of a millisecond an operation, whatever the size.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from pretune.base.json import Json
from pretune.objective.objective import Objective
from pretune.tokens.rows import Batch
from pretune.train.loop.private import taking
from pretune.train.loop.runtime import Runtime
from pretune.train.loop.step import TrainState


@dataclass(frozen=True)
class Taken:
    """What one step takes.

    Args:
        peak_bytes: the most that lives at one time, weights and all.
        resting_bytes: what lives between two steps.
        flops: floating-point operations of its matrix products.
    """

    peak_bytes: int
    resting_bytes: int
    flops: float


class Tape(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts storages while they live, and what is multiplied."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.known: set[int] = set()
        self.live = self.peak = 0
        self.flops = 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.ops.aten._local_scalar_dense.default:
            return 1.0 if args[0].is_floating_point() else 1  # whoever asks for a number gets a finite one
        out = func(*args, **kwargs)
        if func.namespace != "prim":  # questions that only fake tensors are asked
            self.flops += _flops(func, args, kwargs, out)
            for leaf in tree_leaves(out):
                if isinstance(leaf, Tensor):
                    self.count(leaf)
        return out

    def count(self, tensor: Tensor) -> None:
        """From now on until it is dropped, the tensor's storage lives."""
        storage = tensor.untyped_storage()
        number, size = id(storage), storage.nbytes()
        if number not in self.known:
            self.known.add(number)
            self.live += size
            self.peak = max(self.peak, self.live)
            weakref.finalize(storage, self._drop, number, size)

    def _drop(self, number: int, size: int) -> None:
        self.known.discard(number)
        self.live -= size

    def begin(self) -> None:
        """What is told from now on is of a new step."""
        self.peak, self.flops = self.live, 0.0


def _flops(func: Any, args: Any, kwargs: Any, out: Any) -> float:
    """What torch reckons for the operation; an operation in place counts like the one that is not."""
    packet = func._overloadpacket
    if packet is torch.ops.aten._grouped_mm:  # torch has no formula: every row meets the matrix of its group
        return 2.0 * float(args[0].shape[-2] * args[0].shape[-1] * args[1].shape[-1])
    name = packet.__name__
    if name.endswith("_") and not name.startswith("_"):
        packet = getattr(torch.ops.aten, name[:-1], packet)
    formula = flop_registry.get(packet)
    return float(formula(*args, **kwargs, out_val=out)) if formula else 0.0


def dry_run(
    build: Callable[[], TrainState],
    objective: Objective,
    steps: Sequence[Sequence[Batch]],
    runtime: Runtime | None = None,
) -> list[Taken]:
    """Build the model and its optimizer, and take these steps, all without memory; what each of them takes.

    The first micro-batch is taken once before, as a step of its own, for in it the moments are made.

    Args:
        build: makes a fresh model and state; it runs where every tensor that is made is fake.
        steps: the micro-batches of each.
    """
    tape, found = Tape(), []
    with torch.random.fork_rng(), FakeTensorMode(allow_non_fake_inputs=True) as fakes, tape:
        state = build()
        state.train()
        for batches in [steps[0][:1], *steps]:
            tape.begin()
            fake: list[Batch] = [
                {name: fakes.from_tensor(tensor) for name, tensor in batch.items()} for batch in batches
            ]
            for tensor in [tensor for batch in fake for tensor in batch.values()]:
                tape.count(tensor)
            taking(state)(state, objective, fake, runtime or Runtime())
            found.append(Taken(tape.peak, tape.live, tape.flops))
    return found[1:]


def weightless(make: Callable[[], nn.Module], device: torch.device) -> Any:
    """The module that `make` makes, with fresh tensors on `device`; for `build` of a dry run.

    It is made on the device meta, outside the dry run: fake modules cannot be moved or cast, and PEFT moves them.
    """
    with _disable_current_modes(), torch.device("meta"):
        model = make()
    fresh: dict[int, Any] = {}
    for module in model.modules():
        both: tuple[Json, ...] = (module._parameters, module._buffers)
        for kept in both:
            for name, tensor in kept.items():
                if tensor is not None:
                    kept[name] = fresh.setdefault(id(tensor), _fresh(tensor, device))
    return model


def _fresh(tensor: Tensor, device: torch.device) -> Any:
    empty = torch.empty(tensor.shape, dtype=tensor.dtype, device=device)
    return nn.Parameter(empty, requires_grad=tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty
