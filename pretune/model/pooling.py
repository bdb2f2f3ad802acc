"""Hidden states of tokens to one vector of a text.

B rows, L positions, D width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

from pretune.base.json import Json
from pretune.infer.pooling import KEPT, Pooling
from pretune.model.families import family_named, scores_of
from pretune.model.folder import keep, without_pooler

if TYPE_CHECKING:
    from torch import Tensor


def pooled(hidden_BLD: Tensor, mask_BL: Tensor, *, pooling: Pooling, normalize: bool) -> Tensor:
    """Vectors [B, D] in float32 (float64 stays) of rows that are padded on the right."""
    wide_BLD = hidden_BLD if hidden_BLD.dtype == torch.float64 else hidden_BLD.float()
    if pooling == "mean":
        there = mask_BL[:, :, None].to(wide_BLD.dtype)
        found = (wide_BLD * there).sum(1) / there.sum(1)
    else:
        places = torch.zeros_like(mask_BL[:, 0]) if pooling == "cls" else mask_BL.sum(1) - 1
        found = wide_BLD[torch.arange(len(places), device=places.device), places]
    return F.normalize(found, dim=-1) if normalize else found


def said(model: Any, output: Any, mask_BL: Tensor) -> Tensor:
    """What a model gives: logits of its head; of one that has none, the vector of each row, by its config."""
    if "last_hidden_state" not in output:
        return scores_of(output)
    how = getattr(model.config, KEPT)
    return pooled(output.last_hidden_state, mask_BL, pooling=how["pooling"], normalize=how["normalize"])


def outline_body(config: Any, how: Json) -> Any:
    """The same of a transformers config alone, with random weights."""
    config.pad_token_id = config.pad_token_id or 0
    family = family_named(config.model_type)
    model = family.class_for("vector", config.model_type).from_config(config, **family.made_with())
    keep(model.config, how)
    return without_pooler(model)
