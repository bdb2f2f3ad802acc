"""One label for each text, or for two that are compared: a head on an encoder or a decoder.

The temperature that makes probabilities true, and the probability below which a text gets no label (`reject`), are
chosen on the validation split, and kept in the model's folder.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from pretune.base.errors import NoTarget, NotSupported, OneClass, WrongValue
from pretune.base.extras import need
from pretune.base.json import Json
from pretune.infer.answers import Answer, Label
from pretune.infer.classify import TextClassifier, softmax
from pretune.model.families import Topped
from pretune.objective.cosines import Cosines
from pretune.objective.labels import Labels
from pretune.objective.objective import Objective
from pretune.task.few_shot import add_mean_block, fitted_head, pairs_of, reads_the_mean
from pretune.task.judge.calibration import best_temperature, best_threshold, best_thresholds, threshold_keeping
from pretune.task.judge.judge import Judge
from pretune.task.judge.labels import LabelJudge
from pretune.task.labelling import Labelling
from pretune.task.whole_texts import check_seconds, figures_of, framed_rows, load_head, ready_head
from pretune.tokens.rows import Row

if TYPE_CHECKING:
    from torch import Tensor

    from pretune.infer.predictor import Predictor
    from pretune.model.methods.method import Method
    from pretune.task.task import Known
    from pretune.text.dataset.example import Labelled


class Classify(Labelling):
    """Tell which label a text carries, or two that are compared; with several labels a text it is multilabel."""

    shape: ClassVar[str] = "label"
    holds: ClassVar[str] = "labels"
    answers: ClassVar[type[Answer]] = Label
    judge: ClassVar[Judge] = LabelJudge()
    also: ClassVar[Mapping[str, str]] = {"labels": "multilabel"}
    grouped: ClassVar[bool] = True

    class_weights: Literal["auto", "none"] = "auto"
    """auto: errors weigh as the dataset says (dataset.balance=weights), alike if it says nothing; none: alike."""
    reject: Annotated[float, Field(gt=0, lt=1)] | str | None = None
    """When a text gets no label. The name of a label: its texts are out of scope, it is not learnt, and the threshold
    tells them best from the others of the validation split. A number (0.95): the share of the validation split that
    must still get a label. Without it every text gets one."""
    thresholds: bool = False
    """Choose on the validation split how likely each label must be to be given, for the best macro-F1: for labels that
    are lopsided. Macro-F1 chooses the best weights then, too."""

    few_shot: bool = False
    """For a few texts a label (8, say): the body learns which texts carry the same label, and the head is a logistic
    regression on its vectors (SetFit, arXiv:2209.11055). Best with a sentence encoder."""

    smote: bool = False
    """For lopsided labels, with method=head: the head is a logistic regression on the model's vectors and on synthetic
    ones between two of a rare label (SMOTE; extra smote)."""

    @property
    def fits_head(self) -> bool:  # type: ignore[override]  # it depends on what is wanted
        return self.few_shot or self.smote

    def fitted(self, train: Sequence[Labelled]) -> Self:
        """Raise MissingExtra or NotSupported where no synthetic vectors can be made."""
        if self.smote:
            need(["smote"])
            counts = Counter(e.label for e in train if e.label != self.reject)
            if alone := [name for name, number in counts.items() if number < 2]:
                hint = "give another, leave the label out, or take dataset.balance=weights"
                raise NotSupported(f"{alone[0]!r} has one training example: nothing lies between two", hint=hint)
        return self

    def why_not(self, method: Method) -> str | None:
        if self.smote and not method.only_heads:
            return f"task.smote makes vectors, and vectors have no text: method={method.kind} would change the body"
        if self.few_shot and method.only_heads:
            return f"task.few_shot teaches the body, and method={method.kind} trains nothing of it"
        return super().why_not(method)

    @model_validator(mode="after")
    def _of_pairs(self) -> Self:
        beyond = [n for n, value in self.of_loss().items() if value != type(self).model_fields[n].default]
        if self.few_shot and beyond:
            raise ValueError(f"few_shot compares two texts, and {beyond[0]} is of the loss of one; leave out either")
        return self

    @model_validator(mode="after")
    def _one_decision(self) -> Self:
        if self.thresholds and self.reject is not None:
            raise ValueError("thresholds and reject both say when a label is given; choose one of them")
        return self

    @property
    def is_alone(self) -> bool:  # type: ignore[override]  # its head is fitted to its own examples
        return self.fits_head

    @property
    def epochs(self) -> float:  # type: ignore[override]  # each text is in many pairs, or no step is needed
        return 1.0 if self.fits_head else 4.0

    @property
    def better(self) -> str:  # type: ignore[override]  # it depends on what is wanted
        """Accuracy hardly sees a rare label."""
        return "macro_f1" if self.thresholds else "accuracy"

    def learnt(self, labels: Sequence[str] | None) -> Sequence[str] | None:
        if labels is None or not isinstance(self.reject, str):
            return labels
        if self.reject not in labels:
            hint = (
                f"the dataset's labels: {', '.join(map(repr, labels[:20]))}; or a number, the share that gets a label"
            )
            raise WrongValue(f"task.reject={self.reject!r} is no label of the dataset", hint=hint)
        return [name for name in labels if name != self.reject]

    def check_validation(self, examples: Sequence[Labelled]) -> None:
        inside = self._inside(examples)
        if (self.thresholds or self.reject is not None) and not any(inside):
            name = "task.thresholds" if self.thresholds else "task.reject"
            raise NoTarget(f"{name} is chosen on a validation split, and there is none", hint="make one")
        if isinstance(self.reject, str) and all(inside):
            problem = f"no text of the validation split is {self.reject!r}, so task.reject cannot be chosen"
            raise NoTarget(problem, hint="give more of them, or a number: task.reject=0.95")

    def _inside(self, examples: Sequence[Labelled]) -> list[bool]:
        """Whether each is in scope."""
        return [e.label != self.reject for e in examples]

    def load(self, folder: Path, labels: Sequence[str] | None, *, seed: int) -> Topped:
        from pretune.model.folder import config_of

        assert labels is not None
        model, heads = load_head(folder, labels, seed=seed)
        if self.fits_head and reads_the_mean(folder, config_of(folder)):
            add_mean_block(model)
        return model, heads

    def outline(self, config: Any) -> Topped:
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
        rows = self._rows(examples, folder, labels, max_length)
        return pairs_of(rows, [row["label"] for row in rows]) if self.few_shot else rows

    def _rows(self, examples: Sequence[Any], folder: Path, labels: Sequence[str], max_length: int) -> list[Row]:
        number = {name: i for i, name in enumerate(labels)}
        some = [e for e in examples if e.label != self.reject]
        rows = framed_rows(some, folder, max_length)
        return [{**row, "label": number[e.label]} for row, e in zip(rows, some, strict=True)]

    def refit(self, model: Any, known: Known, folder: Path, *, max_length: int) -> Mapping[str, Tensor]:
        assert known.labels is not None
        rows = self._rows(known.examples, folder, known.labels, max_length)
        weights = known.class_weights if self.class_weights == "auto" and not self.smote else None
        return fitted_head(model, rows, weights, smote=self.smote)

    def ready(self, model: Any, folder: Path, labels: Sequence[str] | None, *, max_length: int) -> TextClassifier:
        return ready_head(model, folder, max_length=max_length)

    def objective(self, class_weights: Sequence[float] | None = None) -> Objective:
        if self.few_shot:
            return Cosines(kind="cosines", of_classifier=True)
        weights = tuple(class_weights) if class_weights and self.class_weights == "auto" else None
        return Labels(kind="labels", class_weights=weights, **self.of_loss())

    def score(self, ready: Predictor, examples: Sequence[Labelled]) -> dict[str, float]:
        """Accuracy and macro-F1 over the labels that occur, of the texts in scope."""
        some = [e for e in examples if e.label != self.reject]
        return figures_of(self.judge, ready, some, ("accuracy", "macro_f1"), ready.facts.labels)

    def chosen(self, ready: Predictor, examples: Sequence[Labelled]) -> Json:
        """The temperature with the least loss, and the threshold below which a text is rejected."""
        assert isinstance(ready, TextClassifier)
        assert ready.facts.labels is not None
        number = {name: i for i, name in enumerate(ready.facts.labels)}
        known = [e for e in examples if e.label in number or e.label == self.reject]
        inside = np.array(self._inside(known))
        gold = np.array([number.get(e.label, -1) for e in known])
        logits = ready.logits([e.given for e in known]).astype(np.float64)
        temperature = round(best_temperature(logits[inside], gold[inside]), 6)
        found: Json = {"temperature": temperature}
        chances = softmax(logits / temperature)
        if self.thresholds:
            return found | {"thresholds": best_thresholds(chances[inside], gold[inside])}
        if self.reject is None:
            return found
        best, right = chances.max(axis=1), chances.argmax(axis=1) == gold
        if isinstance(self.reject, str):
            return found | {"reject": best_threshold(best, right, inside), "rejected": self.reject}
        return found | {"reject": threshold_keeping(best, self.reject), "rejected": ""}
