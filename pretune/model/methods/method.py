"""What a method is: it marks what trains, and knows how to save that."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pretune.base.config import Choice, Variant

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn


class Method(Variant):
    """Settings of how a pretrained model is adapted."""

    def apply(self, model: Any, *, heads: tuple[str, ...]) -> nn.Module:
        """Return the model with `requires_grad` set on what trains.

        Args:
            heads: names of new modules (a classifier), which always train.
        """
        raise AssertionError("a method has apply()")

    def save(self, model: Any, out: Path, *, base: str, tokenizer: Path, weights: Mapping[str, Tensor]) -> None:
        """Write a model folder, or an adapter folder that names its base.

        Args:
            base: path of the pretrained model, relative to where the folder will lie.
            weights: exact float32 values by parameter name.
        """
        from pretune.model.folder import save_model

        save_model(model, out, tokenizer=tokenizer, weights=weights)


METHOD = Choice(
    Method,
    {
        "full": "pretune.model.methods.full:Full",
        "head": "pretune.model.methods.head:Head",
        "lora": "pretune.model.methods.lora:Lora",
    },
    group="pretune.methods",
    default="full",
)
