"""What a compressor is, and the table of them."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pretune.base.config import Choice, Variant
from pretune.base.json import Json

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from pretune.compress.calibration import Calibration


@dataclass(frozen=True)
class Compressed:
    """What a compressor leaves behind.

    Args:
        files: safetensors next to the model's own: file name -> tensors.
        metrics: figures for the card.
        model: another model, where the given one was not only changed in place.
        stored: bytes of the weights in an exported file; None: four for each parameter.
    """

    files: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    metrics: Json = field(default_factory=dict)
    model: PreTrainedModel | None = None
    stored: int | None = None


@dataclass(frozen=True)
class Work:
    """What a compressor works on.

    Args:
        model: float32, of torch; it may be changed in place.
        source: the folder that it comes from; tokenizer: that of the tokenizer it gets, its own if none is given.
        text: what it reads to see which weights matter, where `reads` asks for it.
        teacher: the model before anything was compressed; None: this one, as it is given.
        others: folders of more models, which `others` of the method names.
    """

    model: PreTrainedModel
    source: Path | None = None
    tokenizer: Path | None = None
    text: Calibration | None = None
    teacher: PreTrainedModel | None = None
    others: Sequence[Path] = ()

    def float_model(self) -> PreTrainedModel:
        """What the result is compared with: the teacher, or a copy of the model as it is now."""
        return self.teacher if self.teacher is not None else deepcopy(self.model)


class Compressor(Variant):
    """Makes a model smaller; its function may change, and the stage reports by how much."""

    @property
    def copies(self) -> float:
        """How many float32 models the memory must hold at most: this one, what is made of it, what learns."""
        return 3

    @property
    def reads(self) -> int:
        """Rows of the data's train split that it must be given."""
        return 0

    def compress(self, work: Work) -> Compressed:
        """Change the model in place, or make another."""
        raise AssertionError(f"{type(self).__name__} has no compress()")


COMPRESSOR = Choice(
    Compressor,
    {
        "int8": "pretune.compress.quantise:Int8",
        "int4": "pretune.compress.int4:Int4",
        "prune": "pretune.compress.prune:Prune",
        "low-rank": "pretune.compress.low_rank:LowRank",
        "distil": "pretune.compress.distil:Distil",
        "average": "pretune.compress.average:Average",
        "vocabulary": "pretune.compress.vocabulary:Vocabulary",
        "ladder": "pretune.compress.ladder:Ladder",
    },
    group="pretune.compressors",
    listed=("ladder", "rungs"),
    default="int8",
)
