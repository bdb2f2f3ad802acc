"""What adapters that cannot be merged leave in a model, as a graph has it.

    bottlenecks       two more products at their places                       GraphWriter.bottled
    virtual tokens    keys and values in front of those of the text           decoders: Attend.ahead

A decoder's virtual tokens see each other and no text, so their keys and values are constants, whatever they were learnt
as. Encoders with virtual tokens are traced, hooks and all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def bottles_of(model: PreTrainedModel) -> dict[str, tuple[str, float]]:
    """Names of the modules that have a bottleneck -> its activation and scale."""
    from pretune.model.methods.in_blocks import NAME, Bottle

    found = ((name, module) for name, module in model.named_modules() if isinstance(module, Bottle))
    return {name.removesuffix(f".{NAME}"): (module.activation, module.scale) for name, module in found}


def num_virtual(model: PreTrainedModel) -> int:
    """Virtual tokens in front of every text."""
    tokens = _virtual(model)
    return 0 if tokens is None else int(tokens.number)


def virtual_pairs(model: PreTrainedModel) -> list[tuple[np.ndarray, np.ndarray]]:
    """Keys and values [1, H, n, D] of the virtual tokens of a decoder, of every layer."""
    import torch
    from transformers import DynamicCache

    number, cache = num_virtual(model), DynamicCache(config=model.config)
    with torch.inference_mode():
        model.base_model(input_ids=torch.zeros(1, 1, dtype=torch.int64), past_key_values=cache, use_cache=True)
    return [(_first(one.keys, number), _first(one.values, number)) for one in cache.layers]


def _first(states: Any, number: int) -> np.ndarray:
    return np.ascontiguousarray(states[:, :, :number].float().numpy())


def _virtual(model: PreTrainedModel) -> Any:
    from pretune.model.methods.in_front import NAME

    return model.base_model._modules.get(NAME)
