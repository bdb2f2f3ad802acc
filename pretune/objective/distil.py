"""Say of a row what the model said of it before: the outputs of an earlier head, softened by a temperature.

    loss of a row = T squared * KL(softmax(said / T) || softmax(logits / T))

It is 0 where the model says what it said, and so is its gradient. The factor keeps the gradient of one size whatever
the temperature is (Hinton et al. 2015, arXiv:1503.02531, section 2). Outputs that are no chances of one label are
compared by themselves: several labels each as a choice of two, a number by half its squared error.

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


class Distil(Objective):
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
        logits_BC = row_logits(model, batch)
        loss_B = self.apart(logits_BC, batch["said"].to(logits_BC))
        return {"loss": (loss_B * (batch["labels"] != IGNORE)).sum()}

    def apart(self, logits_BC: Tensor, said_BC: Tensor) -> Tensor:
        """How far the logits are from those that were said [B]."""
        import torch
        import torch.nn.functional as F

        if self.of == "score":
            return (logits_BC - said_BC).square().sum(-1) / 2
        now, then = logits_BC / self.temperature, said_BC / self.temperature
        if self.of == "labels":  # a choice of two is a softmax over the logit and 0
            now, then = (torch.stack([one, torch.zeros_like(one)], -1) for one in (now, then))
        apart = F.kl_div(now.log_softmax(-1), then.log_softmax(-1), log_target=True, reduction="none")
        return self.temperature**2 * apart.flatten(1).sum(-1)
