"""A number for a reply, so that of two replies the better one has the larger: -log sigmoid(chosen - rejected).

Source: Bradley & Terry 1952, as Ouyang et al. 2022, arXiv:2203.02155, equation 1, take it for one pair.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from pretune.model.families import Head
from pretune.objective.objective import Objective, StepWide
from pretune.objective.preference import summed, there
from pretune.objective.whole_rows import row_logits, rows_batch
from pretune.tokens.rows import Batch, Row, Vocabulary

if TYPE_CHECKING:
    from torch import Tensor, nn


class Rewards(Objective):
    """Give the better of two replies the larger number."""

    head: ClassVar[Head] = "score"
    weights: ClassVar[Mapping[str, float]] = {"loss": 1.0, "margin": 0.0, "accuracy": 0.0}

    def blank(self, length: int, vocabulary: Vocabulary, rng: np.random.Generator) -> Row:
        each = max(1, length // 2)
        return {"ids": np.full(2 * each, vocabulary.size - 1), "segments": np.repeat([0, 1], each)}

    def collate(self, rows: Sequence[Row], vocabulary: Vocabulary) -> Batch:
        """Rows of `ids` and `segments` (0: the chosen reply behind its prompt, 1: the rejected one); labels [2B] say
        only which replies are there."""
        replies: list[Row] = [{"ids": row["ids"][row["segments"] == k]} for k in (0, 1) for row in rows]
        return rows_batch(replies, vocabulary, np.zeros((len(replies), 1), dtype=np.int64))

    def counts(self, batch: Batch) -> dict[str, float]:
        return dict.fromkeys(self.weights, float(there(batch).sum()))

    def sums(self, model: nn.Module, batch: Batch, step_wide: StepWide | None = None) -> dict[str, Tensor]:
        import torch.nn.functional as F

        better_B, worse_B = row_logits(model, batch)[:, 0].chunk(2)
        margin_B = better_B - worse_B
        looked_at = {"margin": margin_B, "accuracy": (margin_B > 0).to(margin_B.dtype)}
        return summed(batch, -F.logsigmoid(margin_B), looked_at)
