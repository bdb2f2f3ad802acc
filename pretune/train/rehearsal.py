"""A training step rehearsed without memory: what it would allocate, and which operations it would run.

    found = rehearse(build, objective, batches)
    found.peak_bytes          weights, gradients, masters, moments, activations, logits: the most at one time
    found.operations          (operation, shapes and types) -> how often in one step

The real model, objective, loop and optimizer run, but on fake tensors, which have a shape and no content. So there is
no second formula to keep in step with the code: whatever the step becomes, this is what it would take. Every storage
that appears is counted until it is dropped. Price: about a tenth of a millisecond an operation, whatever the size.
"""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves, tree_map

from pretune.objective.base import Batch, Objective
from pretune.train.heap import Heap
from pretune.train.loop import TrainState, take_step
from pretune.train.runtime import Runtime


@dataclass(frozen=True)
class Form:
    """A tensor without its content."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype
    device: str

    @property
    def num_bytes(self) -> int:
        """Bytes that it reaches over in memory (an expanded tensor takes what it was expanded from)."""
        reach = sum((n - 1) * s for n, s in zip(self.shape, self.stride, strict=True)) + 1
        return reach * self.dtype.itemsize if 0 not in self.shape else 0


@dataclass(frozen=True)
class Operation:
    """One call of torch: a function, and its arguments with forms in the place of tensors."""

    function: Any
    arguments: Any
    named: Any

    def forms(self) -> list[Form]:
        return [leaf for leaf in tree_leaves((self.arguments, self.named)) if isinstance(leaf, Form)]

    def __str__(self) -> str:
        return f"{self.function} {self.arguments} {self.named}"


@dataclass
class Rehearsal:
    """What one step takes.

    Args:
        peak_bytes: the most that lives at one time, weights and all.
        resting_bytes: what lives between two steps.
        operations: of the last step, by their text; and how often each runs.
    """

    peak_bytes: int = 0
    resting_bytes: int = 0
    operations: dict[str, Operation] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)


class Tape(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts storages while they live, and operations; a heap takes a block for each storage."""

    def __init__(self, heap: Heap | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found = Rehearsal()
        self.live = 0
        self.heap = heap
        self.known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.ops.aten._local_scalar_dense.default:
            return 1.0 if args[0].is_floating_point() else 1  # whoever asks for a number gets a finite one
        out = func(*args, **kwargs)
        if func.namespace == "prim":  # questions that only fake tensors are asked
            return out
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                self.count(leaf)
        operation = Operation(_in_step(func, args), *tree_map(_form, (args, kwargs)))
        self.found.operations.setdefault(str(operation), operation)
        self.found.counts[str(operation)] += 1
        return out

    def count(self, tensor: Tensor) -> None:
        """From now on until it is dropped, the tensor's storage lives."""
        storage = tensor.untyped_storage()
        number, size = id(storage), storage.nbytes()
        if number in self.known:
            return
        self.known.add(number)
        self.live += size
        self.found.peak_bytes = max(self.found.peak_bytes, self.live)
        with _disable_current_modes():
            block = self.heap.take(size) if self.heap else []
        weakref.finalize(storage, self._drop, number, size, block)

    def _drop(self, number: int, size: int, block: list[Tensor]) -> None:
        self.known.discard(number)
        self.live -= size
        block.clear()


def rehearse(
    build: Callable[[], TrainState],
    objective: Objective,
    batches: Sequence[Batch],
    runtime: Runtime | None = None,
    heap: Heap | None = None,
) -> Rehearsal:
    """Build the model and its optimizer, and take two steps, all without memory; three where a heap takes part.

    In the first the moments are made. A heap grows in the third, a little in some more, and then no longer.

    Args:
        build: makes a fresh model and state; it runs where every tensor that is made is fake.
        batches: the micro-batches of a step.
        heap: where a block is taken for everything that would be allocated.
    """
    tape = Tape(heap)
    with torch.random.fork_rng(), FakeTensorMode(allow_non_fake_inputs=True) as fakes, tape:
        state = build()
        state.model.train()
        for _ in range(3 if heap else 2):
            tape.found.operations.clear()
            tape.found.counts.clear()
            fake: list[Batch] = [
                {name: fakes.from_tensor(tensor) for name, tensor in batch.items()} for batch in batches
            ]
            for tensor in [tensor for batch in fake for tensor in batch.values()]:
                tape.count(tensor)
            take_step(state, objective, fake, runtime or Runtime())
            tape.found.resting_bytes = tape.live
    return tape.found


def weightless(make: Callable[[], nn.Module], device: torch.device) -> Any:
    """The module that `make` makes, with fresh tensors on `device`; for `build` of a rehearsal.

    It is made on the device meta, outside the rehearsal: fake modules cannot be moved or cast, and PEFT moves them.
    """
    with _disable_current_modes(), torch.device("meta"):
        model = make()
    fresh: dict[int, Any] = {}
    for module in model.modules():
        both: tuple[dict[str, Any], ...] = (module._parameters, module._buffers)
        for kept in both:
            for name, tensor in kept.items():
                if tensor is not None:
                    kept[name] = fresh.setdefault(id(tensor), _fresh(tensor, device))
    return model


def _fresh(tensor: Tensor, device: torch.device) -> Any:
    empty = torch.empty(tensor.shape, dtype=tensor.dtype, device=device)
    return nn.Parameter(empty, requires_grad=tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty


def _in_step(func: Any, args: Any) -> Any:
    """The operation that runs in a real step: there, backward adds gradients in place; fake tensors forbid it that."""
    is_sum = func is torch.ops.aten.add.Tensor and isinstance(args[1], Tensor) and args[0].shape == args[1].shape
    return torch.ops.aten.add_.Tensor if is_sum and torch._C._current_graph_task_id() != -1 else func


def _form(leaf: Any) -> Any:
    if not isinstance(leaf, Tensor):
        return leaf
    return Form(tuple(leaf.shape), tuple(leaf.stride()), leaf.dtype, leaf.device.type)


def real(operation: Operation) -> tuple[Any, Any]:
    """Arguments for the operation, with content: floats in 0 ... 1, integers that are small enough to be indices."""
    sides = [side for form in operation.forms() if form.dtype.is_floating_point for side in form.shape if side > 1]
    below = min(sides, default=2)
    filled: Iterator[Any] = (_filled(leaf, below) for leaf in (operation.arguments, operation.named))
    arguments, named = filled
    return arguments, named


def _filled(tree: Any, below: int) -> Any:
    return tree_map(lambda leaf: _tensor(leaf, below) if isinstance(leaf, Form) else leaf, tree)


def _tensor(form: Form, below: int) -> Tensor:
    number = form.num_bytes // form.dtype.itemsize
    if form.dtype.is_floating_point:
        flat = torch.rand(number, device=form.device).to(form.dtype)
    else:
        flat = (torch.arange(number, device=form.device) % below).to(form.dtype)
    return flat.as_strided(form.shape, form.stride)
