"""What the tasks of labels share: settings of their loss, and why a model cannot have them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from pretune.base.errors import NotSupported
from pretune.base.json import Json
from pretune.task.task import Task


class Labelling(Task):
    """Settings of the loss of one label or several."""

    loss: Literal["cross-entropy", "focal"] = "cross-entropy"
    """focal: what is told well already counts less, (1 - p) ** focal_gamma times as much; for lopsided labels
    (Lin et al. 2017, arXiv:1708.02002)."""
    focal_gamma: float = Field(2.0, ge=0)
    """Of loss=focal: 0 is cross-entropy, 2 is the paper's."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of the target that is spread over all labels; of several labels a text, over yes and no of each."""
    r_drop: float = Field(0.0, ge=0)
    """Against over-fitting: each row is read twice, with other dropout, and this weighs how far the two answers are
    apart (Liang et al. 2021, arXiv:2106.14448, take 1 to 5); twice the time. 0: one reading."""
    mixup: float = Field(0.0, ge=0)
    """Against over-fitting: each row is answered together with another of its step, mixed in shares of
    Beta(mixup, mixup) before the last layer (Sun et al. 2020, arXiv:2010.02394); 0.2 to 1, twice the time. 0: not."""

    @model_validator(mode="after")
    def _of_loss(self) -> Self:
        if "focal_gamma" in self.model_fields_set and self.focal_gamma != 2.0 and self.loss != "focal":
            raise ValueError("focal_gamma is of loss=focal; say so, or leave it out")
        if self.r_drop and self.mixup:
            raise ValueError("r_drop compares two readings of a row, mixup mixes two rows; choose one of them")
        return self

    def for_model(self, config: Mapping[str, Any]) -> Self:
        """Raise NotSupported for r_drop where nothing is dropped."""
        if self.r_drop and config and not any(_drops(name, value) for name, value in config.items()):
            hint = "give its config.json a dropout, or take task.mixup"
            raise NotSupported("this model has no dropout, so two readings of a row are alike: task.r_drop", hint=hint)
        return self

    def of_loss(self) -> Json:
        """These settings, as the objectives of labels have them."""
        return {name: getattr(self, name) for name in Labelling.model_fields if name != "kind"}


def _drops(name: str, value: object) -> bool:
    return ("dropout" in name or name.endswith("pdrop")) and isinstance(value, int | float) and value > 0
