"""Two texts and how alike they are: the squared error of their cosine, summed over rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from pretune.model.families import Head
from pretune.objective.objective import Objective, StepWide
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

    of_classifier: bool = False
    """The vectors are what the last layer of a classifier reads; else those of a model without a head."""

    def blank(self, length: int, vocabulary: Vocabulary, rng: np.random.Generator) -> Row:
        return {**blank_texts(length, 2, vocabulary), "score": 0.0}

    def collate(self, rows: Sequence[Row], vocabulary: Vocabulary) -> Batch:
        """Rows of `ids`, `lengths` and `score`, in [0, 1]."""
        return texts_batch(rows, vocabulary, np.array([row["score"] for row in rows], dtype=np.float64), width=2)

    def sums(self, model: nn.Module, batch: Batch, step_wide: StepWide | None = None) -> dict[str, Tensor]:
        import torch.nn.functional as F

        labels_B = batch["labels"]
        read = last_inputs if self.of_classifier else row_logits
        vectors_BMD = by_row(model, batch, len(labels_B), 2, read=read)
        cosines_B = F.cosine_similarity(vectors_BMD[:, 0], vectors_BMD[:, 1])
        errors_B = (cosines_B - labels_B.to(cosines_B.dtype)) * (labels_B != IGNORE)
        return {"loss": (errors_B**2).sum()}
