"""What keeps the routers of a mixture of experts in order: two terms, per block and over the whole step.

    balance    mean over blocks of  E * sum over experts of  f_e * P_e
               f_e  tokens that chose expert e / tokens     P_e  mean probability of expert e
    router_z   mean over blocks and tokens of  (log of the sum of exp of the logits) ** 2

`balance` is k, the experts that a token passes, when all get the same. It is a product of two means over the tokens of
the step, so no sum over micro-batches gives it unless f_e is known first; but f_e is a count and has no gradient. So a
first pass without gradient counts, and then a token's part is

    E * sum over experts of  f_e * p_te        a plain sum over tokens, however the step is cut

One micro-batch in one process is the step: its own f_e is the right one, and no first pass runs. transformers adds up
the blocks before it multiplies (one may make up for another); Megatron and torchtitan take f_e of the micro-batch.

Source: Fedus et al. 2021, arXiv:2101.03961, equations 4-6 (Lepikhin et al. 2020, arXiv:2006.16668, for k > 1); Zoph et
al. 2022, arXiv:2202.08906, equation 5.

S blocks, B rows, L positions, N = B * L tokens, E experts, k experts that a token passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

LOADS = "loads"
"""Tokens that chose each expert, [S, E] in sums and [B, S, E] in what is gathered; no term of the loss."""


def chosen_by_row(routers_SNE: Tensor, there_BL: Tensor, k: int) -> Tensor:
    """Tokens of each row that chose each expert, float [B, S, E]; padding chooses none."""
    import torch

    picked_SNk = routers_SNE.detach().topk(k, -1).indices
    chosen_SNE = torch.zeros_like(routers_SNE).scatter_(-1, picked_SNk, 1.0)
    chosen_SBLE = chosen_SNE.view(len(chosen_SNE), *there_BL.shape, -1)
    return (chosen_SBLE * there_BL[..., None]).sum(2).transpose(0, 1)


def router_sums(routers_SNE: Tensor, there_BL: Tensor, k: int, loads_SE: Tensor | None = None) -> dict[str, Tensor]:
    """`balance` and `router_z`, each summed over tokens that are no padding, and the `loads` of these rows.

    Args:
        loads_SE: of the whole step; None where these rows are all of it.
    """
    import torch

    mine_SE = chosen_by_row(routers_SNE, there_BL, k).sum(0)
    loads_SE = mine_SE if loads_SE is None else loads_SE
    wide = routers_SNE.to(torch.promote_types(routers_SNE.dtype, torch.float32))
    there_N1, (blocks, _, experts) = there_BL.flatten()[:, None], wide.shape
    shares_SE = loads_SE.to(wide.dtype) * k / loads_SE.sum(-1, keepdim=True).clamp(min=1)
    summed_SE = (torch.softmax(wide, -1) * there_N1).sum(1)
    squares_SN = torch.logsumexp(wide, -1).square() * there_N1[:, 0]
    balance = experts / blocks * (shares_SE * summed_SE).sum()
    return {"balance": balance, "router_z": squares_SN.sum() / blocks, LOADS: mine_SE}


def busiest(loads: Sequence[float]) -> float:
    """Tokens of the busiest expert of a block, over what each has when all get the same; 1 is even, E / k the worst."""
    total = sum(loads)
    return max(loads) * len(loads) / total if total else 1.0
