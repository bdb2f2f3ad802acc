"""Loss on text that is not trained on, with the objective that trains."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import torch
from torch import Tensor, nn

from pretune.objective.objective import Objective
from pretune.objective.routing import LOADS
from pretune.tokens.rows import Row, Vocabulary
from pretune.train.loop.memory import halving
from pretune.train.loop.runtime import Runtime, evaluating
from pretune.train.loop.step import gathered

TOGETHER = 64
"""Rows that a loss over rows of one step sees of a validation split at once, however little memory there is."""


@dataclass(frozen=True)
class Loss:
    """Summed loss in nats, and the targets it was summed over, by term.

    Args:
        weights: of the terms in the loss that is trained on.
        measures: what else was told of the targets, a mean each (accuracy).
        loads: tokens that each expert got, by block, where there are experts.
    """

    nats: Mapping[str, float]
    targets: Mapping[str, float]
    weights: Mapping[str, float]
    measures: Mapping[str, float] = field(default_factory=dict)
    loads: Sequence[Sequence[float]] = ()

    @property
    def terms(self) -> dict[str, float]:
        """Nats per target of each term."""
        return {t: n / self.targets[t] if self.targets[t] else math.nan for t, n in self.nats.items()}

    @property
    def per_target(self) -> float:
        """The loss that is trained on: the weighted sum over the terms."""
        return sum(self.weights[term] * value for term, value in self.terms.items())


def loss_over(
    model: nn.Module, objective: Objective, rows: Sequence[Row], vocabulary: Vocabulary, runtime: Runtime, *, batch: int
) -> Loss:
    """The loss over rows; what is random in them is drawn from the row's number, the same each time.

    `batch` rows at once, or fewer when memory runs out. Where the loss of a row depends on the others of its step,
    TOGETHER rows are a step.
    """
    return halving(lambda micro: _loss_over(model, objective, rows, vocabulary, runtime, batch=micro), batch)[0]


def _loss_over(
    model: nn.Module, objective: Objective, rows: Sequence[Row], vocabulary: Vocabulary, runtime: Runtime, *, batch: int
) -> Loss:
    loads: list[Tensor] = []
    nats, targets = (dict.fromkeys(objective.weights, 0.0) for _ in range(2))
    measures: dict[str, tuple[float, float]] = {}
    ready = (objective.prepare(row, vocabulary, np.random.default_rng([i])) for i, row in enumerate(rows))
    with evaluating(model):
        while some := list(islice(ready, TOGETHER if objective.gathers else batch)):
            cuts = [some[i : i + batch] for i in range(0, len(some), batch)]
            batches = [objective.collate(cut, vocabulary) for cut in cuts]
            wide = gathered(model, objective, batches, runtime, alone=True)
            for collated, told in zip(batches, wide, strict=True):
                for term, number in objective.counts(collated).items():
                    targets[term] += number
                sums = objective.sums(model, runtime.put(collated), told)
                loads += [sums[LOADS]] if LOADS in sums else []
                for term in nats:
                    nats[term] += float(sums[term]) if term in sums else 0.0
                for name, (told_of, number) in objective.measured(model, runtime.put(collated)).items():
                    before = measures.get(name, (0.0, 0.0))
                    measures[name] = before[0] + told_of, before[1] + number
    means = {n: a / b for n, (a, b) in measures.items() if b}
    return Loss(nats, targets, objective.weights, means, torch.stack(loads).sum(0).tolist() if loads else ())


def bits_per_byte(nats_per_target: float, *, tokens: int, documents: int, num_bytes: int) -> float:
    """Bits per byte of the text: nats per target x targets per byte / ln 2.

    Every token of a split but a document's first is a target, so a split has tokens - documents of them;
    where only a part was scored, its mean stands for the rest.
    """
    return nats_per_target * (tokens - documents) / num_bytes / math.log(2) if num_bytes else math.nan
