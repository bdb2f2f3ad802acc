"""Where a piece of a row starts and ends: cross-entropy over the row's tokens, of the start and of the end.

Both are targets of one term, so the loss per target is what transformers calls the loss: the mean of the two. Padding
is no place: the softmax of a row is the same whatever it is padded to.

*B rows, L positions.*
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from pretune.infer.engine import padded
from pretune.model.families import Head, States, scores_of
from pretune.objective.objective import Objective, StepWide
from pretune.tokens.rows import Batch, Row, Vocabulary

if TYPE_CHECKING:
    from torch import Tensor, nn


NOWHERE = -1e30
"""The score of padding: finite, so that two models can be compared at it."""
HEAD_BIASES = ("qa_outputs.bias", "classifier.bias", "classifier.out_proj.bias", "score.bias")


def hold_bias(model: nn.Module) -> None:
    """Keep the bias of the head where it is: added to every place, or to every candidate, it moves no softmax.

    Its gradient is 0 but for rounding, which AdamW would blow up to steps that depend on how a batch is cut.
    """
    import torch

    for name, parameter in model.named_parameters():
        if name.endswith(HEAD_BIASES):
            parameter.register_hook(torch.zeros_like)  # type: ignore[no-untyped-call]


class Spans(Objective):
    """Predict the first and the last token of a piece of the row."""

    head: ClassVar[Head] = "span"

    def blank(self, length: int, vocabulary: Vocabulary, rng: np.random.Generator) -> Row:
        return {"ids": [vocabulary.size - 1] * length, "span": (0, 0)}

    def collate(self, rows: Sequence[Row], vocabulary: Vocabulary) -> Batch:
        """Rows of `ids` (their own lengths) and `span`, padded on the right to the longest; labels [B, 2]."""
        import torch

        ids, mask = map(torch.from_numpy, padded([row["ids"] for row in rows], vocabulary.pad))
        return {"input_ids": ids, "attention_mask": mask, "labels": torch.tensor([row["span"] for row in rows])}

    @property
    def read_once(self) -> bool:
        return True

    def asked(self, model: nn.Module, batch: Batch) -> States:
        """Two places a row, its start and its end, of which the outputs are the row's tokens."""
        import torch

        scores_BL2 = scores_of(model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]))
        wide_B2L = scores_BL2.to(torch.promote_types(scores_BL2.dtype, torch.float32)).mT
        there_B2L = wide_B2L.masked_fill(batch["attention_mask"][:, None] == 0, NOWHERE)
        return States(there_B2L.flatten(0, 1))

    def judged(
        self, model: nn.Module, states: States, batch: Batch, step_wide: StepWide | None = None
    ) -> dict[str, Tensor]:
        from pretune.objective.cross_entropy import loss_sum

        return {"loss": loss_sum(states, batch["labels"].flatten())}
