"""One label for a text: cross-entropy of the classes, summed over rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from pretune.objective.base import Batch, Objective, Row, Vocabulary

if TYPE_CHECKING:
    from torch import Tensor, nn


class Labels(Objective):
    """Predict the label of a row."""

    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of the target that is spread over all labels."""

    def collate(self, rows: Sequence[Row], vocabulary: Vocabulary) -> Batch:
        """Rows of `ids` (their own lengths) and `label`, padded on the right to the longest."""
        import torch

        longest = max(len(row["ids"]) for row in rows)
        ids = torch.full((len(rows), longest), vocabulary.pad)
        mask = torch.zeros(len(rows), longest, dtype=torch.long)
        for i, row in enumerate(rows):
            ids[i, : len(row["ids"])] = torch.tensor(row["ids"])
            mask[i, : len(row["ids"])] = 1
        labels = torch.tensor([row["label"] for row in rows])
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}

    def sums(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        import torch
        import torch.nn.functional as F

        logits_BC = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        wide = logits_BC if logits_BC.dtype == torch.float64 else logits_BC.float()
        loss = F.cross_entropy(wide, batch["labels"], reduction="sum", label_smoothing=self.label_smoothing)
        return {"loss": loss}
