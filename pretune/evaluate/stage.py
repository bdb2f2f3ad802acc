"""Stage evaluate: a model and data in, a report out. The summary of several reports is stage `summary`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from pretune.base.artifact import Artifact
from pretune.base.config import Input
from pretune.base.json import Json
from pretune.base.stage import Context, Forecast, Machine, Stage


class EvaluateStage(Stage):
    """Measure a model on data it was not trained on, next to baselines that cost nothing."""

    makes: ClassVar[str] = "report"
    version: ClassVar[int] = 4
    extras: ClassVar[tuple[str, ...]] = ("evaluate",)
    kind: str = "evaluate"
    model: Annotated[str, Input("model|bundle")]
    """The model, or the bundle made from it."""
    data: Annotated[str, Input("dataset|tokens")]
    """Labelled texts, dialogues, or tokens; what is measured follows from it."""
    split: str = "test"
    """The part of the data that is read: test, or validation while you still choose."""
    max_examples: int | None = Field(None, gt=0)
    """At most so many examples (documents of tokens), evenly spread; all of them if not given."""
    max_tokens: int = Field(128, gt=0)
    """Tokens of an answer, at most."""
    title: str = ""
    """What stands above the report."""

    def forecast(self, inputs: Mapping[str, Forecast], machine: Machine) -> Forecast:
        parameters = inputs["model"].parameters
        return Forecast(memory_bytes=8 * parameters + 8e8, disk_bytes=2e6, parameters=parameters)

    def run(self, inputs: Mapping[str, Artifact], out: Path, context: Context) -> Json:
        from pretune.evaluate.reporting import Wanted, evaluate

        wanted = Wanted(self.split, self.max_examples, self.max_tokens, self.title)
        return evaluate(wanted, inputs["model"], inputs["data"], out, context)
