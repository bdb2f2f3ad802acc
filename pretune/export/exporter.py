"""What an exporter is, and the table of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pretune.base.config import Choice, Variant


@dataclass(frozen=True)
class Job:
    """What an exporter works on.

    Args:
        model: a model or adapter folder; of a token format, the token store.
        data: a dataset folder whose texts or dialogues the export is compared on, or None.
        out: the bundle's folder; an exporter writes into its own sub-folder.
        tell: one line for the console.
    """

    model: Path
    data: Path | None
    out: Path
    tell: Callable[[str], None]


@dataclass(frozen=True)
class Exported:
    """What an exporter made: its part of `bundle.json`, of `parity.json`, and figures for the card."""

    bundle: dict[str, Any]
    parity: dict[str, Any]
    metrics: dict[str, Any]


class Exporter(Variant):
    """Writes a model in another format and proves that it gives the same answers; or tokens, with the same ids."""

    takes: ClassVar[str] = "model"
    """The kind of artifact that it writes: model, or tokens."""

    def export(self, job: Job) -> Exported:
        """Write into the bundle.

        Raises:
            NoParity: other answers than the model folder; its sub-folder is then gone.
            NotSupported: a model that this format cannot hold.
        """
        raise AssertionError(f"{type(self).__name__} has no export()")


EXPORTER = Choice(
    Exporter,
    {
        "onnx": "pretune.export.onnx_bundle:Onnx",
        "nanogpt": "pretune.export.token_files:NanoGPT",
        "megatron": "pretune.export.token_files:Megatron",
        "arrow": "pretune.export.token_files:Arrow",
    },
    group="pretune.exporters",
    default="onnx",
)
"""Later: gguf."""
