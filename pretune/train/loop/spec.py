"""All that a training run is made of. Pretraining and fine-tuning build a spec; planning, measuring, choosing, training
and validating read nothing else.

    settings, model, data   ->  TrainSpec  ->  forecast, resolve, session, validation
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch

from pretune.base.json import Json
from pretune.model.methods.method import Method
from pretune.objective.objective import Objective
from pretune.tokens.rows import Vocabulary
from pretune.train.loop.stream import Stream
from pretune.train.settings import TrainSettings

CPU = torch.device("cpu")
Choices = Json
"""What a run chose by itself: precision, checkpointed, micro_batch, compile, steps, warmup, seconds_per_step (JSON)."""


@dataclass(frozen=True)
class Looks:
    """How much of a run goes into looking at it.

    Args:
        last: rows of the validation after the last step.
        between: rows that are looked at between the steps, per step.
        share: of the time of the steps, what validation between them takes.
    """

    last: int = 0
    between: float = 0.0
    share: float = 0.0


@dataclass(frozen=True)
class TrainSpec:
    """A training run before anything is chosen.

    Args:
        outline: makes the model with any weights, its method applied; called where tensors have no memory.
        known_by: what `outline` depends on (JSON), under which measurements are remembered.
        method: how the model is adapted; it owns the usual rate and the groups.
        layers: blocks of the model.
        width: of the states between them; 0 where it is not known.
        length: tokens of the longest row.
        tokens_per_row: mean of the rows that are read.
        rows: of an epoch.
        batch: rows of a step, on the average.
        micro_tokens: of a micro-batch that suits the device.
        epochs: when no budget is given.
        attention: transformers' attention implementation; "" for its own choice.
        layer_decay: factor on the rate from each layer to the one below it.
        pace: factor of the task on the method's usual rate.
        flops_per_token: forward and backward; 0 where it is not known.
        make: makes the model with its own weights on the device, its method applied.
        stream: the rows of each step.
    """

    settings: TrainSettings
    objective: Objective
    vocabulary: Vocabulary
    outline: Callable[[], Any]
    known_by: list[Any]
    method: Method
    layers: int
    length: int
    tokens_per_row: float
    rows: float
    batch: float
    micro_tokens: int
    width: int = 0
    epochs: float = 1.0
    pace: float = 1.0
    attention: str = ""
    compile: Literal["auto", "yes", "no"] = "no"
    layer_decay: float = 1.0
    flops_per_token: float = 0.0
    device: torch.device = CPU
    seed: int = 0
    looks: Looks = Looks()
    make: Callable[[], Any] | None = None
    stream: Stream | None = None

    @property
    def usual_rate(self) -> float | None:
        """The peak rate when none is given; None: the optimizer's own."""
        rate = self.method.rate_for(self.settings.optim, self.width)
        return rate and rate * self.pace

    @property
    def tokens_per_step(self) -> float:
        """Of a step of a whole batch."""
        return self.settings.batch * self.tokens_per_row

    @property
    def usual_micro(self) -> int:
        """Rows of a micro-batch that suits the device: one at least, a batch at most."""
        return max(1, min(self.settings.batch, int(self.micro_tokens / max(self.tokens_per_row, 1))))
