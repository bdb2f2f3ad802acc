"""A number for a text: the squared error, summed over rows, in standard deviations of the numbers that are learnt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from pretune.model.families import Head, States
from pretune.objective.objective import Objective, Outputs, StepWide
from pretune.objective.whole_rows import row_logits, rows_batch
from pretune.tokens.rows import IGNORE, Batch, Row, Vocabulary

if TYPE_CHECKING:
    from torch import Tensor, nn


class Scores(Objective):
    """Predict the number of a row."""

    head: ClassVar[Head] = "score"
    outputs: ClassVar[Outputs] = "score"

    def blank(self, length: int, vocabulary: Vocabulary, rng: np.random.Generator) -> Row:
        return {"ids": [vocabulary.size - 1] * length, "score": 0.0}

    def collate(self, rows: Sequence[Row], vocabulary: Vocabulary) -> Batch:
        """Rows of `ids` and `score`: mean 0 and standard deviation 1, so that none is as far out as IGNORE."""
        return rows_batch(rows, vocabulary, np.array([row["score"] for row in rows], dtype=np.float64))

    @property
    def read_once(self) -> bool:
        return True

    def asked(self, model: nn.Module, batch: Batch) -> States:
        return States(row_logits(model, batch))

    def judged(
        self, model: nn.Module, states: States, batch: Batch, step_wide: StepWide | None = None
    ) -> dict[str, Tensor]:
        said_B = states.hidden_ND[:, 0]
        errors_B = (said_B - batch["labels"].to(said_B.dtype)) * (batch["labels"] != IGNORE)
        return {"loss": (errors_B**2).sum()}
