"""Any number of labels for a text: a sigmoid for each label; binary cross-entropy, summed over rows and labels.

B rows, C labels.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from pretune.objective.objective import Outputs
from pretune.objective.row_labels import RowLabels, beyond
from pretune.tokens.rows import IGNORE, Batch, Row, Vocabulary

if TYPE_CHECKING:
    from torch import Tensor


class LabelSets(RowLabels):
    """Predict which labels of a row hold; each label of each row is a target."""

    place: ClassVar[str] = "holds"
    dtype: ClassVar[Any] = np.float64
    outputs: ClassVar[Outputs] = "labels"

    def blank(self, length: int, vocabulary: Vocabulary, rng: np.random.Generator) -> Row:
        return self.dry({"ids": [vocabulary.size - 1] * length, "holds": np.zeros(1)})

    def is_target(self, batch: Batch) -> Tensor:
        return batch["labels"][:, 0] != IGNORE

    def weights_of(self, labels: Tensor) -> list[float]:
        of_row = math.fsum(self.class_weights) if self.class_weights else float(labels.shape[1])
        return [0.0 if n == IGNORE else of_row for n in labels[:, 0].tolist()]

    def losses(self, logits_BC: Tensor, labels: Tensor) -> Tensor:
        """Binary cross-entropy; smoothing moves both answers towards one half."""
        import torch.nn.functional as F

        holds_BC = labels.to(logits_BC.dtype).clamp(min=0)  # IGNORE must stay finite where it is multiplied away
        wanted_BC = holds_BC * (1 - self.label_smoothing) + self.label_smoothing / 2
        if self.gamma:
            yes_BC, no_BC = F.logsigmoid(logits_BC), F.logsigmoid(-logits_BC)
            loss_BC = -wanted_BC * beyond(yes_BC, self.gamma) * yes_BC
            loss_BC = loss_BC - (1 - wanted_BC) * beyond(no_BC, self.gamma) * no_BC
        else:
            loss_BC = F.binary_cross_entropy_with_logits(logits_BC, wanted_BC, reduction="none")
        losses_B: Tensor = (loss_BC * self._targets(loss_BC, labels)).sum(-1)
        return losses_B

    def apart(self, one_BC: Tensor, other_BC: Tensor, labels: Tensor) -> Tensor:
        both_BC = (one_BC.sigmoid() - other_BC.sigmoid()) * (one_BC - other_BC) / 2
        return (both_BC * self._targets(both_BC, labels)).sum(-1)

    def _targets(self, like_BC: Tensor, labels: Tensor) -> Tensor:
        """The weight of each target."""
        is_target = (labels != IGNORE).to(like_BC.dtype)
        return is_target * is_target.new_tensor(self.class_weights) if self.class_weights else is_target
