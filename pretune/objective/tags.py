"""A tag for some tokens of a row: cross-entropy of the tags, summed over those tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from pretune.infer.engine import padded
from pretune.model.families import Head, States
from pretune.objective.objective import Objective, StepWide
from pretune.tokens.rows import IGNORE, Batch, Row, Vocabulary

if TYPE_CHECKING:
    from torch import Tensor, nn


class TokenTags(Objective):
    """Predict the tags of a row's tokens."""

    head: ClassVar[Head] = "tags"

    def blank(self, length: int, vocabulary: Vocabulary, rng: np.random.Generator) -> Row:
        return {"ids": [vocabulary.size - 1] * length, "labels": np.zeros(length, np.int64)}

    def collate(self, rows: Sequence[Row], vocabulary: Vocabulary) -> Batch:
        """Rows of `ids` (their own lengths) and `labels`, padded on the right to the longest."""
        import torch

        ids, mask = map(torch.from_numpy, padded([row["ids"] for row in rows], vocabulary.pad))
        labels, _ = padded([row["labels"] for row in rows], IGNORE)
        return {"input_ids": ids, "attention_mask": mask, "labels": torch.from_numpy(labels)}

    @property
    def read_once(self) -> bool:
        return True

    def asked(self, model: nn.Module, batch: Batch) -> States:
        logits_BLT = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        return States(logits_BLT.flatten(0, 1))

    def judged(
        self, model: nn.Module, states: States, batch: Batch, step_wide: StepWide | None = None
    ) -> dict[str, Tensor]:
        from pretune.objective.cross_entropy import loss_sum

        return {"loss": loss_sum(states, batch["labels"].flatten())}
