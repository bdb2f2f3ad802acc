"""What a compressor is, and the table of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pretune.base.artifact import Artifact
from pretune.base.config import Choice, Variant

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Compressed:
    """What a compressor leaves behind.

    Args:
        files: safetensors beside the model's own: file name -> tensors.
        metrics: figures for the card.
    """

    files: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)


class Compressor(Variant):
    """Makes a model smaller; its function may change, and the stage reports by how much."""

    def compress(self, model: Any) -> Compressed:
        """Change a float32 torch model in place."""
        raise AssertionError(f"{type(self).__name__} has no compress()")

    def tokenizer_folder(self, inputs: Mapping[str, Artifact], model: Path) -> Path:
        """Where the tokenizer of the changed model lies; the model's own folder unless it gets another."""
        return model

    def compress_with(self, model: Any, folder: Path, tokenizer: Path) -> Compressed:
        """`compress` for a model from `folder` that gets the tokenizer of another folder."""
        return self.compress(model)


COMPRESSOR = Choice(
    Compressor,
    {"int8": "pretune.compress.quantise:Int8", "vocabulary": "pretune.compress.vocabulary:Vocabulary"},
    group="pretune.compressors",
    default="int8",
)
"""Later: pruning, distillation, low rank."""
