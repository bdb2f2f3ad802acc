"""Several processes compute a part of every block each, over the same rows.

    q, k, v, gate, up   each process has some of the rows: its heads, its hidden units          ("colwise")
    o, down             each has the columns that read them; what comes out is summed           ("rowwise")
    forward             one sum after the attention, one after the feed-forward part
    backward            one where each branch begins

Which layer is which says the model's own plan (transformers' `base_model_tp_plan`), or that of its family. The table
and the head stay whole: the loss reads the head's matrix chunk by chunk. Source: Shoeybi et al. 2019, arXiv:1909.08053.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pretune.base.errors import NotSupported
from pretune.model.families import family_of, plain_model
from pretune.train.parallel.mesh import Axis
from pretune.train.parallel.pieces import Piece
from pretune.train.parallel.settings import check_heads

COLUMNS, ROWS, SUMMED = "colwise", "rowwise", "replicated_with_grad_allreduce"


class _Begins(torch.autograd.Function):
    """As it is; backward the sum over the processes."""

    @staticmethod
    def forward(context: Any, states: Tensor, axis: Axis) -> Tensor:
        context.axis = axis
        return states.view_as(states)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return context.axis.sum(gradients[0].clone(memory_format=torch.contiguous_format)), None


class _Ends(torch.autograd.Function):
    """The sum over the processes; backward as it is."""

    @staticmethod
    def forward(context: Any, states: Tensor, axis: Axis) -> Tensor:
        return axis.sum(states.clone(memory_format=torch.contiguous_format))

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


class ColumnLinear(nn.Linear):
    """A layer that gives some of its outputs."""

    axis: Axis

    def forward(self, input: Tensor) -> Tensor:
        states: Tensor = _Begins.apply(input, self.axis)  # type: ignore[no-untyped-call]
        return F.linear(states, self.weight, self.bias)


class RowLinear(nn.Linear):
    """A layer that reads some of its inputs; the bias is added once."""

    axis: Axis

    def forward(self, input: Tensor) -> Tensor:
        states: Tensor = _Ends.apply(F.linear(input, self.weight), self.axis)  # type: ignore[no-untyped-call]
        return states if self.bias is None else states + self.bias


def split(model: Any, axis: Axis) -> tuple[dict[str, Piece], set[str]]:
    """Leave in the blocks what this process computes, in place.

    Returns:
        What of the split weights is left, by name; names of whole weights whose gradients must be summed, for each
        process saw them work on its heads alone.

    Raises:
        NotSupported: nobody said how blocks of this family are split.
        WrongValue: heads or hidden units cannot be dealt evenly.
    """
    core = plain_model(model)
    check_heads(core.config.get_text_config().to_dict(), axis.size)
    styles = _styles(core)
    pieces: dict[str, Piece] = {}
    summed: set[str] = set()
    for name, module in core.named_modules():
        style = styles.get(re.sub(r"\.\d+\.", ".*.", name))
        if style == SUMMED:
            summed |= {f"{name}.{leaf}" for leaf, _ in module.named_parameters()}
        elif style in (COLUMNS, ROWS):
            pieces |= _split(name, module, axis, style)
    return pieces, summed


def can_split(model: Any) -> bool:
    """Whether somebody said how blocks of this family are split, by layers that can be."""
    try:
        _styles(plain_model(model))
    except NotSupported:
        return False
    return True


def _styles(core: Any) -> Mapping[str, str]:
    """Name of a module, with * for the number of its block -> what it is."""
    kind, family = core.config.model_type, family_of(core)
    plan = getattr(core.config.get_text_config(), "base_model_tp_plan", None) or family.tensor_plan
    if not plan:
        problem = f"parallel.tensor: nobody has said how the blocks of a {kind} model are split"
        raise NotSupported(problem, hint="take parallel.shard; qwen3, llama, gemma3, bert and their like can be split")
    prefix = f"{core.base_model_prefix}." if core.base_model is not core else ""
    if odd := sorted(set(plan.values()) - {COLUMNS, ROWS, SUMMED}):
        raise NotSupported(f"parallel.tensor: a {kind} model has layers to split by {odd[0]}", hint="parallel.shard")
    return {prefix + name: style for name, style in plan.items()}


def _split(name: str, module: Any, axis: Axis, style: str) -> dict[str, Piece]:
    if type(module) is not nn.Linear:
        problem = f"parallel.tensor: {name} is a {type(module).__name__}, and only plain layers are split"
        raise NotSupported(problem, hint="method=full, or parallel.shard")
    dim, found = int(style == ROWS), {}
    for leaf, parameter in list(module.named_parameters()):
        if leaf == "bias" and style == ROWS:
            continue
        shape = tuple(parameter.shape)
        size = shape[dim] // axis.size
        found[f"{name}.{leaf}"] = Piece(shape, (0,) * len(shape), shape).within(dim, axis.index * size, size)
        mine = parameter.detach().narrow(dim, axis.index * size, size).clone()
        setattr(module, leaf, nn.Parameter(mine, requires_grad=parameter.requires_grad))
    module.__class__ = RowLinear if style == ROWS else ColumnLinear
    vars(module)["axis"] = axis
    return found
