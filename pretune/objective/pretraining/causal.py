"""Predict the next token (GPT). A row of L positions reads L + 1 tokens.

The first token of a document is no target (nothing before it tells of it), its end token is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import Field

from pretune.model.families import Head, States
from pretune.objective.objective import Objective, StepWide
from pretune.objective.packed import packed_batch, packed_judged, packed_loads, packed_states
from pretune.objective.pretraining.hiding import hideable
from pretune.tokens.rows import IGNORE, Batch, Row, Vocabulary
from pretune.tokens.store.packing import RowForm

if TYPE_CHECKING:
    from torch import Tensor, nn


class Causal(Objective):
    """Predict each token from those before it in the same document."""

    head: ClassVar[Head] = "next"
    tells_bits: ClassVar[str | None] = "loss"
    writes: ClassVar[bool] = True
    body_terms: ClassVar[bool] = True

    input_mask: float = Field(0.0, ge=0, lt=1)
    """Share of the tokens that are read as [MASK] in training, so that a text which is read many times is never read
    twice alike; what is predicted stays. In validation nothing is masked. (Word dropout: arXiv:1511.06349, section
    3.3.)"""

    @property
    def needs(self) -> tuple[str, ...]:  # type: ignore[override]  # it depends on a setting
        return ("mask",) if self.input_mask else ()

    def form(self, length: int, vocabulary: Vocabulary) -> RowForm:
        return RowForm(length)

    def prepare(self, row: Row, vocabulary: Vocabulary, rng: np.random.Generator) -> Row:
        """The same row, with what the model shall `read` instead where some of it is masked."""
        if not self.input_mask or "progress" not in row:
            return row
        assert vocabulary.mask is not None, "the tokenizer has no mask token"
        places, read = hideable(row, vocabulary), np.array(row["ids"])
        read[rng.permutation(places)[: round(self.input_mask * len(places))]] = vocabulary.mask
        return {**row, "read": read}

    def collate(self, rows: Sequence[Row], vocabulary: Vocabulary) -> Batch:
        """Rows of `ids` and `segments` (L + 1 each), and `targets` (bool, L + 1) where only some are scored."""
        segments = np.stack([row["segments"] for row in rows])
        ids = np.stack([row["ids"] for row in rows])
        scored = (segments[:, 1:] == segments[:, :-1]) & (segments[:, 1:] >= 0)
        if "targets" in rows[0]:
            scored &= np.stack([row["targets"] for row in rows])[:, 1:]
        labels = np.where(scored, ids[:, 1:], IGNORE)
        heads: list[Row] = [{"ids": r.get("read", r["ids"])[:-1], "segments": r["segments"][:-1]} for r in rows]
        return packed_batch(heads, labels, vocabulary.pad)

    @property
    def read_once(self) -> bool:
        return True

    def asked(self, model: nn.Module, batch: Batch) -> States:
        return packed_states(model, batch, causal=True)

    def judged(
        self, model: nn.Module, states: States, batch: Batch, step_wide: StepWide | None = None
    ) -> dict[str, Tensor]:
        return packed_judged(model, states, batch, step_wide)

    def gather(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        return packed_loads(model, batch, causal=True)
