"""Stage pretrain: a model from tokens. No torch at the top."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from pretune.base.artifact import Artifact
from pretune.base.json import Json
from pretune.base.stage import Context, Forecast, Machine, Stage
from pretune.model.layers import config_of_taken
from pretune.train.parallel.settings import check_model
from pretune.train.run.settings import PretrainSettings
from pretune.train.settings import with_teacher_in_memory


class PretrainStage(Stage, PretrainSettings):
    """Train a model on tokens, from scratch or from another one."""

    makes: ClassVar[str] = "model"
    version: ClassVar[int] = 6
    stops_gently: ClassVar[bool] = True
    trains: ClassVar[bool] = True

    def chosen_by(self) -> str:
        return "validation_bits_per_byte" if self.objective.tells_bits else "validation_loss"

    def check_ranks(self, world: int) -> None:
        check_model(self.model.model_dump(), self.parallel)
        teacher = "distil" if getattr(self.objective, "teacher", None) else ""
        self.check_parallel(world, objective=teacher, compile="yes" if self.compile == "yes" else "")

    def forecast(self, inputs: Mapping[str, Forecast], machine: Machine) -> Forecast:
        from pretune.train.run.pretraining import forecast_pretraining

        stores = [one for place, one in inputs.items() if place.startswith("tokens")]
        known = sum(one.tokens or one.text_bytes / 4 for one in stores)
        vocab_size = int(max((one.vocab_size for one in stores), default=0))
        sizes: Json = {"tokens": known, "vocab_size": vocab_size}
        base = inputs.get("base")
        if base is not None and base.config is not None and self.take_layers is not None:
            base = replace(base, config=config_of_taken(base.config, self.take_layers)[0])
        return with_teacher_in_memory(forecast_pretraining(self, **sizes, machine=machine, base=base), inputs)

    def run(self, inputs: Mapping[str, Artifact], out: Path, context: Context) -> Json:
        from pretune.train.run.pretraining import pretrain

        return pretrain(self, inputs, out, context)
