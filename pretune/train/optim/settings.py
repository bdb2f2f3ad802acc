"""Settings of optimizers. No torch here: the arithmetic is in update_rules.py, the masters it moves in update.py.

adamw           the usual one                                    5e-4
muon            orthogonal moves for matrices, AdamW next to it   0.02 and 3e-3
schedule-free   AdamW on an average of its own, without an end   2.5e-3
lion            signs alone: half of AdamW's memory              1e-4
adafactor       second moments by row and column                 1e-2
adagrad, sgd    for those who know why                           0.01, 0.1
"""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from pretune.base.config import Choice, Config, Free, Variant, chosen
from pretune.train.optim.schedule import AVERAGE, SCHEDULE, Average, Constant, Linear, NoAverage, Schedule

WARMUP = r"^[0-9]+(\.[0-9]+)?(e[0-9]+)? (tokens|seconds|minutes)$"


class Private(Config):
    """How little a model may tell of any single training example (arXiv:1607.00133). Rows pass one at a time."""

    epsilon: float = Field(gt=0)
    """With or without an example, any outcome is at most e^epsilon times as likely; the noise that this takes is found.
    Below 1 strong, 8 usual, above that little more than a habit."""
    delta: float | None = Field(None, gt=0, lt=1)
    """The chance with which that may fail; by default 1 / (10 x examples)."""
    clip: float = Field(1.0, gt=0)
    """The norm to which the gradient of each example is clipped."""


class Optim(Variant):
    """Settings that every optimizer has."""

    usual_rate: ClassVar[float]
    """The peak rate in pretraining when none is given."""
    rule: ClassVar[str]
    """`module:function` that moves a group of weights in place: (group, settings)."""

    learning_rate: float | None = Field(None, gt=0)
    """Peak rate (with Muon: of embeddings, norms and biases, which AdamW moves). By default what suits the optimizer
    (AdamW 5e-4, Muon 3e-3); in fine-tuning with AdamW what suits the method."""
    weight_decay: float = Field(0.01, ge=0)
    """Decoupled decay of matrices, times the learning rate; norms and biases are not decayed."""
    clip: float = Field(1.0, gt=0)
    """The gradient's norm is clipped to this."""
    schedule: Annotated[Schedule, *chosen(SCHEDULE)] = Linear(kind="linear")
    """How the rate falls from its peak: linear (to 0), cosine, wsd, inverse-sqrt, polynomial, constant."""
    warmup: Annotated[float, Field(ge=0)] | Annotated[str, Field(pattern=WARMUP)] = 0.05
    """How long the rate rises from 0: a share of the steps, from 1 on their number, or "2e6 tokens", "30 seconds"."""
    moments: Literal["float32", "8bit"] = "float32"
    """How the optimizer's moments are kept: in full, or in a quarter of the memory (8bit, arXiv:2110.02861)."""
    offload: Annotated[Literal["none", "disk", "cpu"], Free] = "none"
    """Where masters and moments lie: with the weights (none), in mapped files (disk), in the computer's memory while a
    GPU trains (cpu). Slower; frees memory for larger models."""
    average: Annotated[Average, *chosen(AVERAGE)] = NoAverage(kind="none")
    """What is evaluated and saved: the last weights (none), an average of all (ema), or of the last steps (tail)."""
    private: Private | None = None
    """Differentially private fine-tuning (optim.private.epsilon=8): the model hardly depends on any single example."""

    @property
    def rate(self) -> float:
        """The peak rate that is meant."""
        return self.learning_rate if self.learning_rate is not None else self.usual_rate

    def rate_factor(self, step: int, total: int) -> float:
        """Share of the peak rate at `step` (from 0) of `total`: rises over the warm-up, then falls.

        The first step already moves (factor 1 / warm-up steps); the last one still does.
        """
        assert not isinstance(self.warmup, str), "a warm-up in tokens or seconds is resolved before the first step"
        rising = math.ceil(self.warmup * total) if self.warmup < 1 else min(int(self.warmup), total)
        if step < rising:
            return (step + 1) / rising
        return self.schedule.factor((step - rising) / max(total - rising, 1), rising / total)

    @property
    def warms_by_time(self) -> bool:
        """Whether the length of the warm-up is known once a step was timed, and not before."""
        return isinstance(self.warmup, str) and not self.warmup.endswith("tokens")

    def warmup_steps(self, *, tokens_per_step: float, seconds_per_step: float) -> float:
        """The warm-up as a share or a number of steps, whatever it was given in."""
        if not isinstance(self.warmup, str):
            return self.warmup
        amount, unit = self.warmup.split()
        each = {"tokens": tokens_per_step, "seconds": seconds_per_step, "minutes": seconds_per_step / 60}[unit]
        return max(1, math.ceil(float(amount) / max(each, 1e-9)))

    def resolved(self, *, rate: float | None = None, warmup: float | None = None) -> Optim:
        """With a peak rate, and a warm-up in steps where it was given in tokens or seconds.

        Args:
            rate: when none is given; None: the usual one of this optimizer.
            warmup: in the place of tokens or seconds; None: none (a step that is only tried).
        """
        peak = {"learning_rate": self.rate if self.learning_rate is not None else rate or self.usual_rate}
        rise = {"warmup": warmup or 0.0} if isinstance(self.warmup, str) else {}
        return self.model_copy(update=peak | rise)


