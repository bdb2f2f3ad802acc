"""Prefix tuning (arXiv:2101.00190): learnt keys and values in front of those of the text, in every layer."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from pretune.model.methods.virtual import Virtual


class Prefix(Virtual):
    """Train keys and values in front of every text, in every layer; the base stays as it is."""

    usual_rate: ClassVar[float] = 1e-2
    is_prefix: ClassVar[bool] = True

    hidden: int = Field(0, ge=0)
    """Width of two layers that make them of embeddings while training (section 4.3 of the paper); 0: they train
    themselves."""

    def encoder(self, model: Any, **shared: Any) -> Any:
        from peft import PrefixTuningConfig

        layers = {"prefix_projection": True, "encoder_hidden_size": self.hidden} if self.hidden else {}
        return PrefixTuningConfig(**shared, **layers)
