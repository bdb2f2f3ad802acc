"""A mixture of experts: the feed-forward part of Qwen3-MoE (arXiv:2505.09388; routing: Shazeer et al., 1701.06538).

    x ──router──▶ chance of each expert ──▶ the k likeliest      x ──▶ sum of chance * expert(x) over those k

There are many experts' parameters, and a token meets k experts' arithmetic. The router learns through the chances that
its choice is weighed with; that all experts are used is a loss of its own (balance), which is not part of the block.

T tokens, D width, E experts, k of them for each token.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Experts(nn.Module):
    """Each token through the k experts that the router chose for it."""

    def __init__(self, config: Any):
        super().__init__()
        number, width, hidden = config.num_experts, config.hidden_size, config.moe_intermediate_size
        self.chosen, self.sum_to_one = config.num_experts_per_tok, config.norm_topk_prob
        self.router = nn.Parameter(torch.empty(number, width))
        self.gate_up = nn.Parameter(torch.empty(number, 2 * hidden, width))
        self.down = nn.Parameter(torch.empty(number, width, hidden))

    def forward(self, x_BLD: Tensor) -> Tensor:
        x_TD = x_BLD.flatten(0, 1)
        chances_TK, experts_TK = self.routed(x_TD)
        found_TD = torch.zeros_like(x_TD)
        for expert in range(len(self.down)):
            tokens, place = torch.where(experts_TK == expert)
            found_TD[tokens] += chances_TK[tokens, place, None] * self.of(expert, x_TD[tokens])
        return found_TD.view_as(x_BLD)

    def routed(self, x_TD: Tensor) -> tuple[Tensor, Tensor]:
        """The weights of each token's experts, and which they are: [T, k] each."""
        chances_TE = torch.softmax(x_TD @ self.router.T, dim=-1, dtype=torch.float32)  # narrow types would tie
        chances_TK, experts_TK = chances_TE.topk(self.chosen, dim=-1)
        if self.sum_to_one:
            chances_TK = chances_TK / chances_TK.sum(-1, keepdim=True)
        return chances_TK.to(x_TD.dtype), experts_TK

    def of(self, expert: int, x_TD: Tensor) -> Tensor:
        """What one expert makes of some tokens: SwiGLU, as in a dense block."""
        gate, up = (x_TD @ self.gate_up[expert].T).chunk(2, dim=-1)
        return (F.silu(gate) * up) @ self.down[expert].T