class Adam(Optim):
    """What optimizers with Adam's two moments share."""

    betas: tuple[float, float] = (0.9, 0.95)
    """Decay of the first and second moment."""
    eps: float = Field(1e-8, gt=0)
    """Added to the root of the second moment."""


class AdamW(Adam):
    """Adam with decoupled weight decay (arXiv:1711.05101)."""

    usual_rate: ClassVar[float] = 5e-4
    rule: ClassVar[str] = "pretune.train.optim.update_rules:adamw"
    kind: str = "adamw"


class Muon(Adam):
    """Orthogonalised momentum for matrices, AdamW for the rest (Jordan 2024; arXiv:2502.16982)."""

    usual_rate: ClassVar[float] = 3e-3
    rule: ClassVar[str] = "pretune.train.optim.update_rules:muon"
    kind: str = "muon"

    matrix_rate: float = Field(0.02, gt=0)
    """Peak rate of Muon for the matrices inside the blocks."""
    momentum: float = Field(0.95, ge=0, lt=1)
    """Decay of the momentum (Nesterov)."""
    momentum_warmup: int = Field(0, ge=0)
    """Updates in which the momentum rises from 0.85 (modded-nanogpt: 300)."""
    cautious: bool = False
    """Decay only entries that the move makes smaller anyway (arXiv:2510.12402)."""


class ScheduleFree(Adam):
    """AdamW whose weights are an average of its own path, so the rate need not fall (arXiv:2405.15682)."""

    usual_rate: ClassVar[float] = 2.5e-3
    rule: ClassVar[str] = "pretune.train.optim.update_rules:schedule_free"
    kind: str = "schedule-free"

    betas: tuple[float, float] = (0.9, 0.99)
    """How near to the average gradients are taken, and decay of the second moment."""
    schedule: Annotated[Schedule, *chosen(SCHEDULE)] = Constant(kind="constant")
    """The averaging takes the place of a falling rate: constant."""


class Lion(Optim):
    """The sign of a mixture of momentum and gradient (Chen et al. 2023, arXiv:2302.06675, algorithm 2)."""

    usual_rate: ClassVar[float] = 1e-4
    rule: ClassVar[str] = "pretune.train.optim.update_rules:lion"
    kind: str = "lion"

    betas: tuple[float, float] = (0.9, 0.99)
    """Share of the momentum in the move, and its decay."""
    weight_decay: float = Field(0.1, ge=0)
    """Ten times AdamW's, as the rate is a tenth of it."""


class Adafactor(Optim):
    """Second moments of matrices kept by row and column (Shazeer & Stern 2018, arXiv:1804.04235, algorithms 4, 5)."""

    usual_rate: ClassVar[float] = 1e-2
    rule: ClassVar[str] = "pretune.train.optim.update_rules:adafactor"
    kind: str = "adafactor"

    decay_power: float = Field(0.8, gt=0, le=1)
    """The second moment forgets 1 - step ** -power at a step."""
    min_scale: float = Field(1e-3, gt=0)
    """The move is relative to the weights' own size, or to this where they are smaller."""
    threshold: float = Field(1.0, gt=0)
    """Root mean square to which a move is clipped before the rate."""


class Adagrad(Optim):
    """Divides by the root of all squared gradients so far (Duchi et al. 2011, JMLR 12)."""

    usual_rate: ClassVar[float] = 1e-2
    rule: ClassVar[str] = "pretune.train.optim.update_rules:adagrad"
    kind: str = "adagrad"

    eps: float = Field(1e-10, gt=0)
    """Added to the root."""


class Sgd(Optim):
    """Gradient descent with momentum."""

    usual_rate: ClassVar[float] = 0.1
    rule: ClassVar[str] = "pretune.train.optim.update_rules:sgd"
    kind: str = "sgd"

    momentum: float = Field(0.9, ge=0, lt=1)
    """Decay of the momentum."""
    nesterov: bool = True
    """Look ahead along the momentum (Sutskever et al. 2013)."""


OPTIM = Choice(
    Optim,
    {
        "adafactor": "pretune.train.optim.settings:Adafactor",
        "adagrad": "pretune.train.optim.settings:Adagrad",
        "adamw": "pretune.train.optim.settings:AdamW",
        "lion": "pretune.train.optim.settings:Lion",
        "muon": "pretune.train.optim.settings:Muon",
        "schedule-free": "pretune.train.optim.settings:ScheduleFree",
        "sgd": "pretune.train.optim.settings:Sgd",
    },
    group="pretune.optimizers",
    default="adamw",
)
