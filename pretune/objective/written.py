"""A text that is made of another: an encoder reads one row, a decoder writes the other, of which every token counts.

*B rows, L positions of the source, T of the target, V vocabulary.*
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from pretune.infer.engine import padded
from pretune.model.families import Head, States, plain_model
from pretune.objective.objective import Objective, StepWide
from pretune.tokens.rows import IGNORE, Batch, Row, Vocabulary

if TYPE_CHECKING:
    from torch import Tensor, nn


class Written(Objective):
    """Predict each token of a target from its source and those before it."""

    head: ClassVar[Head] = "text"

    def blank(self, length: int, vocabulary: Vocabulary, rng: np.random.Generator) -> Row:
        ids = np.full(length, vocabulary.size - 1, dtype=np.int64)
        return {"ids": ids, "labels": ids}

    def collate(self, rows: Sequence[Row], vocabulary: Vocabulary) -> Batch:
        """Rows of `ids`, the source, and `labels`, the target; both padded on the right to the longest."""
        import torch

        ids, mask = map(torch.from_numpy, padded([row["ids"] for row in rows], vocabulary.pad))
        labels, _ = padded([row["labels"] for row in rows], IGNORE)
        return {"input_ids": ids, "attention_mask": mask, "labels": torch.from_numpy(labels)}

    def sums(self, model: nn.Module, batch: Batch, step_wide: StepWide | None = None) -> dict[str, Tensor]:
        """The loss that transformers gives the same labels, times their number."""
        from pretune.objective.cross_entropy import loss_sum

        core: Any = plain_model(model)
        written = core.prepare_decoder_input_ids_from_labels(batch["labels"])
        inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
        logits_BTV = model(**inputs, decoder_input_ids=written, use_cache=False).logits
        return {"loss": loss_sum(States(logits_BTV.flatten(0, 1)), batch["labels"].flatten())}
