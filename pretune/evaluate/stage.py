"""Stage evaluate: a model and data in, a report out. The summary of several reports is stage `summary`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from pretune.base.artifact import Artifact
from pretune.base.config import Input
from pretune.base.json import Json
from pretune.base.stage import Context, Forecast, Machine, Stage


class EvaluateStage(Stage):
    """Measure a model on data it was not trained on, next to baselines that cost nothing."""

    makes: ClassVar[str] = "report"
    version: ClassVar[int] = 6
    extras: ClassVar[tuple[str, ...]] = ("evaluate",)
    kind: str = "evaluate"
    model: Annotated[str, Input("model|bundle")]
    """The model, or the bundle made from it."""
    data: Annotated[str | None, Input("dataset|tokens")] = None
    """Labelled texts, dialogues, or tokens; what is measured follows from it. Needed without pairs and choices."""
    pairs: Annotated[str | None, Input("files", by_name=True)] = None
    """Minimal pairs, a table or a folder of tables with the columns good, bad and paradigm: how often is the good
    sentence the likelier one? For models that predict the next token, and for masked ones."""
    choices: Annotated[str | None, Input("files", by_name=True)] = None
    """Questions with what may follow, a table or a folder of them: query, choices and gold (the right one's place, from
    0); or context and continuation, of which every token should be the likeliest."""
    swaps: Annotated[str | None, Input("files", by_name=True)] = None
    """Sentences in which only a name, a gender or a region is swapped: do the answers change? A YAML file of groups and
    templates, or one of ours: swaps:gender-en, names-en, regions-en, and the same with -zh."""
    by: list[str] = []
    """Columns of your labelled data (in its files, next to text and label): figures for each of their values."""
    between: str | None = None
    """What stands between a question and an answer of `choices`; by default a line `Answer:` where the question begins
    with `Question:`, and a blank elsewhere (say `between=""` for Chinese)."""
    stride: int | None = Field(None, gt=0)
    """Of tokens: how far apart windows are that overlap, each as long as the rows in pretraining (at most 512 where
    that is not known). A token then sees more than `length - stride` of those before it in its document. Not given:
    blocks that do not overlap, without memory of the one before."""
    split: str = "test"
    """The part of `data` that is read: test, or validation while you still choose."""
    max_examples: int | None = Field(None, gt=0)
    """At most so many examples (documents of tokens; pairs or questions of a file), evenly spread; all if not given."""
    max_tokens: int = Field(128, gt=0)
    """Tokens of an answer, at most."""
    title: str = ""
    """What stands above the report."""

    @model_validator(mode="after")
    def _something(self) -> Self:
        if all(given is None for given in (self.data, self.pairs, self.choices, self.swaps)):
            raise ValueError("give data to measure on: a dataset or tokens, or pairs=, choices= or swaps=FILE")
        return self

    def forecast(self, inputs: Mapping[str, Forecast], machine: Machine) -> Forecast:
        parameters = inputs["model"].parameters
        return Forecast(memory_bytes=8 * parameters + 8e8, disk_bytes=2e6, parameters=parameters)

    def run(self, inputs: Mapping[str, Artifact], out: Path, context: Context) -> Json:
        from pretune.evaluate.reporting import Wanted, evaluate

        wanted = Wanted(self.split, self.max_examples, self.max_tokens, self.title, self.between, self.stride)
        wanted = replace(wanted, by=tuple(self.by))
        given = {place: one for place, one in inputs.items() if place != "model"}
        return evaluate(wanted, inputs["model"], given, out, context)
