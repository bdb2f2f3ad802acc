"""One label for a text: cross-entropy of the classes, summed over rows.

With class weights a row's loss counts as much as its label weighs, in the sum and in the count: a step of 8 rows is
the same in one piece or in eight, whatever labels fall together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import Field

from pretune.model.families import Head
from pretune.objective.objective import Objective, StepWide
from pretune.objective.whole_rows import row_logits, rows_batch
from pretune.tokens.rows import IGNORE, Batch, Row, Vocabulary

if TYPE_CHECKING:
    from torch import Tensor, nn


class Labels(Objective):
    """Predict the label of a row."""

    head: ClassVar[Head] = "label"

    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of the target that is spread over all labels."""
    class_weights: tuple[float, ...] | None = None
    """Weight of each label, in their order; None: all weigh alike."""

    def blank(self, length: int, vocabulary: Vocabulary, rng: np.random.Generator) -> Row:
        return {"ids": [vocabulary.size - 1] * length, "label": 0}

    def collate(self, rows: Sequence[Row], vocabulary: Vocabulary) -> Batch:
        """Rows of `ids` (their own lengths) and `label`, padded on the right to the longest."""
        return rows_batch(rows, vocabulary, np.array([row["label"] for row in rows], dtype=np.int64))

    def counts(self, batch: Batch) -> dict[str, float]:
        if self.class_weights is None:
            return super().counts(batch)
        # A rank with fewer rows than the others fills up with rows without a target.
        there = [label for label in batch["labels"].tolist() if label != IGNORE]
        return {"loss": math.fsum(self.class_weights[label] for label in there)}

    def sums(self, model: nn.Module, batch: Batch, step_wide: StepWide | None = None) -> dict[str, Tensor]:
        import torch.nn.functional as F

        wide = row_logits(model, batch)
        weights_C = wide.new_tensor(self.class_weights) if self.class_weights else None
        loss = F.cross_entropy(
            wide, batch["labels"], weight=weights_C, reduction="sum", label_smoothing=self.label_smoothing
        )
        return {"loss": loss}
