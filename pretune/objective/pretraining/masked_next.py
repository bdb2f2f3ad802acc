"""Hidden tokens as a decoder predicts them: each at the place before its own, every token of its document in sight.

    read        the [M] sat on [M] mat            the mask is that of an encoder, the head that of a decoder
    predict      cat  .   .  the  .               at the place before the hidden one

So one model with one head can learn this and the next token (objective=hybrid).

Source: BehnamGhader et al. 2024, arXiv:2404.05961 (masked next token); Charpentier & Samuel 2024, arXiv:2410.24159.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from pretune.model.families import Head, States
from pretune.objective.objective import StepWide
from pretune.objective.packed import packed_batch, packed_judged, packed_loads, packed_states
from pretune.objective.pretraining.masked import Hiding
from pretune.tokens.rows import IGNORE, Batch, Row, Vocabulary
from pretune.tokens.store.packing import RowForm

if TYPE_CHECKING:
    from torch import Tensor, nn


class MaskedNext(Hiding):
    """Predict hidden tokens from both sides, each at the place before it."""

    head: ClassVar[Head] = "next"
    needs: ClassVar[tuple[str, ...]] = ("mask",)
    body_terms: ClassVar[bool] = True

    def form(self, length: int, vocabulary: Vocabulary) -> RowForm:
        return RowForm(length)

    def prepare(self, row: Row, vocabulary: Vocabulary, rng: np.random.Generator) -> Row:
        """Row of `ids` and `segments` (L + 1 each) -> L of each, and `labels`; a document's first token stays."""
        segments = np.asarray(row["segments"])[:-1]
        is_first = np.append(True, segments[1:] != segments[:-1])
        inputs: Row = {**row, "ids": row["ids"][:-1], "segments": segments}
        hidden = super().prepare({**inputs, "segments": np.where(is_first, -1, segments)}, vocabulary, rng)
        labels = np.append(hidden["labels"][1:], IGNORE)
        return {**hidden, "segments": segments, "labels": labels}

    def collate(self, rows: Sequence[Row], vocabulary: Vocabulary) -> Batch:
        return packed_batch(rows, np.stack([row["labels"] for row in rows]), vocabulary.pad)

    @property
    def read_once(self) -> bool:
        return True

    def asked(self, model: nn.Module, batch: Batch) -> States:
        return packed_states(model, batch, causal=False)

    def judged(
        self, model: nn.Module, states: States, batch: Batch, step_wide: StepWide | None = None
    ) -> dict[str, Tensor]:
        return packed_judged(model, states, batch, step_wide)

    def gather(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        return packed_loads(model, batch, causal=False)
