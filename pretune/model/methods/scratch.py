"""No method: the model is new, and all of it trains at the optimizer's own rate."""

from __future__ import annotations

from typing import Any

from pretune.model.methods.full import Full


class Scratch(Full):
    """Train a new model."""

    rate: float | None = None
    """Peak rate of AdamW when none is given; None: its own."""

    def rate_for(self, optim: Any, width: int) -> float | None:
        return self.rate if optim.kind == "adamw" else None
