"""One label for a text: cross-entropy of the classes, summed over rows.

With class weights a row's loss counts as much as its label weighs, in the sum and in the count: a step of 8 rows is
the same in one piece or in eight, whatever labels fall together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from pretune.objective.row_labels import RowLabels, beyond
from pretune.tokens.rows import IGNORE, Row, Vocabulary

if TYPE_CHECKING:
    from torch import Tensor


class Labels(RowLabels):
    """Predict the label of a row."""

    place: ClassVar[str] = "label"
    dtype: ClassVar[Any] = np.int64

    def blank(self, length: int, vocabulary: Vocabulary, rng: np.random.Generator) -> Row:
        return self.dry({"ids": [vocabulary.size - 1] * length, "label": 0})

    def weights_of(self, labels: Tensor) -> list[float]:
        # A rank with fewer rows than the others fills up with rows without a target.
        weights = self.class_weights
        return [0.0 if n == IGNORE else weights[n] if weights else 1.0 for n in labels.tolist()]

    def losses(self, logits_BC: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy, class weights and smoothing as torch has them; of focal each label's part by its factor."""
        import torch.nn.functional as F

        weights_C = logits_BC.new_tensor(self.class_weights) if self.class_weights else None
        if not self.gamma:
            how = {"weight": weights_C, "reduction": "none", "label_smoothing": self.label_smoothing}
            return F.cross_entropy(logits_BC, labels, **how)  # type: ignore[arg-type]
        log_BC, is_target_B = logits_BC.log_softmax(-1), labels != IGNORE
        wanted_BC = F.one_hot(labels.clamp(min=0), logits_BC.shape[1]).to(log_BC.dtype) * (1 - self.label_smoothing)
        wanted_BC = (wanted_BC + self.label_smoothing / logits_BC.shape[1]) * is_target_B[:, None]
        wanted_BC = wanted_BC * weights_C if weights_C is not None else wanted_BC
        losses_B: Tensor = -(wanted_BC * beyond(log_BC, self.gamma) * log_BC).sum(-1)
        return losses_B

    def apart(self, one_BC: Tensor, other_BC: Tensor, labels: Tensor) -> Tensor:
        one_BC, other_BC = one_BC.log_softmax(-1), other_BC.log_softmax(-1)
        both_B = ((one_BC.exp() - other_BC.exp()) * (one_BC - other_BC)).sum(-1) / 2
        return both_B * both_B.new_tensor(self.weights_of(labels))
