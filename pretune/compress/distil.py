"""A compressed model learns again to say what the first one said.

All weights move; those that pruning made 0 stay 0. It is training in small, within a ladder, on the rows that are read
for calibration: for more, fine-tune the folder, where nothing keeps the zeros.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from pretune.base.json import Json
from pretune.compress.compressor import Compressed, Compressor, Work

if TYPE_CHECKING:
    from torch import Tensor

    from pretune.compress.learning import Made


class Distil(Compressor):
    """Let the weights learn to say what the model said before it was compressed; zeros stay zeros."""

    kind: str = "distil"
    steps: int = Field(300, gt=0)
    """Steps, of four rows each."""
    rate: float = Field(1e-4, gt=0)
    """Peak learning rate of AdamW, which falls to 0."""
    rows: int = Field(512, gt=0)
    """Rows of the train split that it learns from."""

    @property
    def reads(self) -> int:
        return self.rows

    @property
    def copies(self) -> float:
        """Model and teacher; the free weights, both gradients and AdamW's two averages; the zeros, a byte each."""
        return 7.25

    def compress(self, work: Work) -> Compressed:
        """Returns how far the model was and is from its teacher. Raises NotSupported without one: it is no ladder's."""
        from pretune.base.errors import NotSupported
        from pretune.compress.learning import distance, learn

        model, text, teacher = work.model, work.text, work.teacher
        if teacher is None or text is None:
            problem = "method=distil alone would learn what the model says already"
            raise NotSupported(problem, hint="put it on a ladder, behind what it makes good: method: [prune, distil]")
        facts: Json = {"distance_before": distance(model, teacher, text)}
        learn(model, teacher, whole_weights(model), text, steps=self.steps, rate=self.rate)
        return Compressed(metrics={**facts, "distance": distance(model, teacher, text)})


def whole_weights(model: Any) -> dict[str, Made]:
    """Every weight of a model as a function of itself, with its zeros kept where it is a matrix."""
    from pretune.compress.learning import Made

    def made(weight: Tensor) -> Made:
        there = weight.detach() != 0
        return Made(weight, (weight.detach().clone(),), lambda free: free * there if weight.dim() > 1 else free * 1.0)

    return {name: made(weight) for name, weight in model.named_parameters()}
