"""What a compressor is, and the table of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pretune.base.config import Choice, Variant
from pretune.base.json import Json

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Compressed:
    """What a compressor leaves behind.

    Args:
        files: safetensors next to the model's own: file name -> tensors.
        metrics: figures for the card.
    """

    files: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    metrics: Json = field(default_factory=dict)


class Compressor(Variant):
    """Makes a model smaller; its function may change, and the stage reports by how much."""

    def compress(
        self, model: PreTrainedModel, *, source: Path | None = None, tokenizer: Path | None = None
    ) -> Compressed:
        """Change a float32 torch model in place.

        Args:
            source: the folder that it comes from; tokenizer: that of the tokenizer it gets, its own if none is given.
        """
        raise AssertionError(f"{type(self).__name__} has no compress()")


COMPRESSOR = Choice(
    Compressor,
    {"int8": "pretune.compress.quantise:Int8", "vocabulary": "pretune.compress.vocabulary:Vocabulary"},
    group="pretune.compressors",
    default="int8",
)
"""Later: pruning, distillation, low rank."""
