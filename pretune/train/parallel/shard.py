"""Every process holds a part of every weight (FSDP2): the rows of a matrix, dealt in one run of them each.

    block 3 is computed     its weights are put together, used, and dropped; the same again in the backward pass,
                            where the gradient is summed and each process keeps its part

Masters, moments and averages are parts too. Source: Zhao et al. 2023, arXiv:2304.11277; torch's `fully_shard`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from pretune.train.parallel.mesh import Mesh
from pretune.train.parallel.pieces import Piece, here


def shard(scored: nn.Module, blocks: list[nn.Module], mesh: Mesh, narrow: torch.dtype | None) -> None:
    """Deal the weights in place: each block by itself, what is left with the whole.

    Args:
        narrow: what is computed in; weights and the sum of gradients stay as wide as they are.
    """
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard  # seconds, which others need not wait

    wide = next(scored.parameters()).dtype
    policy = MixedPrecisionPolicy(param_dtype=narrow, reduce_dtype=wide if narrow else None, cast_forward_inputs=False)
    devices = mesh.devices["data", "shard"] if mesh.data.size > 1 else mesh.devices["shard"]
    for module in (*blocks, scored):
        wrapped: Any = fully_shard(module, mesh=devices, mp_policy=policy)
    # Averages would round twice where sums do not; who divides is one place, the loop.
    for module in wrapped.modules():
        if hasattr(module, "set_force_sum_reduction_for_comms"):
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)


def part_of(piece: Piece, parameter: Any, mesh: Mesh) -> Piece:
    """What `shard` left here of a piece: as many rows as everywhere, the last processes fewer or none."""
    rows = piece.size[0]
    each = -(-rows // mesh.shard.size)
    start = min(mesh.shard.index * each, rows)
    found = piece.within(0, start, min(each, rows - start))
    assert tuple(here(parameter).shape) == found.size, "torch deals rows in equal runs"
    return found
