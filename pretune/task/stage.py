"""Stage finetune: a pretrained model and labelled examples in, a model for the task out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from pretune.base.artifact import Artifact
from pretune.base.json import Json
from pretune.base.stage import Context, Forecast, Machine, Stage
from pretune.model.layers import config_of_taken
from pretune.task.fresh import check_source, fresh_forecast
from pretune.task.settings import FinetuneSettings
from pretune.train.settings import with_teacher_in_memory


class FinetuneStage(Stage, FinetuneSettings):
    """Adapt a pretrained model to a task."""

    makes: ClassVar[str] = "model"
    version: ClassVar[int] = 8
    stops_gently: ClassVar[bool] = True
    trains: ClassVar[bool] = True

    def chosen_by(self) -> str:
        return f"validation_{self.task.better}"

    def check_ranks(self, world: int) -> None:
        method = self.method.kind if self.method.kind != "full" else ""
        kinds = {"remember": self.remember, "objective": self.objective}
        others = {name: one.kind for name, one in kinds.items() if one is not None}
        task = self.task.kind if self.task.kind == "prefer" else ""  # it asks the model as it starts
        self.check_parallel(world, method=method, task=task, **others)

    def forecast(self, inputs: Mapping[str, Forecast], machine: Machine) -> Forecast:
        base, data = inputs["model"], together([inputs[place] for place in _data(inputs).values()])
        if self.fresh is not None:
            base = fresh_forecast(self.fresh, base, max_length=self.max_length)
        if base.config is not None and self.take_layers is not None:
            base = replace(base, config=config_of_taken(base.config, self.take_layers)[0])
        if base.config is not None:
            from pretune.task.finetuning import forecast_finetuning

            return with_teacher_in_memory(forecast_finetuning(self, base, data, machine), inputs)
        parameters = base.parameters or base.disk_bytes / 4
        return Forecast(disk_bytes=4.0 * parameters + self.keep.number * 12.0 * parameters, parameters=parameters)

    def run(self, inputs: Mapping[str, Artifact], out: Path, context: Context) -> Json:
        from pretune.task.finetuning import finetune

        base, data = inputs["model"], {name: inputs[place] for name, place in _data(inputs).items()}
        if base.card.kind == "tokenizer":
            check_source(self.fresh, None, base.path.as_posix())
        return finetune(self, inputs, data, out, context)


def _data(places: Iterable[str]) -> dict[str, str]:
    """The name of each task -> the place of its data set among the inputs; one alone has the name ""."""
    return {place.partition(".")[2]: place for place in places if place.partition(".")[0] == "data"}


def together(forecasts: Sequence[Forecast]) -> Forecast:
    """What is known of several data sets as one."""
    first = forecasts[0]
    tokens, size = (sum(getattr(one, name) for one in forecasts) for name in ("tokens", "text_bytes"))
    return replace(first, tokens=tokens, text_bytes=size)
