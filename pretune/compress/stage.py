"""Stage compress: a smaller model, with its quality before and after. No torch at the top."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from pretune.base.artifact import Artifact
from pretune.base.config import Input, chosen
from pretune.base.json import Json
from pretune.base.stage import Context, Forecast, Machine, Stage
from pretune.compress.compressor import COMPRESSOR, Compressed, Compressor

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from pretune.infer.predictor import Predictor


class CompressStage(Stage):
    """Make a model smaller, and say by how much its function changed."""

    makes: ClassVar[str] = "model"

    model: Annotated[str, Input("model")]
    """The model; an adapter is merged into its base first."""
    data: Annotated[str | None, Input("dataset|tokens")] = None
    """Data that quality is measured on before and after: a dataset or tokens, their validation split."""
    method: Annotated[Compressor, *chosen(COMPRESSOR)] = COMPRESSOR("int8")
    """How: int8, or the vocabulary of another tokenizer."""

    def forecast(self, inputs: Mapping[str, Forecast], machine: Machine) -> Forecast:
        model = inputs["model"]
        size = 4 * model.parameters or model.disk_bytes
        return Forecast(20, 3 * size + 5e8, size, parameters=model.parameters)

    def run(self, inputs: Mapping[str, Artifact], out: Path, context: Context) -> Json:
        """Writes a plain Hugging Face folder and the compressor's own files.

        Returns:
            The compressor's figures, `quality_before`, `quality_after`.
        """
        from pretune.model.generate import module_of, open_folder
        from pretune.model.methods.adapter import check_merges

        folder, data = inputs["model"].path, inputs.get("data")
        check_merges(folder)
        ready = open_folder(folder)
        model = module_of(ready)
        before = _quality(ready, folder, data)
        words = inputs["method.tokenizer"].path if "method.tokenizer" in inputs else folder
        compressed = self.method.compress(model, source=folder, tokenizer=words)
        _write(model, compressed, folder, out, tokenizer=words)
        after = _quality(ready if words == folder else open_folder(out), out, data)
        for name in before:
            context.log.info(f"    {name}: {before[name]:.4g} before, {after[name]:.4g} after")
        return {**compressed.metrics, "quality_before": before, "quality_after": after}


def _quality(ready: Predictor, folder: Path, data: Artifact | None) -> dict[str, float]:
    from pretune.compress.measure import quality

    return quality(ready, folder, data) if data else {}


def _write(model: PreTrainedModel, compressed: Compressed, folder: Path, out: Path, *, tokenizer: Path) -> None:
    from pretune.model.folder import save_model, write_safetensors

    save_model(model, out, tokenizer=tokenizer)
    for name, tensors in compressed.files.items():
        write_safetensors(tensors, out / name)
    if (folder / "labels.json").is_file():
        (out / "labels.json").write_bytes((folder / "labels.json").read_bytes())
