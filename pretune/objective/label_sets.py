"""Any number of labels for a text: a sigmoid for each label; binary cross-entropy, summed over rows and labels.

B rows, C labels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from pretune.model.families import Head
from pretune.objective.objective import Objective, StepWide
from pretune.objective.whole_rows import row_logits, rows_batch
from pretune.tokens.rows import IGNORE, Batch, Row, Vocabulary

if TYPE_CHECKING:
    from torch import Tensor, nn


class LabelSets(Objective):
    """Predict which labels of a row hold; each label of each row is a target."""

    head: ClassVar[Head] = "label"

    class_weights: tuple[float, ...] | None = None
    """Weight of each label, in their order; None: all weigh alike."""

    def blank(self, length: int, vocabulary: Vocabulary, rng: np.random.Generator) -> Row:
        return {"ids": [vocabulary.size - 1] * length, "holds": np.zeros(1)}

    def collate(self, rows: Sequence[Row], vocabulary: Vocabulary) -> Batch:
        """Rows of `ids` and `holds`."""
        return rows_batch(rows, vocabulary, np.array([row["holds"] for row in rows], dtype=np.float64))

    def counts(self, batch: Batch) -> dict[str, float]:
        if self.class_weights is None:
            return super().counts(batch)
        rows = int((batch["labels"][:, 0] != IGNORE).sum())
        return {"loss": rows * math.fsum(self.class_weights)}

    def sums(self, model: nn.Module, batch: Batch, step_wide: StepWide | None = None) -> dict[str, Tensor]:
        import torch.nn.functional as F

        logits_BC, labels_BC = row_logits(model, batch), batch["labels"]
        is_target = (labels_BC != IGNORE).to(logits_BC.dtype)
        if self.class_weights:
            is_target = is_target * is_target.new_tensor(self.class_weights)
        holds = labels_BC.to(logits_BC.dtype).clamp(min=0)  # IGNORE must stay finite where it is multiplied away
        loss = F.binary_cross_entropy_with_logits(logits_BC, holds, weight=is_target, reduction="sum")
        return {"loss": loss}
