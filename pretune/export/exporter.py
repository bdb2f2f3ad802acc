"""What an exporter is, and the table of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pretune.base.config import Choice, Variant
from pretune.base.json import Json

if TYPE_CHECKING:
    from pretune.infer.predictor import Predictor


@dataclass(frozen=True)
class Job:
    """What an exporter works on.

    Args:
        source: a model or adapter folder; of a token format, the token store.
        ready: the model, opened; None for tokens.
        data: a dataset folder whose texts or dialogues the export is compared on, or None.
        out: the format's own folder, which is there; the stage writes what is shared into the folder above.
    """

    source: Path
    ready: Predictor | None
    data: Path | None
    out: Path


@dataclass(frozen=True)
class Proof:
    """That a format gives what it was made from: its part of `parity.json`, figures for the card, and a line."""

    parity: Json
    metrics: Json
    told: str = ""


class Exporter(Variant):
    """Writes a model in another format and proves that it gives the same answers; or tokens, with the same ids."""

    takes: ClassVar[str] = "model"
    """The kind of artifact that it writes: model, or tokens."""
    keeps_adapters: ClassVar[bool] = False
    """Whether it writes adapters that cannot be merged."""

    @property
    def folder(self) -> str:
        """The name of the format's sub-folder: the kind, of `module:Class` the class."""
        return self.kind.rpartition(":")[2].lower()

    def write(self, job: Job) -> Json:
        """Write into the format's folder.

        Returns:
            What a reader must know of it, for `bundle.json`.

        Raises:
            NotSupported: what this format cannot hold.
        """
        raise AssertionError(f"{type(self).__name__} has no write()")

    def prove(self, job: Job) -> Proof:
        """Compare what was written, which now is part of a whole bundle, with its source.

        Raises:
            NoParity: it gives something else.
        """
        raise AssertionError(f"{type(self).__name__} has no prove()")


EXPORTER = Choice(
    Exporter,
    {
        "onnx": "pretune.export.onnx_bundle:Onnx",
        "gguf": "pretune.export.gguf_bundle:Gguf",
        "huggingface": "pretune.export.huggingface:HuggingFace",
        "nanogpt": "pretune.export.token_files:NanoGPT",
        "megatron": "pretune.export.token_files:Megatron",
        "arrow": "pretune.export.token_files:Arrow",
    },
    group="pretune.exporters",
    default="onnx",
)
