"""Replies that the student writes itself while it learns, in the places of the example's (on-policy distillation).

    prompt | the example's reply <end>          what is asked, and where a reply may stand
    prompt | a reply of the student <end> ...   drawn token by token, at most as long; the teacher judges each token

So a student learns what to do after its own mistakes, which no example shows. No gradient goes through what is drawn.
Each token is drawn by a number of its own, so a step can be cut as it likes.

Source: Agarwal et al. 2024, arXiv:2306.13649 (GKD; there a share of the rows is the student's, too).

B rows, L positions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from pretune.base.errors import NotSupported
from pretune.model.families import States, plain_model
from pretune.objective.cross_entropy import drawn_ids
from pretune.objective.packed import attention_mask
from pretune.tokens.rows import IGNORE, Batch

if TYPE_CHECKING:
    from torch import Tensor, nn


@torch.no_grad()
def in_own_words(model: nn.Module, batch: Batch, numbers_BL: Tensor) -> Batch:
    """A packed causal batch with other targets, and the tokens that are read of them.

    Args:
        numbers_BL: in [0, 1), by which the token behind each place is drawn; negative: the row stays as it is.

    Raises:
        NotSupported: some layers of the model see a window only.
    """
    core: Any = plain_model(model)
    dtype = next(p for p in core.parameters() if p.dim() > 1).dtype
    mask = attention_mask(core, batch["segments"], causal=True, dtype=dtype)
    if not isinstance(mask, torch.Tensor):
        problem = f"a {core.config.model_type} model sees windows, and replies are not drawn through them yet"
        raise NotSupported(problem, hint="leave out objective.on_policy")
    ids_BL, labels_BL, ends_BL = batch["input_ids"].clone(), batch["labels"].clone(), _ends(batch["labels"])
    writes_BL = (numbers_BL >= 0) & (labels_BL != IGNORE)
    is_over, cache, was_training = torch.zeros_like(writes_BL[:, 0]), None, core.training
    core.eval()
    for t in range(ids_BL.shape[1]):
        said = core(
            input_ids=ids_BL[:, t : t + 1],
            attention_mask=mask[:, :, t : t + 1, : t + 1],
            position_ids=batch["positions"][:, t : t + 1],
            past_key_values=cache,
            use_cache=True,
        )
        cache, writes = said.past_key_values, writes_BL[:, t]
        is_over &= writes  # between two replies a new one may begin
        drawn_B = drawn_ids(States(said.logits[:, 0]), numbers_BL[:, t].clamp(min=0))
        labels_BL[:, t] = torch.where(writes, torch.where(is_over, IGNORE, drawn_B), labels_BL[:, t])
        if t + 1 < ids_BL.shape[1]:
            ids_BL[:, t + 1] = torch.where(writes & ~is_over, drawn_B, ids_BL[:, t + 1])
        is_over |= writes & (drawn_B == ends_BL[:, t])
    core.train(was_training)
    return {**batch, "input_ids": ids_BL, "labels": labels_BL}


def _ends(labels_BL: Tensor) -> Tensor:
    """Of each place of a reply the last token of that reply, which ends it."""
    ends_BL = labels_BL.clone()
    for t in range(labels_BL.shape[1] - 2, -1, -1):
        goes_on = (labels_BL[:, t] != IGNORE) & (labels_BL[:, t + 1] != IGNORE)
        ends_BL[:, t] = torch.where(goes_on, ends_BL[:, t + 1], labels_BL[:, t])
    return ends_BL
