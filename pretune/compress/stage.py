"""Stage compress: a smaller model, with its quality before and after. No torch at the top."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from pretune.base.artifact import Artifact, below
from pretune.base.config import Input, chosen
from pretune.base.json import Json
from pretune.base.stage import Context, Forecast, Machine, Stage
from pretune.compress.compressor import COMPRESSOR, Compressor


class CompressStage(Stage):
    """Make a model smaller, and say by how much its function changed."""

    makes: ClassVar[str] = "model"

    model: Annotated[str, Input("model")]
    """The model; an adapter is merged into its base first."""
    data: Annotated[str | None, Input("dataset|tokens")] = None
    """Data that quality is measured on before and after: a dataset or tokens, their validation split. What a method
    reads or learns is of the train split."""
    method: Annotated[Compressor, *chosen(COMPRESSOR)] = COMPRESSOR("int8")
    """How: int8, int4, prune, low-rank, distil, one model as the average of several, or the vocabulary of another
    tokenizer. Several in a list are a ladder:
    each goes on from the one before it, and the smallest model within `max_drop` is the result."""
    max_drop: float | None = Field(None, ge=0)
    """How much worse than before the model may be: points of a score (hundredths), or per cent of a loss. Beyond it
    nothing is written."""

    def forecast(self, inputs: Mapping[str, Forecast], machine: Machine) -> Forecast:
        model = inputs["model"]
        size = 4 * model.parameters or model.disk_bytes
        return Forecast(20, self.method.copies * size + 5e8, size, parameters=model.parameters)

    def run(self, inputs: Mapping[str, Artifact], out: Path, context: Context) -> Json:
        """Writes a plain Hugging Face folder and the compressor's own files.

        Returns:
            The compressor's figures, `quality_before`, `quality_after`, and what the weights take as they are stored in
            an exported file; of a ladder its rungs.

        Raises:
            TooMuchLost: no model is within `max_drop`; MissingSetting: text is needed and there is no `data`.
        """
        from pretune.compress.ladder import climb
        from pretune.model.methods.adapter import check_merges

        folder = inputs["model"].path
        others = [one.path for one in below(inputs, "method.others")]
        for one in (folder, *others):
            check_merges(one)
        words = inputs["method.tokenizer"].path if "method.tokenizer" in inputs else folder
        data, drop = inputs.get("data"), self.max_drop
        return climb(self.method, folder, data, out, context, words=words, others=others, max_drop=drop)
