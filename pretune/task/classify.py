"""One label for each text, or for two that are compared: a head on an encoder or a decoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from pretune.base.errors import OneClass
from pretune.infer.answers import Answer, Label
from pretune.infer.classify import TextClassifier
from pretune.objective.labels import Labels
from pretune.objective.objective import Objective
from pretune.task.judge.judge import Judge
from pretune.task.judge.labels import LabelJudge
from pretune.task.task import Task
from pretune.task.whole_texts import check_seconds, framed_rows, load_head, ready_head
from pretune.tokens.rows import Row

if TYPE_CHECKING:
    from pretune.infer.predictor import Predictor
    from pretune.text.dataset.example import Labelled


class Classify(Task):
    """Tell which label a text carries, or two that are compared; with several labels a text it is multilabel."""

    shape: ClassVar[str] = "label"
    holds: ClassVar[str] = "labels"
    answers: ClassVar[type[Answer]] = Label
    judge: ClassVar[Judge] = LabelJudge()
    also: ClassVar[Mapping[str, str]] = {"labels": "multilabel"}
    grouped: ClassVar[bool] = True
    better: ClassVar[str] = "accuracy"
    epochs: ClassVar[float] = 4.0

    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of the target that is spread over all labels."""
    class_weights: Literal["auto", "none"] = "auto"
    """auto: errors weigh as the dataset says (dataset.balance=weights), alike if it says nothing; none: alike."""

    def load(self, folder: Path, labels: Sequence[str] | None, *, seed: int) -> tuple[Any, tuple[str, ...]]:
        assert labels is not None
        return load_head(folder, labels, seed=seed)

    def outline(self, config: Any) -> tuple[Any, tuple[str, ...]]:
        from pretune.model.build import outline_with

        return outline_with(config, "label")

    def check(self, examples: Sequence[Labelled], labels: Sequence[str] | None) -> None:
        """Raise OneClass where there is nothing to choose; NotSupported where some have no second text to compare."""
        if labels is None or len(labels) < 2:
            raise OneClass(f"all examples carry the label {labels[0]!r}" if labels else "no example carries a label")
        check_seconds(examples)

    def rows(
        self,
        examples: Sequence[Any],
        folder: Path,
        labels: Sequence[str] | None,
        *,
        max_length: int,
        warn: Callable[[str], None] = lambda told: None,
    ) -> list[Row]:
        assert labels is not None
        number = {name: i for i, name in enumerate(labels)}
        rows = framed_rows(examples, folder, max_length)
        return [{**row, "label": number[e.label]} for row, e in zip(rows, examples, strict=True)]

    def ready(self, model: Any, folder: Path, labels: Sequence[str] | None, *, max_length: int) -> TextClassifier:
        return ready_head(model, folder, max_length=max_length)

    def objective(self, class_weights: Sequence[float] | None = None) -> Objective:
        weights = tuple(class_weights) if class_weights and self.class_weights == "auto" else None
        return Labels(kind="labels", label_smoothing=self.label_smoothing, class_weights=weights)

    def score(self, ready: Predictor, examples: Sequence[Labelled]) -> dict[str, float]:
        """Accuracy and macro-F1 over the labels that occur."""
        asked, _ = self.judge.asked(examples, (), ready.facts.labels)
        figures = self.judge.figures(ready.answer([a.input for a in asked]), asked)
        return {name: figures[name] for name in ("accuracy", "macro_f1")}
