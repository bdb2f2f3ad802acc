"""Hide some tokens and predict them (BERT, arXiv:1810.04805 section 3.1), and perhaps tell whether two parts belong
together.

    the cat sat on the un|believ|able mat     rate 0.15 of the tokens: each by itself, whole words, or spans
    the [M] sat on the [M]  [M]  [M]  mat     80 % become [MASK], 10 % random tokens, 10 % stay

What is hidden together shares one fate, so that no half of a word tells the other (SpanBERT, arXiv:1907.10529 section
3.1, for spans; whole words: Cui et al. 2019, arXiv:1906.08101, who choose so and draw the fate token by token). The
choice is drawn row by row from (seed, step, slot), so that it is the same however a step is cut.

With pairs=next or pairs=order a row is [cls] A [sep] B [sep], and a second head, of the whole row, says whether B
follows A: in half of the rows B is of another document (BERT), or A and B have changed places (ALBERT,
arXiv:1909.11942 section 3.1). Both losses are means over their own targets in the step, and are added.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pretune.model.families import Head, States
from pretune.objective.objective import Objective, StepWide
from pretune.objective.packed import packed_batch, packed_judged, packed_states, target_sum
from pretune.objective.pretraining.hiding import (
    along,
    chosen_spans,
    chosen_units,
    hideable,
    num_ordinary,
    ordinary_ids,
)
from pretune.tokens.encode.words import has_segmenter
from pretune.tokens.rows import IGNORE, Batch, Row, Vocabulary
from pretune.tokens.store.packing import RowForm

if TYPE_CHECKING:
    from torch import Tensor, nn


class Hiding(Objective):
    """What the objectives share that hide tokens."""

    rate: float = Field(0.15, gt=0, lt=1)
    """Share of the tokens that is chosen."""
    last_rate: float | None = Field(None, gt=0, lt=1)
    """The share at the end of the run, to which it moves evenly; validation takes this one."""
    words: Literal["pieces", "whole"] = "pieces"
    """What is chosen: tokens (pieces), or whole words, as many as come nearest to the rate. Where Chinese is written
    they are the words of rjieba (extra `words`), without it single characters. A word that the row's border cuts is
    one of its own."""
    spans: float | None = Field(None, ge=1, le=5)
    """Mean length of spans of neighbours that are chosen together, in tokens, or in words with words=whole; 10 at most
    each. SpanBERT's is 3.8, in words (arXiv:1907.10529)."""
    keep: float = Field(0.1, ge=0, le=1)
    """Share of the chosen that stays as it is."""
    replace: float = Field(0.1, ge=0, le=1)
    """Share of the chosen that becomes a random token; the rest becomes [MASK]."""

    def remark(self) -> str:
        if self.words == "pieces" or has_segmenter():
            return ""
        return 'Chinese is hidden character by character without rjieba: pip install "pretune[words]"'

    def blank(self, length: int, vocabulary: Vocabulary, rng: np.random.Generator) -> Row:
        plain = self.model_copy(update={"words": "pieces", "spans": None})  # a row of one token is no text
        return Objective.blank(plain, length, vocabulary, rng)

    def prepare(self, row: Row, vocabulary: Vocabulary, rng: np.random.Generator) -> Row:
        """Row of `ids` and `segments` (L each), and what else there is -> the same with hidden tokens, and `labels`."""
        assert vocabulary.mask is not None, "the tokenizer has no mask token"
        ids, free = np.array(row["ids"]), hideable(row, vocabulary)
        rate = along(row.get("progress", 1.0), self.rate, self.last_rate)
        chosen, group = self._chosen(row, free, rate, vocabulary, rng)
        fate = rng.random(int(group.max(initial=-1)) + 1)[group]
        labels = np.full(len(ids), IGNORE, dtype=np.int64)
        labels[chosen] = ids[chosen]
        ids[chosen[fate >= self.keep + self.replace]] = vocabulary.mask
        swapped = chosen[(fate >= self.keep) & (fate < self.keep + self.replace)]
        ids[swapped] = ordinary_ids(rng.integers(0, num_ordinary(vocabulary), len(swapped)), vocabulary)
        return {**row, "ids": ids, "labels": labels}

    def _chosen(
        self, row: Row, free: NDArray[np.int64], rate: float, vocabulary: Vocabulary, rng: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The places that are chosen, and which of them share a fate (a number each)."""
        number = max(1, round(rate * len(free))) if len(free) else 0
        if not number or (self.words == "pieces" and self.spans is None):
            return rng.permutation(free)[:number], np.arange(number)
        unit = self._units(row, free, vocabulary)
        sizes = np.bincount(unit)
        if self.spans is not None:
            number = max(1, round(rate * len(sizes)))
            group = chosen_spans(len(sizes), number, self.spans, rng)
        else:
            group, whole = np.full(len(sizes), -1), chosen_units(sizes, number, rng)
            group[whole] = np.arange(len(whole))
        shown = group[unit] >= 0
        return free[shown], group[unit][shown]

    def _units(self, row: Row, free: NDArray[np.int64], vocabulary: Vocabulary) -> NDArray[np.int64]:
        """The number of the word, or of the token, that each place belongs to, from 0."""
        if self.words == "pieces":
            return np.arange(len(free))
        segments = np.asarray(row["segments"])
        begins = vocabulary.words.begins(np.asarray(row["ids"]))
        begins[1:] |= segments[1:] != segments[:-1]
        number = np.cumsum(begins)[free]
        return np.asarray(np.unique(number, return_inverse=True)[1])


class Masked(Hiding):
    """Predict tokens that were hidden, from both sides."""

    pairs: Literal["no", "next", "order"] = "no"
    """A second question, of rows of two parts (packing=pairs): whether the second follows the first in its document
    (next, as BERT), or whether the two stand in their order (order, as ALBERT)."""

    @property
    def head(self) -> Head:  # type: ignore[override]  # what follows depends on a setting
        return "masked" if self.pairs == "no" else "pair"

    @property
    def weights(self) -> Mapping[str, float]:  # type: ignore[override]
        return {"loss": 1.0} if self.pairs == "no" else {"masked": 1.0, self.pairs: 1.0}

    @property
    def needs(self) -> tuple[str, ...]:  # type: ignore[override]
        return ("mask",) if self.pairs == "no" else ("mask", "cls", "sep")

    @property
    def packing(self) -> str | None:  # type: ignore[override]
        return None if self.pairs == "no" else "pairs"

    def form(self, length: int, vocabulary: Vocabulary) -> RowForm:
        return RowForm(length, causal=False, cls=vocabulary.cls, swaps=self.pairs == "order")

    def blank(self, length: int, vocabulary: Vocabulary, rng: np.random.Generator) -> Row:
        row = super().blank(length, vocabulary, rng)
        return {**row, "parts": np.zeros(len(row["ids"]), dtype=np.int64), "is_next": True}

    def collate(self, rows: Sequence[Row], vocabulary: Vocabulary) -> Batch:
        """`labels` of the hidden tokens; of pairs `token_type_ids` [B, L] too, and `strangers` [B]: 1 where B does not
        follow A, as transformers counts."""
        import torch

        batch = packed_batch(rows, np.stack([row["labels"] for row in rows]), vocabulary.pad)
        if self.pairs != "no":
            batch["token_type_ids"] = torch.from_numpy(np.stack([row["parts"] for row in rows]).astype(np.int64))
            batch["strangers"] = torch.tensor([int(not row["is_next"]) for row in rows])
        return batch

    def idle(self, row: Row, vocabulary: Vocabulary) -> Batch:
        batch = super().idle(row, vocabulary)
        if "strangers" in batch:
            batch["strangers"].fill_(IGNORE)
        return batch

    def counts(self, batch: Batch) -> dict[str, float]:
        found = super().counts(batch)
        if self.pairs == "no":
            return found
        return {"masked": found["loss"], self.pairs: float((batch["strangers"] != IGNORE).sum())}

    @property
    def read_once(self) -> bool:
        return self.pairs == "no"

    def asked(self, model: nn.Module, batch: Batch) -> States:
        return packed_states(model, batch, causal=False) if self.pairs == "no" else self._states(model, batch)

    def judged(
        self, model: nn.Module, states: States, batch: Batch, step_wide: StepWide | None = None
    ) -> dict[str, Tensor]:
        from pretune.objective.cross_entropy import loss_sum

        if self.pairs == "no":
            return packed_judged(model, states, batch)
        pair = loss_sum(_of_rows(states), batch["strangers"])
        return {"masked": target_sum(states, batch), self.pairs: pair}

    def measured(self, model: nn.Module, batch: Batch) -> dict[str, tuple[float, float]]:
        """Of pairs, the share that is right of the hidden tokens, and of the pairs."""
        from pretune.objective.cross_entropy import num_right

        if self.pairs == "no":
            return {}
        states, labels_N = self._states(model, batch), batch["labels"].flatten()
        labels_N = labels_N[batch["at"]] if "at" in batch else labels_N
        of_tokens, of_pairs = num_right(states, labels_N), num_right(_of_rows(states), batch["strangers"])
        return {"masked_accuracy": of_tokens, f"{self.pairs}_accuracy": of_pairs}

    def _states(self, model: nn.Module, batch: Batch) -> States:
        return packed_states(model, batch, causal=False, token_type_ids=batch["token_type_ids"])


def _of_rows(states: States) -> States:
    assert states.rows_BC is not None, "a head for pairs scores rows"
    return States(states.rows_BC)
