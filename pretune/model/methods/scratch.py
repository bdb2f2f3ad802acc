"""No method: all of a model trains, a new one at the optimizer's own rate, one that learns on at a lower one."""

from __future__ import annotations

from typing import Any, ClassVar

from pretune.model.methods.full import Full


class Scratch(Full):
    """Train a new model."""

    rate: float | None = None
    """Peak rate of AdamW when none is given; None: its own."""

    def rate_for(self, optim: Any, width: int) -> float | None:
        return self.rate if optim.kind == "adamw" else None


class GoingOn(Full):
    """Train a model further on other text."""

    usual_rate: ClassVar[float] = 2e-4
    """Peak rate of AdamW; of four rates the one that gives most on the domain for what it loses (docs/LOG.md)."""

    def rate_for(self, optim: Any, width: int) -> float | None:
        return self.usual_rate if optim.kind == "adamw" else float(optim.usual_rate) / 10
