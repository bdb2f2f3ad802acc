"""Stage export: a bundle that other programs run, with the proof that it gives the model's answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from pretune.base.artifact import Artifact
from pretune.base.config import Input, chosen
from pretune.base.errors import NotSupported, WrongValue
from pretune.base.json import Json
from pretune.base.stage import Context, Forecast, Machine, Stage
from pretune.export.exporter import EXPORTER, Exporter, Job

if TYPE_CHECKING:
    from pretune.infer.predictor import Predictor


class ExportStage(Stage):
    """Write a model in formats that other programs run."""

    makes: ClassVar[str] = "bundle"
    version: ClassVar[int] = 5

    model: Annotated[str, Input("model|tokens")]
    """The model; an adapter is merged into its base first, or baked into the graph; or tokens, for other programs to
    train on."""
    data: Annotated[str | None, Input("dataset")] = None
    """A dataset on which the bundle is compared with the model: its test texts, or dialogues as prompts."""
    to: list[Annotated[Exporter, *chosen(EXPORTER)]] = Field([EXPORTER("onnx")], min_length=1)
    """Formats: of a model onnx, gguf, huggingface; of tokens nanogpt, megatron, arrow."""

    def forecast(self, inputs: Mapping[str, Forecast], machine: Machine) -> Forecast:
        model = inputs["model"]
        size = 4 * model.parameters or model.disk_bytes
        return Forecast(30, 5 * size + 5e8, size, parameters=model.parameters)

    def run(self, inputs: Mapping[str, Artifact], out: Path, context: Context) -> Json:
        """Writes the bundle; a format that was refused does not undo another.

        Returns:
            The figures of every format by its kind, and `refused`.

        Raises:
            NoParity, NotSupported: every format was refused; the first refusal.
        """
        from pretune.export.bundle import check_merges, write_bundle

        source, data = inputs["model"], inputs.get("data")
        _check_kinds(self.to, source)
        if source.card.kind == "model" and not any(one.keeps_adapters for one in self.to):
            check_merges(source.path)  # before anything is loaded
        job = Job(source.path, _opened(source), data.path if data else None, out)
        return write_bundle(self.to, job, context.log)


def _opened(source: Artifact) -> Predictor | None:
    """The model of a folder; None for tokens."""
    if source.card.kind == "tokens":
        return None
    from pretune.model.generate import open_folder

    return open_folder(source.path)


def _check_kinds(exporters: list[Exporter], given: Artifact) -> None:
    kind = given.card.kind
    twice = [name for name, number in Counter(e.kind for e in exporters).items() if number > 1]
    if twice:
        hint = "a bundle holds one of each format; export the other into a folder of its own"
        raise WrongValue(f"`to` names {twice[0]} twice", hint=hint)
    for exporter in exporters:
        if exporter.takes != kind:
            there = [f"to={name}" for name in EXPORTER.kinds() if EXPORTER(name).takes == kind]
            hint = f"a {kind} is written by {' or '.join(there)}"
            raise NotSupported(
                f"{given.path.as_posix()} is a {kind}, which cannot be written as {exporter.kind}", hint=hint
            )
