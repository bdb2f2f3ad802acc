"""No method: all of a model trains, a new one at the optimizer's own rate, one that learns on at a lower one."""

from __future__ import annotations

from typing import Any, ClassVar

from pretune.model.methods.full import Full


class Scratch(Full):
    """Train a new model."""

    head_pace: ClassVar[float] = 1.0

    rate: float | None = None
    """Peak rate of AdamW when none is given; None: its own."""

    def rate_for(self, optim: Any, width: int) -> float | None:
        return self.rate if optim.kind == "adamw" else None

    def scales(self, model: Any, layer_decay: float) -> dict[str, float] | None:
        """Those of the layers, times the family's own paces (of T5's table, say)."""
        from pretune.model.families import family_of

        found = super().scales(model, layer_decay) or {}
        for end, pace in family_of(model).paces.items():
            names = [name for name, _ in model.named_parameters() if name.endswith(end)]
            found |= {name: pace * found.get(name, 1.0) for name in names}
        return found or None


class GoingOn(Full):
    """Train a model further on other text."""

    usual_rate: ClassVar[float] = 2e-4
    """Peak rate of AdamW: two fifths of that of a new model."""

    def rate_for(self, optim: Any, width: int) -> float | None:
        return self.usual_rate if optim.kind == "adamw" else float(optim.usual_rate) / 10
