"""How long to train: steps, epochs, tokens or minutes - one of them. No torch here."""

from __future__ import annotations

import math
from typing import Any

from pydantic import Field, model_validator

from pretune.base.config import Config


class Budget(Config):
    """Mixed into the stages that train; exactly one of the four may be given."""

    steps: int | None = Field(None, gt=0)
    """Optimizer steps."""
    epochs: float | None = Field(None, gt=0)
    """Times that the training data is read."""
    tokens_read: float | None = Field(None, gt=0)
    """Tokens to read (2e6 for two million), repetitions included."""
    minutes: float | None = Field(None, gt=0)
    """Wall-clock time from the start of the stage, measuring and validation included; how many steps that buys is
    resolved before the first one and then kept."""

    @property
    def is_given(self) -> bool:
        """Whether any of the four is."""
        return any(b is not None for b in (self.steps, self.epochs, self.tokens_read, self.minutes))

    @model_validator(mode="after")
    def _one_budget(self) -> Any:
        given = [n for n in ("steps", "epochs", "tokens_read", "minutes") if getattr(self, n) is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} contradict each other; give one")
        return self


def remarks_on(
    budget: Budget, *, steps: int, rows: float, batch: float, seconds_per_step: float
) -> tuple[list[str], list[str]]:
    """(warnings, remarks) on a budget that buys `steps`: less than one step, or more than the data holds."""
    if budget.minutes is not None and budget.minutes * 60 < seconds_per_step:
        return [f"minutes={budget.minutes:g} is less than the {seconds_per_step:.1f} s of one step; one is taken"], []
    epochs = steps * batch / max(rows, 1)
    if budget.is_given and budget.epochs is None and epochs > 1.05:
        return [], [f"the {rows:,.0f} rows of the training split are read {epochs:,.1f} times"]
    return [], []


def planned_steps(budget: Budget, *, rows: float, batch: float, tokens_per_row: float, epochs: float = 1.0) -> int:
    """Steps that the budget buys, at least 1; for `minutes` there is `steps_in`.

    Args:
        epochs: when no budget is given.
    """
    assert budget.minutes is None, "steps of a time are known when a step was timed"
    if budget.steps is not None:
        return budget.steps
    if budget.tokens_read is not None:
        return max(1, round(budget.tokens_read / (batch * tokens_per_row)))
    return max(1, math.ceil(round(rows * (budget.epochs or epochs)) / batch))


def steps_in(seconds: float, seconds_per_step: float) -> int:
    """Steps that fit into the time that is left, at least 1."""
    return max(1, int(seconds / max(seconds_per_step, 1e-3)))
