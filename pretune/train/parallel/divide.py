"""Dividing a model over the processes of a mesh, in place; what is evaluated and saved stays a whole model.

    tensor      blocks compute a part each          (tensor.py)
    pipeline    foreign blocks go                   (stages.py)
    shard       weights are dealt                   (shard.py)

The shell is the model as it was built, with shapes and without memory. While it is evaluated its weights are put
together (`Update.exact_weights`), in every process: 4 bytes a parameter, where training takes 16 and more.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from pretune.base.errors import NotSupported
from pretune.model.families import Family, family_of, plain_model
from pretune.train.parallel.mesh import Mesh
from pretune.train.parallel.pieces import Pieces, whole_piece
from pretune.train.parallel.shard import part_of, shard
from pretune.train.parallel.stages import Line, cut
from pretune.train.parallel.tensor import split


def shell_of(model: Any) -> Any:
    """A copy of a model whose weights have shapes and no memory; its buffers are those of the model."""
    known: dict[int, Any] = {id(buffer): buffer for buffer in model.buffers()}
    for parameter in model.parameters():
        empty = torch.zeros((), dtype=parameter.dtype, device=parameter.device).expand(parameter.shape)
        known[id(parameter)] = nn.Parameter(empty, requires_grad=parameter.requires_grad)
    return copy.deepcopy(model, known)


def divide(scored: Any, mesh: Mesh, narrow: torch.dtype | None) -> tuple[Any, Pieces, Line | None]:
    """(shell, pieces, line of stages) of a scored model, which is divided in place.

    Args:
        narrow: the type that is computed in, where it is narrower than the weights'.
    """
    model = scored.model
    shell = shell_of(model)
    shapes = {name: tuple(parameter.shape) for name, parameter in shell.named_parameters()}
    pieces = {name: whole_piece(parameter) for name, parameter in model.named_parameters()}
    summed: set[str] = set()
    if mesh.tensor.size > 1:
        split_pieces, summed = split(model, mesh.tensor)
        # What is not split lies whole in each of them, and the first one answers for it.
        pieces = {n: replace(p, answers=mesh.tensor.index == 0) for n, p in pieces.items()} | split_pieces
    line = cut(scored, mesh, narrow) if mesh.pipeline.size > 1 else None
    pieces = {name: pieces[name] for name, _ in model.named_parameters()}
    casts = mesh.shard.size > 1
    if casts:
        if hooked := [name for name, p in model.named_parameters() if p._backward_hooks]:
            problem = (
                f"parallel.shard: the gradient of {hooked[0]} is changed on its way, which dealt weights do not see"
            )
            raise NotSupported(problem, hint="take parallel.data alone")
        if narrow and type(family_of(model)).narrow is not Family.narrow:
            kind = plain_model(model).config.model_type
            problem = f"parallel.shard with precision=bfloat16: a {kind} model keeps some of its weights wide"
            raise NotSupported(problem, hint="precision=float32")
        shard(scored, [block for stack in family_of(model).stacks(model) for block in stack], mesh, narrow)
        pieces = {name: part_of(pieces[name], p, mesh) for name, p in model.named_parameters()}
    again = line.twice if line is not None and mesh.pipeline.index else frozenset()
    owned = {name for name in pieces if mesh.data.index == 0 and name not in again}
    pieces = {n: replace(piece, is_owned=piece.answers and n in owned) for n, piece in pieces.items()}
    sums = [(mesh.tensor, frozenset(summed)), *([(line.ends, line.twice)] if line is not None else [])]
    return shell, Pieces(shapes, pieces, mesh.apart, casts, sums), line
