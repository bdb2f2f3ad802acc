"""How a pretrained model is adapted: all weights, the head alone, LoRA. No torch here."""

from pretune.model.methods.base import METHOD, Method

__all__ = ["METHOD", "Method"]
