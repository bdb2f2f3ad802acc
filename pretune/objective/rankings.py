"""The candidates of a query in order, by a number for each: a row is a query with all its candidates.

    listwise   softmax over the candidates, cross-entropy with their shares of the gain
    pairwise   of every two candidates with different gains, how surely the better one is ahead (mean over such pairs)

Sums and counts are by queries, so one with many candidates weighs as much as one with two.

Source: Bruch et al. 2019, arXiv:1911.09798 (listwise); Burges et al. 2005, RankNet (pairwise).

B rows, M candidates of a row at most.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field

from pretune.model.families import Head, States
from pretune.objective.objective import Objective, StepWide
from pretune.objective.several_texts import blank_texts, by_row, texts_batch
from pretune.objective.spans import NOWHERE
from pretune.tokens.rows import IGNORE, Batch, Row, Vocabulary

if TYPE_CHECKING:
    from torch import Tensor, nn

Loss = Literal["listwise", "pairwise"]


class Rankings(Objective):
    """Put the candidates of a query in the order of their gains."""

    head: ClassVar[Head] = "score"

    loss: Loss = "listwise"
    """How an order is wrong: over the whole list, or over its pairs."""
    candidates: int = Field(8, gt=1)
    """Candidates of a row at most."""

    def blank(self, length: int, vocabulary: Vocabulary, rng: np.random.Generator) -> Row:
        gains = np.eye(1, self.candidates)[0]
        return {**blank_texts(length, self.candidates, vocabulary), "gains": gains}

    def collate(self, rows: Sequence[Row], vocabulary: Vocabulary) -> Batch:
        """Rows of `ids`, `lengths` and `gains`, which are not negative and have the sum 1."""
        width = max(len(row["gains"]) for row in rows)
        gains_BM = np.full((len(rows), width), float(IGNORE))
        for row, gains in zip(rows, gains_BM, strict=True):
            gains[: len(row["gains"])] = row["gains"]
        return texts_batch(rows, vocabulary, gains_BM, width=width)

    def counts(self, batch: Batch) -> dict[str, float]:
        return {"loss": float((batch["labels"] != IGNORE).any(1).sum())}

    @property
    def read_once(self) -> bool:
        return True

    def asked(self, model: nn.Module, batch: Batch) -> States:
        """A place a row, of which the outputs are the candidates."""
        gains_BM = batch["labels"]
        scores_BM = by_row(model, batch, *gains_BM.shape)[:, :, 0]
        return States(scores_BM.masked_fill(gains_BM == IGNORE, NOWHERE))

    def is_target(self, batch: Batch) -> Tensor:
        return (batch["labels"] != IGNORE).any(1)

    def judged(
        self, model: nn.Module, states: States, batch: Batch, step_wide: StepWide | None = None
    ) -> dict[str, Tensor]:
        gains_BM, scores_BM = batch["labels"], states.hidden_ND
        loss = listwise if self.loss == "listwise" else pairwise
        return {"loss": loss(scores_BM, gains_BM.to(scores_BM.dtype), gains_BM != IGNORE).sum()}


def listwise(scores_BM: Tensor, gains_BM: Tensor, there_BM: Tensor) -> Tensor:
    """The cross-entropy of each query, [B]."""
    import torch

    lowest = torch.finfo(scores_BM.dtype).min / 2
    chances_BM = scores_BM.masked_fill(~there_BM, lowest).log_softmax(-1)
    return -(chances_BM * gains_BM.masked_fill(~there_BM, 0.0)).sum(-1)


def pairwise(scores_BM: Tensor, gains_BM: Tensor, there_BM: Tensor) -> Tensor:
    """The mean over the pairs of each query, [B]."""
    import torch.nn.functional as F

    both_BMM = there_BM[:, :, None] & there_BM[:, None, :]
    better_BMM = (gains_BM[:, :, None] > gains_BM[:, None, :]) & both_BMM
    wrong_BMM = F.softplus(scores_BM[:, None, :] - scores_BM[:, :, None]) * better_BMM
    return wrong_BMM.sum((1, 2)) / better_BMM.sum((1, 2)).clamp(min=1)
