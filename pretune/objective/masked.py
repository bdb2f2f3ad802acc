"""Hide some tokens and predict them (BERT, arXiv:1810.04805 section 3.1).

Of the tokens that are chosen, 80 % become [MASK], 10 % a random token, 10 % stay. The choice is drawn
row by row from (seed, step, slot), so that it is the same however a step is cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pretune.model.families import Head
from pretune.objective.objective import Objective, StepWide
from pretune.objective.packed import packed_batch, packed_loads, packed_sums
from pretune.tokens.rows import IGNORE, Batch, Row, Vocabulary
from pretune.tokens.store.packing import RowForm

if TYPE_CHECKING:
    from torch import Tensor, nn


def num_ordinary(vocabulary: Vocabulary) -> int:
    """How many tokens are not special."""
    return vocabulary.size - sum(token < vocabulary.size for token in vocabulary.specials)


def ordinary_ids(numbers: NDArray[np.int64], vocabulary: Vocabulary) -> NDArray[np.int64]:
    """The tokens that are not special, by their numbers from 0: number 2 is id 4 where 1 and 3 are special."""
    specials = np.sort(np.asarray(vocabulary.specials, dtype=np.int64))
    return np.asarray(numbers + np.searchsorted(specials - np.arange(len(specials)), numbers, side="right"))


class Masked(Objective):
    """Predict tokens that were hidden, from both sides."""

    head: ClassVar[Head] = "masked"
    needs: ClassVar[tuple[str, ...]] = ("mask",)
    body_terms: ClassVar[bool] = True

    rate: float = Field(0.15, gt=0, lt=1)
    """Share of the tokens that is chosen."""
    keep: float = Field(0.1, ge=0, le=1)
    """Share of the chosen that stays as it is."""
    replace: float = Field(0.1, ge=0, le=1)
    """Share of the chosen that becomes a random token; the rest becomes [MASK]."""

    def form(self, length: int, vocabulary: Vocabulary) -> RowForm:
        return RowForm(length, causal=False, cls=vocabulary.cls)

    def prepare(self, row: Row, vocabulary: Vocabulary, rng: np.random.Generator) -> Row:
        """Row of `ids` and `segments` (L each), and what else there is -> the same with hidden tokens, and `labels`."""
        assert vocabulary.mask is not None, "the tokenizer has no mask token"
        ids, segments = np.array(row["ids"]), row["segments"]
        free = np.flatnonzero((segments >= 0) & ~np.isin(ids, vocabulary.specials))
        number = max(1, round(self.rate * len(free))) if len(free) else 0
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
