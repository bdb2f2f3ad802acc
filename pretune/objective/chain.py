"""The tags of a row's words as one sequence: the negative log-likelihood of a linear-chain CRF, in nats per word."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pretune.model.families import plain_model
from pretune.objective.objective import StepWide
from pretune.objective.tags import TokenTags
from pretune.tokens.rows import IGNORE, Batch

if TYPE_CHECKING:
    from torch import Tensor, nn


class ChainTags(TokenTags):
    """Predict the tags of a row's words together; counted by words, so that the loss is next to that of `TokenTags`."""

    @property
    def read_once(self) -> bool:
        return False  # its loss is of whole chains, not of places

    def sums(self, model: nn.Module, batch: Batch, step_wide: StepWide | None = None) -> dict[str, Tensor]:
        import torch

        from pretune.model.chain import NAME

        logits_BLK = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        wide_BLK = logits_BLK.to(torch.promote_types(logits_BLK.dtype, torch.float32))
        words_BL = batch["labels"] != IGNORE
        most = max(1, int(words_BL.sum(1).max()))
        places_BW = (~words_BL).long().argsort(dim=1, stable=True)[:, :most]  # words first, in order
        there_BW = words_BL.gather(1, places_BW)
        scores_BWK = wide_BLK.gather(1, places_BW[..., None].expand(-1, -1, wide_BLK.shape[2]))
        tags_BW = batch["labels"].gather(1, places_BW).clamp(min=0)
        return {"loss": getattr(plain_model(model), NAME)(scores_BWK, tags_BW, there_BW)}
