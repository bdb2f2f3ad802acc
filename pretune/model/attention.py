"""Attention of ours for transformers' models: plain products, without the half of a causal model that is masked.

    queries 0-127     see keys 0-127        one product for each block of queries, up to its last key
    queries 128-255   see keys 0-255        a quarter less work at two blocks, towards a half at many

`torch`'s own (sdpa) is written for long rows; its backward pass on a CPU was the largest waste of a step at 256
positions (docs/LOG.md). On a CPU a run takes ours (train/run/resolve.py).

B rows, H heads, L queries, K keys, D width of a head.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pretune.base.errors import NotSupported

NAME = "pretune-blocks"
OTHERS = ("softcap", "s_aux")
"""What some models give their attention to change the scores."""
BLOCK = 128
"""Queries of one product."""


def register_attention() -> str:
    """Make ours known to transformers; returns the name to build a model with."""
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, eager_mask
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    ALL_ATTENTION_FUNCTIONS.register(NAME, block_attention)
    ALL_MASK_ATTENTION_FUNCTIONS.register(NAME, eager_mask)
    return NAME


def block_attention(
    module: nn.Module,
    query_BHLD: Tensor,
    key_BHKD: Tensor,
    value_BHKD: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    position_bias: Tensor | None = None,
    sliding_window: int | None = None,
    is_causal: bool | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """What transformers asks of an attention: [B, L, H, D], and no weights.

    Args:
        attention_mask: additive [B, 1, L, K]; of a causal model it hides what is later, or there is one query only.
        position_bias: added to the scores, [1 or B, H, L, K] (T5 learns one).
        sliding_window: of a causal layer, how many keys a query sees, itself included; the mask hides the others, so
            they are left out.
        is_causal: whether the mask hides what is later; None: as the model's own attention does.

    Raises:
        NotSupported: the model asks for what changes the scores in another way.
    """
    if odd := [name for name in OTHERS if kwargs.get(name) is not None]:
        raise NotSupported(f"{type(module).__name__} has {odd[0]}, which our attention does not have")
    groups = query_BHLD.shape[1] // key_BHKD.shape[1]
    key, value = (t.repeat_interleave(groups, dim=1) if groups > 1 else t for t in (key_BHKD, value_BHKD))
    query = query_BHLD * (scaling if scaling is not None else query_BHLD.shape[-1] ** -0.5)
    length, keys = query.shape[2], key.shape[2]
    is_causal = bool(getattr(module, "is_causal", False) if is_causal is None else is_causal) and length > 1
    assert attention_mask is not None or not is_causal, "nothing hides what is later"
    if position_bias is not None:
        attention_mask = position_bias if attention_mask is None else attention_mask + position_bias
    skips = is_causal and length == keys
    size = BLOCK if skips else length
    parts = []
    for start in range(0, length, size):
        first = max(0, start - sliding_window + 1) if skips and sliding_window else 0
        seen = slice(first, min(start + size, length) if skips else keys)
        mask = None if attention_mask is None else attention_mask[:, :, start : start + size, seen]
        parts.append(_attend(query[:, :, start : start + size], key[:, :, seen], value[:, :, seen], mask, dropout))
    found = parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)
    return found.transpose(1, 2).contiguous(), None


def _attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropout: float) -> Tensor:
    scores = query @ key.mT
    if mask is not None:
        scores = scores + mask
    # The softmax of narrow numbers is taken in float32, as transformers' own models do.
    weights = torch.softmax(scores, -1, torch.promote_types(scores.dtype, torch.float32)).to(value.dtype)
    if dropout:
        weights = nn.functional.dropout(weights, dropout)
    return weights @ value
