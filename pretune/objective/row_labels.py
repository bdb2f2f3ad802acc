"""What the objectives of labels share: what makes a model sure of a row, and what keeps it from learning rows by heart.

    focal       errors on rows that are told well already count less
    smoothing   a part of the target goes to all labels
    r_drop      a row is read twice, with other dropout; the two answers shall agree
    mixup       a row and another of the step are answered together, in a share that is drawn

All of it is drawn row by row, or once for the whole step, and summed: how a step is cut changes nothing.

B rows, C labels, R rows that are read: B, or with mixup first the B rows and then their partners.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from pretune.model.families import Head, States
from pretune.objective.objective import Objective, StepWide
from pretune.objective.whole_rows import row_logits, rows_batch
from pretune.tokens.rows import Batch, Row, Vocabulary

if TYPE_CHECKING:
    from torch import Tensor, nn

HALF = 0.5
"""A row's share of a mixture in a dry run."""
SURE = 1e-12
"""Least distance from certainty whose slope is taken: below gamma = 1 that of (1 - p) ** gamma has no bound."""


class RowLabels(Objective):
    """Predict one label of a row, or several."""

    head: ClassVar[Head] = "label"
    place: ClassVar[str]
    """Where a row has its target."""
    dtype: ClassVar[Any]
    """Of the target."""

    loss: Literal["cross-entropy", "focal"] = "cross-entropy"
    """focal: the loss of a target times (1 - its probability) ** focal_gamma."""
    focal_gamma: float = Field(2.0, ge=0)
    """Of focal: 0 is cross-entropy."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of the target that is spread over all labels."""
    class_weights: tuple[float, ...] | None = None
    """Weight of each label, in their order; None: all weigh alike."""
    r_drop: float = Field(0.0, ge=0)
    """Weight of the disagreement of two readings of a row with dropout; 0: one reading."""
    mixup: float = Field(0.0, ge=0)
    """Rows are mixed in shares of Beta(mixup, mixup); 0: not."""

    @property
    def gamma(self) -> float:
        """The power of focal loss; 0 of cross-entropy."""
        return self.focal_gamma if self.loss == "focal" else 0.0

    def together(self, rows: Sequence[Row], rng: np.random.Generator) -> list[Row]:
        """With mixup each row gets a partner of the step, and its own share in the two."""
        if not self.mixup or not rows:
            return list(rows)
        partners, shares = rng.permutation(len(rows)), rng.beta(self.mixup, self.mixup, len(rows))
        mixed = zip(rows, partners, shares, strict=True)
        return [{**row, "partner": rows[k], "share": float(share)} for row, k, share in mixed]

    def prepare(self, row: Row, vocabulary: Vocabulary, rng: np.random.Generator) -> Row:
        return {**row, "readings": rng.integers(0, 1 << 32, 2)} if self.r_drop else row

    def collate(self, rows: Sequence[Row], vocabulary: Vocabulary) -> Batch:
        """Rows of `ids` (their own lengths) and their target, padded on the right to the longest."""
        import torch

        read = [*rows, *(row["partner"] for row in rows if "partner" in row)]
        batch = rows_batch(read, vocabulary, np.array([row[self.place] for row in read], dtype=self.dtype))
        if len(read) > len(rows):
            batch["shares"] = torch.tensor([row["share"] for row in rows], dtype=torch.float64)
        if self.r_drop and all("readings" in row for row in rows):
            batch["readings"] = torch.from_numpy(np.array([row["readings"] for row in rows]))
        return batch

    def dry(self, row: Row) -> Row:
        """A row of a dry run, with all that is read next to it."""
        mixed: Row = {"partner": row, "share": HALF} if self.mixup else {}
        again: Row = {"readings": np.arange(2, dtype=np.int64)} if self.r_drop else {}
        return {**row, **mixed, **again}

    def counts(self, batch: Batch) -> dict[str, float]:
        weights = self.weights_of(batch["labels"])
        if "shares" in batch:
            own = batch["shares"].tolist()
            weights = [w * s for w, s in zip(weights, [*own, *(1 - s for s in own)], strict=True)]
        return {"loss": math.fsum(weights)}

    def passes(self, batch: Batch) -> int:
        return 2 if "readings" in batch else 1

    @property
    def read_once(self) -> bool:
        return not (self.r_drop or self.mixup)

    def asked(self, model: nn.Module, batch: Batch) -> States:
        return States(row_logits(model, batch))

    def judged(
        self, model: nn.Module, states: States, batch: Batch, step_wide: StepWide | None = None
    ) -> dict[str, Tensor]:
        return {"loss": self.losses(states.hidden_ND, batch["labels"]).sum()}

    def sums(self, model: nn.Module, batch: Batch, step_wide: StepWide | None = None) -> dict[str, Tensor]:
        labels = batch["labels"]
        if "shares" in batch:
            return {"loss": self._of_mixed(row_logits(model, batch), labels, batch["shares"])}
        if not ("readings" in batch and model.training):
            return self.judged(model, self.asked(model, batch), batch)
        first, second = (self._read(model, batch, k) for k in range(2))
        losses_B = (self.losses(first, labels) + self.losses(second, labels)) / 2
        return {"loss": losses_B.sum() + self.r_drop / 2 * self.apart(first, second, labels).sum()}

    def _read(self, model: nn.Module, batch: Batch, number: int) -> Tensor:
        from pretune.model.row_dropout import RowDropout

        with RowDropout(batch["readings"][:, number]):
            return row_logits(model, batch)

    def _of_mixed(self, logits_RC: Tensor, labels: Tensor, shares_B: Tensor) -> Tensor:
        """Heads end in a linear layer, so to mix their logits is to mix the vectors that this layer reads."""
        (own_BC, other_BC), (mine, theirs) = logits_RC.chunk(2), labels.chunk(2)
        shares_B = shares_B.to(own_BC.dtype)
        mixed_BC = shares_B[:, None] * own_BC + (1 - shares_B)[:, None] * other_BC
        losses_B = shares_B * self.losses(mixed_BC, mine) + (1 - shares_B) * self.losses(mixed_BC, theirs)
        return losses_B.sum()

    def weights_of(self, labels: Tensor) -> list[float]:
        """What each row counts; 0 of one without a target."""
        raise AssertionError("an objective of labels has weights_of()")

    def losses(self, logits_BC: Tensor, labels: Tensor) -> Tensor:
        """The loss of each row, weighed, [B]."""
        raise AssertionError("an objective of labels has losses()")

    def apart(self, one_BC: Tensor, other_BC: Tensor, labels: Tensor) -> Tensor:
        """The mean of the two divergences (Kullback-Leibler) of two answers to each row, weighed, [B]."""
        raise AssertionError("an objective of labels has apart()")


def beyond(log_p: Tensor, gamma: float) -> Any:
    """(1 - p) ** gamma of log-probabilities; 1 where gamma is 0.

    Source: Lin et al. 2017, arXiv:1708.02002, equation 4.
    """
    return (-log_p.expm1()).clamp(min=SURE) ** gamma if gamma else 1.0
