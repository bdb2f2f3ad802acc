"""Hide some tokens and predict them (BERT, arXiv:1810.04805 section 3.1).

Of the tokens that are chosen, 80 % become [MASK], 10 % a random token, 10 % stay. The choice is drawn
row by row from (seed, step, slot), so that it is the same however a step is cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import Field

from pretune.model.families import Head
from pretune.objective.objective import Objective, StepWide
from pretune.objective.packed import packed_batch, packed_loads, packed_sums
from pretune.objective.pretraining.hiding import along, hideable, num_ordinary, ordinary_ids
from pretune.tokens.rows import IGNORE, Batch, Row, Vocabulary
from pretune.tokens.store.packing import RowForm

if TYPE_CHECKING:
    from torch import Tensor, nn


class Masked(Objective):
    """Predict tokens that were hidden, from both sides."""

    head: ClassVar[Head] = "masked"
    needs: ClassVar[tuple[str, ...]] = ("mask",)
    body_terms: ClassVar[bool] = True

    rate: float = Field(0.15, gt=0, lt=1)
    """Share of the tokens that is chosen."""
    last_rate: float | None = Field(None, gt=0, lt=1)
    """The share at the end of the run, to which it moves evenly; validation takes this one."""
    keep: float = Field(0.1, ge=0, le=1)
    """Share of the chosen that stays as it is."""
    replace: float = Field(0.1, ge=0, le=1)
    """Share of the chosen that becomes a random token; the rest becomes [MASK]."""

    def form(self, length: int, vocabulary: Vocabulary) -> RowForm:
        return RowForm(length, causal=False, cls=vocabulary.cls)

    def prepare(self, row: Row, vocabulary: Vocabulary, rng: np.random.Generator) -> Row:
        """Row of `ids` and `segments` (L each), and what else there is -> the same with hidden tokens, and `labels`."""
        assert vocabulary.mask is not None, "the tokenizer has no mask token"
        ids, free = np.array(row["ids"]), hideable(row, vocabulary)
        rate = along(row.get("progress", 1.0), self.rate, self.last_rate)
        number = max(1, round(rate * len(free))) if len(free) else 0
        chosen = rng.permutation(free)[:number]
        fate = rng.random(number)
        labels = np.full(len(ids), IGNORE, dtype=np.int64)
        labels[chosen] = ids[chosen]
        ids[chosen[fate >= self.keep + self.replace]] = vocabulary.mask
        swapped = chosen[(fate >= self.keep) & (fate < self.keep + self.replace)]
        ids[swapped] = ordinary_ids(rng.integers(0, num_ordinary(vocabulary), len(swapped)), vocabulary)
        return {**row, "ids": ids, "labels": labels}

    def collate(self, rows: Sequence[Row], vocabulary: Vocabulary) -> Batch:
        return packed_batch(rows, np.stack([row["labels"] for row in rows]), vocabulary.pad)

    def sums(self, model: nn.Module, batch: Batch, step_wide: StepWide | None = None) -> dict[str, Tensor]:
        return packed_sums(model, batch, causal=False, step_wide=step_wide)

    def gather(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        return packed_loads(model, batch, causal=False)
