"""Experts of ours for transformers' models: the tokens of an expert lie next to each other and meet its matrices once.

    chosen   token 0: experts 2, 0    token 1: 2, 1      sorted by expert   0: [0]   1: [1]   2: [0, 1]
    then     two products for each expert that has tokens, and every token adds up what its experts gave

transformers has the same in three ways; in training on a CPU ours was the fastest, and is the only one that both
multiplies in float64 and can be forecast (docs/LOG.md, "Mixture of experts"). A GPU has one product for all groups
(transformers' grouped_mm), in bfloat16: there a run takes that.

N tokens, k experts that a token passes, E experts, D width, H width of an expert.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

NAME = "pretune-sorted"
ROUND = 16
"""In bfloat16 pieces have a multiple of so many rows: oneDNN makes code for every new number of rows, which takes as
long as the product itself (docs/LOG.md)."""


def register_experts() -> str:
    """Make ours known to transformers; returns the name to build a model with."""
    from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

    ALL_EXPERTS_FUNCTIONS.register(NAME, sorted_experts)
    return NAME


def sorted_experts(module: Any, states_ND: Tensor, chosen_Nk: Tensor, weights_Nk: Tensor) -> Tensor:
    """What the experts give together, [N, D].

    Args:
        module: with `gate_up_proj` [E, 2 * H, D], `down_proj` [E, D, H], and `act_fn`.
        weights_Nk: of the experts of each token.
    """
    if states_ND.device.type == "cuda" and states_ND.dtype == torch.bfloat16:
        from transformers.integrations.moe import grouped_mm_experts_forward

        grouped: Tensor = grouped_mm_experts_forward(module, states_ND, chosen_Nk, weights_Nk)
        return grouped
    k = chosen_Nk.shape[-1]
    experts, order = chosen_Nk.flatten().sort(stable=True)
    ends = torch.searchsorted(experts, torch.arange(module.num_experts, device=experts.device), right=True)
    counts: list[int] = ends.diff(prepend=ends.new_zeros(1)).tolist()
    # What is left, which it is anyway: in a dry run nobody knows who was chosen, and all must add up.
    counts[-1] = len(order) - sum(counts[:-1])
    sizes = [-(-count // ROUND) * ROUND if states_ND.dtype == torch.bfloat16 else count for count in counts]
    moved = [sum(sizes[:e]) - sum(counts[:e]) for e in range(len(sizes))]
    place = torch.arange(len(order), device=order.device) + order.new_tensor(moved)[experts]
    # What fills a piece up is token 0, with a weight of 0.
    tokens = order.new_zeros(sum(sizes)).index_copy(0, place, order // k)
    weights = states_ND.new_zeros(sum(sizes)).index_copy(0, place, weights_Nk.flatten()[order].to(states_ND.dtype))
    pieces = torch.split(states_ND.index_select(0, tokens), sizes)
    given = [_passed(module.act_fn, *one) for one in zip(pieces, module.gate_up_proj, module.down_proj, strict=True)]
    return torch.zeros_like(states_ND).index_add(0, tokens, torch.cat(given) * weights[:, None])


def _passed(act_fn: Any, states_D: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    gate, up = F.linear(states_D, gate_up).chunk(2, dim=-1)
    return F.linear(act_fn(gate) * up, down)
