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

    def scales(self, model: Any, layer_decay: float) -> dict[str, float] | None:
        """The family's own paces: of T5's table, say."""
        from pretune.model.families import family_of

        paces, names = family_of(model).paces.items(), [name for name, _ in model.named_parameters()]
        return {name: pace for name in names for end, pace in paces if name.endswith(end)} or None


class GoingOn(Full):
    """Train a model further on other text."""

    usual_rate: ClassVar[float] = 2e-4
    """Peak rate of AdamW: two fifths of that of a new model."""

    def rate_for(self, optim: Any, width: int) -> float | None:
        return self.usual_rate if optim.kind == "adamw" else float(optim.usual_rate) / 10
