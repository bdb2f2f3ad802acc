"""Predict the next token (GPT). A row of L positions reads L + 1 tokens.

The first token of a document is no target (nothing before it tells of it), its end token is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from pretune.model.families import Head
from pretune.objective.objective import Objective, StepWide
from pretune.objective.packed import packed_batch, packed_loads, packed_sums
from pretune.tokens.rows import IGNORE, Batch, Row, Vocabulary
from pretune.tokens.store.packing import RowForm

if TYPE_CHECKING:
    from torch import Tensor, nn


class Causal(Objective):
    """Predict each token from those before it in the same document."""

    head: ClassVar[Head] = "next"
    tells_bits: ClassVar[bool] = True
    writes: ClassVar[bool] = True
    body_terms: ClassVar[bool] = True

    def form(self, length: int, vocabulary: Vocabulary) -> RowForm:
        return RowForm(length)

    def collate(self, rows: Sequence[Row], vocabulary: Vocabulary) -> Batch:
        """Rows of `ids` and `segments` (L + 1 each), and `targets` (bool, L + 1) where only some are scored."""
        segments = np.stack([row["segments"] for row in rows])
        ids = np.stack([row["ids"] for row in rows])
        scored = (segments[:, 1:] == segments[:, :-1]) & (segments[:, 1:] >= 0)
        if "targets" in rows[0]:
            scored &= np.stack([row["targets"] for row in rows])[:, 1:]
        labels = np.where(scored, ids[:, 1:], IGNORE)
        heads: list[Row] = [{"ids": row["ids"][:-1], "segments": row["segments"][:-1]} for row in rows]
        return packed_batch(heads, labels, vocabulary.pad)

    def sums(self, model: nn.Module, batch: Batch, step_wide: StepWide | None = None) -> dict[str, Tensor]:
        return packed_sums(model, batch, causal=True, step_wide=step_wide)

    def gather(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        return packed_loads(model, batch, causal=True)
