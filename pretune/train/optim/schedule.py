"""How the learning rate falls from its peak, and how weights of several steps are averaged. No torch here.

    linear        1 ------------\\___ 0        to the floor in a line
    cosine        slow, fast, slow            along half a wave
    wsd           1 ---------------\\_ 0       the peak held, then a short fall: the run can be made longer
    inverse-sqrt  1 / sqrt(step)              knows no end
    polynomial    (1 - done) ** power
    constant      1 ------------------

Both are pure functions of the step, so a resumed run needs no state for them.
"""

from __future__ import annotations

import math

from pydantic import Field

from pretune.base.config import Choice, Variant

# ---- schedules ----------------------------------------------------------------------------------


class Schedule(Variant):
    """The rate between the warm-up and the end of the run."""

    def factor(self, done: float, rising: float) -> float:
        """Share of the peak rate.

        Args:
            done: how much of the way behind the warm-up lies behind, 0 ... 1.
            rising: share of the whole run that the warm-up took.
        """
        raise AssertionError(f"{type(self).__name__} has no factor()")


class Constant(Schedule):
    """The peak rate to the end."""

    kind: str = "constant"

    def factor(self, done: float, rising: float) -> float:
        return 1.0


class Linear(Schedule):
    """In a line from the peak to the floor."""

    kind: str = "linear"
    floor: float = Field(0.0, ge=0, lt=1)
    """Share of the peak that is left at the end."""

    def factor(self, done: float, rising: float) -> float:
        return self.floor + (1 - self.floor) * (1 - done)


class Cosine(Schedule):
    """Along half a cosine from the peak to the floor (Loshchilov & Hutter 2017, arXiv:1608.03983)."""

    kind: str = "cosine"
    floor: float = Field(0.0, ge=0, lt=1)
    """Share of the peak that is left at the end."""

    def factor(self, done: float, rising: float) -> float:
        return self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * done))


class WarmupStableDecay(Schedule):
    """The peak rate held, then a short fall by 1 - sqrt (Hägele et al. 2024, arXiv:2405.18392, section 4)."""

    kind: str = "wsd"
    decay: float = Field(0.2, gt=0, le=1)
    """Share of the way behind the warm-up in which the rate falls."""
    floor: float = Field(0.0, ge=0, lt=1)
    """Share of the peak that is left at the end."""

    def factor(self, done: float, rising: float) -> float:
        falling = max(0.0, done - (1 - self.decay)) / self.decay
        return self.floor + (1 - self.floor) * (1 - math.sqrt(falling))


class InverseSqrt(Schedule):
    """Falls as 1 / sqrt(step), as if the warm-up had ended on the curve (Vaswani et al. 2017, arXiv:1706.03762)."""

    kind: str = "inverse-sqrt"

    def factor(self, done: float, rising: float) -> float:
        start = rising or 0.01  # without a warm-up the curve would begin at infinity
        return math.sqrt(start / (start + done * (1 - start)))


class Polynomial(Schedule):
    """(1 - done) ** power, from the peak to the floor."""

    kind: str = "polynomial"
    power: float = Field(2.0, gt=0)
    """1 is a line; larger powers fall sooner."""
    floor: float = Field(0.0, ge=0, lt=1)
    """Share of the peak that is left at the end."""

    def factor(self, done: float, rising: float) -> float:
        return self.floor + (1 - self.floor) * float((1 - done) ** self.power)


SCHEDULE = Choice(
    Schedule,
    {
        "constant": "pretune.train.optim.schedule:Constant",
        "cosine": "pretune.train.optim.schedule:Cosine",
        "inverse-sqrt": "pretune.train.optim.schedule:InverseSqrt",
        "linear": "pretune.train.optim.schedule:Linear",
        "polynomial": "pretune.train.optim.schedule:Polynomial",
        "wsd": "pretune.train.optim.schedule:WarmupStableDecay",
    },
    group="pretune.schedules",
    default="linear",
)


# ---- averages -----------------------------------------------------------------------------------


class Average(Variant):
    """Weights of several steps averaged into those that are evaluated and saved."""

    def share(self, step: int, total: int) -> float:
        """How much of the average the weights after this step make up (0 ... 1); 1 begins it again.

        Args:
            step: the step, counted from 0, of `total`.
        """
        raise AssertionError(f"{type(self).__name__} has no share()")


class NoAverage(Average):
    """The weights after the last step."""

    kind: str = "none"

    def share(self, step: int, total: int) -> float:
        return 1.0


class Exponential(Average):
    """An exponential moving average; early on it forgets faster, so that it is not full of the first weights."""

    kind: str = "ema"
    decay: float = Field(0.999, gt=0, lt=1)
    """Share of the old average that each step keeps."""

    def share(self, step: int, total: int) -> float:
        return 1 - min(self.decay, step / (step + 10)) if step else 1.0


class Tail(Average):
    """The mean of the weights after each of the last steps (Izmailov et al. 2018, arXiv:1803.05407)."""

    kind: str = "tail"
    last: float = Field(0.2, gt=0, le=1)
    """Share of the steps whose weights are averaged."""

    def share(self, step: int, total: int) -> float:
        first = total - max(1, round(self.last * total))
        return 1 / (step - first + 1) if step >= first else 1.0


AVERAGE = Choice(
    Average,
    {
        "ema": "pretune.train.optim.schedule:Exponential",
        "none": "pretune.train.optim.schedule:NoAverage",
        "tail": "pretune.train.optim.schedule:Tail",
    },
    group="pretune.averages",
    default="none",
)
