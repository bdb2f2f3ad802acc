"""Vectors told apart: the right text is nearer to its query than every other text of the whole step (InfoNCE).

    row     query, right text, hard negatives (any number up to `negatives`)
    step    cosine of every query with every other text / temperature  ->  cross-entropy at its own right text

What is right for a query anywhere in the step is never its negative: the same text in another row, and what other rows
with the same query have as right.

The loss of a row depends on all rows of the step. `gather` gives the vectors of all first; then each micro-batch makes
its own again, with gradient, and the loss of the step is taken with these in their place. So the gradient is that of
one whole batch, however the step is cut, and memory is that of a micro-batch.

Source: van den Oord et al. 2018, arXiv:1807.03748; Gao et al. 2021, arXiv:2101.06983 (cached gradients); scale and form
of the loss as sentence-transformers' MultipleNegativesRankingLoss.

N rows of the step, B of the batch, M texts of a row (query, right one, negatives), C = N * (M - 1), D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import Field

from pretune.model.families import Head, States
from pretune.objective.objective import Objective, Outputs, StepWide
from pretune.objective.several_texts import blank_texts, by_row, texts_batch
from pretune.tokens.rows import IGNORE, Batch, Row, Vocabulary

if TYPE_CHECKING:
    from torch import Tensor, nn

NOBODY = 0
"""The name of a text that is not there."""


class Contrast(Objective):
    """Tell the text that belongs to a query from all others of the step."""

    head: ClassVar[Head] = "vector"
    outputs: ClassVar[Outputs] = "vector"
    gathers: ClassVar[bool] = True

    temperature: float = Field(0.05, gt=0)
    """What cosines are divided by."""
    negatives: int = Field(0, ge=0)
    """Hard negatives of a row at most."""

    @property
    def width(self) -> int:
        return 2 + self.negatives

    def blank(self, length: int, vocabulary: Vocabulary, rng: np.random.Generator) -> Row:
        return {**blank_texts(length, self.width, vocabulary), "names": rng.integers(1, 1 << 62, self.width)}

    def collate(self, rows: Sequence[Row], vocabulary: Vocabulary) -> Batch:
        """Rows of `ids`, `lengths` and `names`: equal texts have equal ones, which are not NOBODY."""
        import torch

        batch = texts_batch(rows, vocabulary, np.zeros(len(rows), np.int64), width=self.width)
        names_BM = np.full((len(rows), self.width), NOBODY, np.int64)
        for row, names in zip(rows, names_BM, strict=True):
            names[: len(row["names"])] = row["names"]
        return {**batch, "names": torch.from_numpy(names_BM)}

    def idle(self, row: Row, vocabulary: Vocabulary) -> Batch:
        """Its texts are nobody's negatives."""
        batch = self.collate([row], vocabulary)
        batch["labels"].fill_(IGNORE)
        batch["names"].fill_(NOBODY)
        return batch

    def gather(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        return {"vectors": self._vectors(model, batch), "names": batch["names"]}

    @property
    def read_once(self) -> bool:
        return True

    def asked(self, model: nn.Module, batch: Batch) -> States:
        """The vectors of all texts, [B * M, D]; zeros where a row has no further text."""
        return States(self._vectors(model, batch).flatten(0, 1))

    def is_target(self, batch: Batch) -> Tensor:
        return (batch["names"] != NOBODY).flatten()

    def judged(
        self, model: nn.Module, states: States, batch: Batch, step_wide: StepWide | None = None
    ) -> dict[str, Tensor]:
        """The value is that of these rows; the gradient that of all, of which these rows' vectors are a part."""
        import torch

        mine_BMD = states.hidden_ND.view(-1, self.width, states.hidden_ND.shape[-1])
        wide = step_wide or StepWide({"vectors": mine_BMD, "names": batch["names"]}, 0)
        start, end, all_NMD = wide.first, wide.first + len(mine_BMD), wide.tensors["vectors"]
        whole_NMD = torch.cat([all_NMD[:start], mine_BMD, all_NMD[end:]])
        losses_N = told_apart(whole_NMD, wide.tensors["names"], self.temperature)
        mine, total = losses_N[start:end].sum(), losses_N.sum()
        return {"loss": mine.detach() + total - total.detach()}

    def _vectors(self, model: nn.Module, batch: Batch) -> Tensor:
        import torch.nn.functional as F

        return F.normalize(by_row(model, batch, len(batch["labels"]), self.width), dim=-1)


def told_apart(vectors_NMD: Tensor, names_NM: Tensor, temperature: float) -> Tensor:
    """The cross-entropy of each row, [N]; 0 of rows whose query is NOBODY."""
    import torch
    import torch.nn.functional as F

    number, width, _ = vectors_NMD.shape
    names_C = names_NM[:, 1:].reshape(-1)
    logits_NC = vectors_NMD[:, 0] @ vectors_NMD[:, 1:].reshape(len(names_C), -1).T / temperature
    own_N = torch.arange(number, device=names_C.device) * (width - 1)
    # Whether a text is what some row with the same query has as right: a product of two tables of yes and no.
    same_NN = (names_NM[:, :1] == names_NM[:, 0]).float()
    right_NC = same_NN @ (names_NM[:, 1:2] == names_C).float() > 0
    blocked_NC = (right_NC | (names_C == NOBODY)).scatter(1, own_N[:, None], False)
    losses_N = F.cross_entropy(logits_NC.masked_fill(blocked_NC, float("-inf")), own_N, reduction="none")
    return losses_N * (names_NM[:, 0] != NOBODY)
