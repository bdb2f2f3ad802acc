"""How a pretrained model is adapted: all weights, the head alone, LoRA. No torch here."""

from pretune.model.methods.method import METHOD, Method

__all__ = ["METHOD", "Method"]
