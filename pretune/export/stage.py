"""Stage export: a bundle that other programs run, with the proof that it gives the model's answers.

bundle.json          task, labels, limits, control tokens, the graph's inputs and outputs
parity.json          what was compared with the model folder, thresholds, result
onnx/model.onnx      the graph, weights included
tokenizer.json ...   the tokenizer and its chat template
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field

from pretune.base.artifact import Artifact
from pretune.base.config import Input, chosen
from pretune.base.errors import NoParity, NotSupported, WrongValue
from pretune.base.stage import Context, Forecast, Machine, Stage
from pretune.export.exporter import EXPORTER, Exported, Exporter, Job


class ExportStage(Stage):
    """Write a model in formats that other programs run."""

    makes: ClassVar[str] = "bundle"
    version: ClassVar[int] = 2
    extras: ClassVar[tuple[str, ...]] = ("export",)

    model: Annotated[str, Input("model|tokens")]
    """The model, an adapter is merged into its base first; or tokens, for other programs to train on."""
    data: Annotated[str | None, Input("dataset")] = None
    """A dataset on which the bundle is compared with the model: its test texts, or dialogues as prompts."""
    to: list[Annotated[Exporter, *chosen(EXPORTER)]] = Field([EXPORTER("onnx")], min_length=1)
    """Formats: of a model onnx; of tokens nanogpt, megatron, arrow."""

    def forecast(self, inputs: Mapping[str, Forecast], machine: Machine) -> Forecast:
        model = inputs["model"]
        size = 4 * model.parameters or model.disk_bytes
        return Forecast(30, 5 * size + 5e8, size, parameters=model.parameters)

    def run(self, inputs: Mapping[str, Artifact], out: Path, context: Context) -> dict[str, Any]:
        """Writes the bundle; a format that was refused does not undo another.

        Returns:
            The figures of every format by its kind, and `refused`.

        Raises:
            NoParity: every format was refused; NotSupported: this model cannot be exported.
        """
        _check_kinds(self.to, inputs["model"])
        data = inputs.get("data")
        job = Job(inputs["model"].path, data.path if data else None, out, context.log.info)
        made, refused = _all(self.to, job)
        for kind, error in refused.items():
            context.log.warn(f"{kind} was not written: {error.problem}")
        if not made:
            raise next(iter(refused.values()))
        _write(made, out)
        return {**{kind: one.metrics for kind, one in made.items()}, "refused": sorted(refused)}


def _check_kinds(exporters: list[Exporter], given: Artifact) -> None:
    kind = given.card.kind
    twice = [name for name, number in Counter(e.kind for e in exporters).items() if number > 1]
    if twice:
        hint = "a bundle holds one of each format; export the other into a folder of its own"
        raise WrongValue(f"`to` names {twice[0]} twice", hint=hint)
    for exporter in exporters:
        if exporter.takes != kind:
            hint = (
                "tokens go to nanogpt, megatron or arrow: to=megatron" if kind == "tokens" else "a model goes to onnx"
            )
            raise NotSupported(
                f"{given.path.as_posix()} is a {kind}, which cannot be written as {exporter.kind}", hint=hint
            )


def _all(exporters: list[Exporter], job: Job) -> tuple[dict[str, Exported], dict[str, NoParity]]:
    made: dict[str, Exported] = {}
    refused: dict[str, NoParity] = {}
    for exporter in exporters:
        try:
            made[exporter.kind] = exporter.export(job)
        except NoParity as error:
            refused[exporter.kind] = error
    return made, refused


def _write(made: Mapping[str, Exported], out: Path) -> None:
    """bundle.json and parity.json of all formats together."""
    from pretune.export.onnx_bundle import to_json

    bundle = {name: value for one in made.values() for name, value in one.bundle.items()}
    (out / "bundle.json").write_text(to_json(bundle), encoding="utf-8")
    (out / "parity.json").write_text(to_json({k: one.parity for k, one in made.items()}), encoding="utf-8")
