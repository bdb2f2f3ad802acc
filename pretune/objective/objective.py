"""What a model is asked to predict. An objective gives sums and counts, never means.

The loop owns the denominator: it adds the counts of a whole step, over all micro-batches and ranks,
before the first backward pass. So how a step is cut changes nothing.

    row    together (what rows of a step draw of one another), prepare (what is random, row by row)  ->  row
    row    collate (padding only)  ->  batch
    batch  counts (before the forward pass), sums (the loss, summed over targets)

B rows, L positions, V vocabulary, D width, N targets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from pretune.base.config import Choice, Variant
from pretune.model.families import Head, States
from pretune.tokens.rows import IGNORE, Batch, Row, Vocabulary
from pretune.tokens.store.packing import RowForm

if TYPE_CHECKING:
    from torch import Tensor, nn


Outputs = Literal["label", "labels", "score", "vector"]
"""Chances of one label (or token, or place), of each of several, a number, or a vector of length 1."""


class Objective(Variant):
    """Settings of what is predicted."""

    head: ClassVar[Head]
    """The head of the model that it trains."""
    weights: ClassVar[Mapping[str, float]] = {"loss": 1.0}
    """Loss term -> its weight in the sum."""
    needs: ClassVar[tuple[str, ...]] = ()
    """Special tokens that the tokenizer must name, or gets: mask, cls, sep, pad."""
    controls: ClassVar[tuple[str, ...]] = ()
    """Control tokens of its own, by their text, which the tokenizer gets where it lacks them."""
    packing: ClassVar[str | None] = None
    """The kind of packing that makes its rows; None: any."""
    tells_bits: ClassVar[str | None] = None
    """The term whose targets are every token of a text once, predicted from those before it: of it bits per byte can
    be reported."""
    writes: ClassVar[bool] = False
    """Whether the model that it trains can go on with a text."""
    passed: ClassVar[tuple[float, float]] = (1.0, 1.0)
    """Of each token of the text, how many an encoder reads and a decoder writes; of one stack 1 and 1."""
    one_shape: ClassVar[bool] = True
    """Whether all full batches have one shape: code is compiled for a shape."""
    is_alone: ClassVar[bool] = False
    """Whether it cannot be one of several."""
    gathers: ClassVar[bool] = False
    """Whether the loss of a row depends on the other rows of the step: then `gather` runs first, over all of them."""
    body_terms: ClassVar[bool] = False
    """Whether `sums` has the terms that a model's body adds (router losses); then `gather` counts what they need."""

    outputs: ClassVar[Outputs] = "label"
    """What the outputs of a place are."""

    @property
    def read_once(self) -> bool:
        """Whether `sums` is what `judged` makes of what `asked` gives."""
        return False

    def remark(self) -> str:
        """What a user should know before the run, in a line; "" if nothing."""
        return ""

    def form(self, length: int, vocabulary: Vocabulary) -> RowForm:
        """The form of the rows that it reads from token stores."""
        raise AssertionError("an objective that reads text has form()")

    def blank(self, length: int, vocabulary: Vocabulary, rng: np.random.Generator) -> Row:
        """A full row of one document, prepared, with a target wherever there may be one: for dry runs."""
        form = self.form(length, vocabulary)
        width = form.length + form.causal
        row: Row = {"ids": np.full(width, vocabulary.size - 1), "segments": np.zeros(width, dtype=np.int64)}
        return self.prepare(row, vocabulary, rng)

    def together(self, rows: Sequence[Row], rng: np.random.Generator) -> list[Row]:
        """The rows of a whole step with what they draw of one another; runs before the step is cut."""
        return list(rows)

    def prepare(self, row: Row, vocabulary: Vocabulary, rng: np.random.Generator) -> Row:
        """Everything random, row by row, so that it does not depend on how a step is cut."""
        return row

    def collate(self, rows: Sequence[Row], vocabulary: Vocabulary) -> Batch:
        """Rows as tensors; padding only."""
        raise AssertionError("an objective has collate()")

    def idle(self, row: Row, vocabulary: Vocabulary) -> Batch:
        """A batch without targets: a rank without rows must still take part in the exchange of gradients."""
        batch = self.collate([row], vocabulary)
        batch.pop("at", None)
        batch["labels"].fill_(IGNORE)
        if "segments" in batch:
            batch["segments"].fill_(-1)  # nor a token that a router counts
        return batch

    def counts(self, batch: Batch) -> dict[str, float]:
        """Weight of the targets of each term; runs before the forward pass."""
        return {"loss": float((batch["labels"] != IGNORE).sum())}

    def passes(self, batch: Batch) -> int:
        """How many times `sums` calls the model."""
        return 1

    def tokens(self, batch: Batch) -> float:
        """Tokens that are no padding: what the terms of a model's body are counted by."""
        there = batch["segments"] >= 0 if "segments" in batch else batch["attention_mask"]
        return float(there.sum())

    def named(self, terms: Mapping[str, float]) -> dict[str, float]:
        """`loss`, the weighted sum of its own terms, next to all terms where there are several."""
        if not terms:  # of a private step
            return {}
        whole = sum(weight * terms[term] for term, weight in self.weights.items())
        return {**(terms if len(terms) > 1 else {}), "loss": whole}

    def weights_at(self, progress: float) -> Mapping[str, float]:
        """The weights at a share of the run's steps, where they change over it; at the end they are `weights`."""
        return self.weights

    def measured(self, model: nn.Module, batch: Batch) -> dict[str, tuple[float, float]]:
        """What validation tells besides the loss, as (sum, number): {"accuracy": (right, targets)}; in eval mode."""
        return {}

    def gather(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """What other rows need to know of these, [rows, ...] each; called without gradient, in eval mode or not."""
        raise AssertionError("an objective that gathers has gather()")

    def asked(self, model: nn.Module, batch: Batch) -> States:
        """What the model says at each place that may have a target, in one reading: what another model's answers can be
        compared with."""
        raise AssertionError("an objective that is read once has asked()")

    def is_target(self, batch: Batch) -> Tensor:
        """Which of the places of `asked` have a target [N]; those of a row stand together, in the order of the rows."""
        labels_N, at = batch["labels"].flatten(), batch.get("at")
        return (labels_N if at is None else labels_N[at]) != IGNORE

    def judged(
        self, model: nn.Module, states: States, batch: Batch, step_wide: StepWide | None = None
    ) -> dict[str, Tensor]:
        """`sums` of what `asked` gave."""
        raise AssertionError("an objective that is read once has judged()")

    def sums(self, model: nn.Module, batch: Batch, step_wide: StepWide | None = None) -> dict[str, Tensor]:
        """Summed (not averaged) loss of each term, float32 scalars with gradient.

        Args:
            step_wide: what was gathered, where the objective gathers.
        """
        return self.judged(model, self.asked(model, batch), batch, step_wide)


@dataclass(frozen=True)
class StepWide:
    """What `gather` gave for all rows of a step, on all ranks, and where the rows at hand stand among them.

    Args:
        tensors: [rows of the step, ...] each.
        first: number of the first row of this micro-batch.
    """

    tensors: Mapping[str, Tensor]
    first: int


OBJECTIVE = Choice(
    Objective,
    {
        "causal": "pretune.objective.pretraining.causal:Causal",
        "masked": "pretune.objective.pretraining.masked:Masked",
        "replaced": "pretune.objective.pretraining.replaced:Replaced",
        "masked-next": "pretune.objective.pretraining.masked_next:MaskedNext",
        "hybrid": "pretune.objective.pretraining.several:Hybrid",
        "infill": "pretune.objective.pretraining.infill:Infill",
        "span": "pretune.objective.pretraining.span:Span",
        "prefix": "pretune.objective.pretraining.prefix:Prefix",
        "denoise": "pretune.objective.pretraining.denoise:Denoise",
        "several": "pretune.objective.pretraining.several:SeveralOfText",
        "distil": "pretune.objective.distil:Distil",
    },
    group="pretune.objectives",
    default="causal",
    several="several",
)
