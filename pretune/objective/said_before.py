"""Say of a row what the model said of it before: the outputs of an earlier head, softened by a temperature.

    loss of a row = T squared * KL(softmax(said / T) || softmax(logits / T))

It is 0 where the model says what it said, and so is its gradient (objective/divergence.py).

B rows, C outputs of the head.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field

from pretune.model.families import Head
from pretune.objective.objective import Objective, StepWide
from pretune.objective.whole_rows import row_logits, rows_batch
from pretune.tokens.rows import IGNORE, Batch, Row, Vocabulary

if TYPE_CHECKING:
    from torch import Tensor, nn


class SaidBefore(Objective):
    """Keep what a head says of rows: `said`, logits [C] of each."""

    head: ClassVar[Head] = "label"

    temperature: float = Field(2.0, gt=0)
    """What logits are divided by before they become chances: the higher, the more the small ones count."""
    of: Literal["label", "labels", "score"] = "label"
    """What the outputs are: chances of one label, of each of several, or a number."""

    def collate(self, rows: Sequence[Row], vocabulary: Vocabulary) -> Batch:
        import torch

        batch = rows_batch(rows, vocabulary, np.zeros(len(rows), dtype=np.int64))
        said_BC = np.stack([np.asarray(row.get("said", (0.0,))) for row in rows])
        return batch | {"said": torch.from_numpy(said_BC)}

    def sums(self, model: nn.Module, batch: Batch, step_wide: StepWide | None = None) -> dict[str, Tensor]:
        from pretune.objective.divergence import apart

        logits_BC = row_logits(model, batch)
        loss_B = apart(logits_BC, batch["said"].to(logits_BC), of=self.of, temperature=self.temperature)
        return {"loss": (loss_B * (batch["labels"] != IGNORE)).sum()}
