"""How a pretrained model is adapted: all weights, some of them, or something that is added (LoRA). No torch here."""

from pretune.model.methods.method import METHOD, Method

__all__ = ["METHOD", "Method"]
