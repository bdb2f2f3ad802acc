"""Two texts and how alike they are: the squared error of their cosine, summed over rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from pretune.model.families import Head, States
from pretune.objective.objective import Objective, Outputs, StepWide
from pretune.objective.several_texts import blank_texts, by_row, texts_batch
from pretune.objective.whole_rows import last_inputs, row_logits
from pretune.tokens.rows import IGNORE, Batch, Row, Vocabulary

if TYPE_CHECKING:
    from torch import Tensor, nn


class Cosines(Objective):
    """Predict the cosine of a row's two texts.

    Source: Reimers & Gurevych 2019, arXiv:1908.10084 (their regression objective).
    """

    head: ClassVar[Head] = "vector"
    outputs: ClassVar[Outputs] = "vector"

    of_classifier: bool = False
    """The vectors are what the last layer of a classifier reads; else those of a model without a head."""

    def blank(self, length: int, vocabulary: Vocabulary, rng: np.random.Generator) -> Row:
        return {**blank_texts(length, 2, vocabulary), "score": 0.0}

    def collate(self, rows: Sequence[Row], vocabulary: Vocabulary) -> Batch:
        """Rows of `ids`, `lengths` and `score`, in [0, 1]."""
        return texts_batch(rows, vocabulary, np.array([row["score"] for row in rows], dtype=np.float64), width=2)

    @property
    def read_once(self) -> bool:
        return True

    def asked(self, model: nn.Module, batch: Batch) -> States:
        """The vectors of both texts, [B * 2, D]."""
        import torch.nn.functional as F

        read = last_inputs if self.of_classifier else row_logits
        return States(F.normalize(by_row(model, batch, len(batch["labels"]), 2, read=read).flatten(0, 1), dim=-1))

    def is_target(self, batch: Batch) -> Tensor:
        return (batch["labels"] != IGNORE).repeat_interleave(2)

    def judged(
        self, model: nn.Module, states: States, batch: Batch, step_wide: StepWide | None = None
    ) -> dict[str, Tensor]:
        import torch.nn.functional as F

        labels_B, vectors_BMD = batch["labels"], states.hidden_ND.view(-1, 2, states.hidden_ND.shape[-1])
        cosines_B = F.cosine_similarity(vectors_BMD[:, 0], vectors_BMD[:, 1])
        errors_B = (cosines_B - labels_B.to(cosines_B.dtype)) * (labels_B != IGNORE)
        return {"loss": (errors_B**2).sum()}
