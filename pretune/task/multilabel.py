"""Any number of labels for each text: a sigmoid for each label, on an encoder or a decoder.

The head begins at how often each label occurs in train: from one half each, the first steps push every text the same
way (docs/LOG.md). The temperature of the probabilities, and from which one a label holds, are chosen on the validation
split (the latter for each label), and kept in the model's folder.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from pydantic import PrivateAttr

from pretune.base.errors import OneClass
from pretune.base.json import Json
from pretune.infer.answers import Answer, Labels
from pretune.infer.classify import TextClassifier, sigmoid
from pretune.model.families import Topped
from pretune.objective.label_sets import LabelSets
from pretune.objective.objective import Objective
from pretune.task.judge.calibration import best_temperature
from pretune.task.judge.figures import best_cut, set_figures
from pretune.task.judge.judge import Judge
from pretune.task.judge.label_sets import LabelSetJudge, held
from pretune.task.labelling import Labelling
from pretune.task.whole_texts import framed_rows, load_head, ready_head
from pretune.tokens.rows import Row

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pretune.infer.predictor import Predictor
    from pretune.text.dataset.example import MultiLabelled

DEFAULT, LEAST = 0.5, 1e-6
"""The threshold of a label that no validation text carries; what lies between a threshold and certainty."""


class MultiLabel(Labelling):
    """Tell which labels a text carries: none, one or several."""

    shape: ClassVar[str] = "labels"
    holds: ClassVar[str] = "sets of labels"
    answers: ClassVar[type[Answer]] = Labels
    judge: ClassVar[Judge] = LabelSetJudge()
    grouped: ClassVar[bool] = True
    better: ClassVar[str] = "macro_f1"
    epochs: ClassVar[float] = 4.0

    _shares: dict[str, float] = PrivateAttr({})

    def fitted(self, train: Sequence[MultiLabelled]) -> Self:
        """With the share of the examples that carry each label, half an example more on either side: never 0 or 1."""
        counts = Counter(name for e in train for name in e.labels)
        found = self.model_copy()
        found._shares = {name: (number + 0.5) / (len(train) + 1) for name, number in counts.items()}
        return found

    def load(self, folder: Path, labels: Sequence[str] | None, *, seed: int) -> Topped:
        from pretune.model.folder import begin_at

        assert labels is not None
        model, heads = load_head(folder, labels, seed=seed, problem="multi_label_classification")
        if self._shares:
            shares = np.array([self._shares.get(name, LEAST) for name in labels])
            begin_at(model, np.log(shares / (1 - shares)))
        return model, heads

    def outline(self, config: Any) -> Topped:
        from pretune.model.build import outline_with

        return outline_with(config, "label", outputs=1)

    def check(self, examples: Sequence[MultiLabelled], labels: Sequence[str] | None) -> None:
        """Raise OneClass where all examples carry the same labels, or none."""
        if len({e.labels for e in examples}) < 2:
            names = ", ".join(map(repr, examples[0].labels))
            raise OneClass(f"all examples carry the labels {names}" if names else "no example carries a label")

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
        rows, holds = framed_rows(examples, folder, max_length), held([e.labels for e in examples], labels)
        return [{**row, "holds": one.astype(np.float64)} for row, one in zip(rows, holds, strict=True)]

    def ready(self, model: Any, folder: Path, labels: Sequence[str] | None, *, max_length: int) -> TextClassifier:
        return ready_head(model, folder, max_length=max_length)

    def objective(self, class_weights: Sequence[float] | None = None) -> Objective:
        weights = tuple(class_weights) if class_weights else None
        return LabelSets(kind="label-sets", class_weights=weights, **self.of_loss())

    def score(self, ready: Predictor, examples: Sequence[MultiLabelled]) -> dict[str, float]:
        """F1 with the model's thresholds; while none are chosen yet, with the best for these examples."""
        gold, chances = _decisions(ready, examples)
        thresholds = ready.facts.more.get("thresholds") or _best(gold, chances)
        said = chances >= np.asarray(thresholds)
        exact = float((gold == said).all(axis=1).mean())
        return {**set_figures(gold, said), "subset_accuracy": exact}

    def chosen(self, ready: Predictor, examples: Sequence[MultiLabelled]) -> Json:
        """The temperature with the least loss, and the threshold of each label with the best F1."""
        assert isinstance(ready, TextClassifier)
        gold = held([e.labels for e in examples], ready.facts.labels or ())
        logits = ready.logits([e.text for e in examples]).astype(np.float64)
        no_and_yes = np.stack([np.zeros(logits.size), logits.ravel()], axis=1)
        temperature = round(best_temperature(no_and_yes, gold.ravel().astype(np.int64)), 6)
        return {"temperature": temperature, "thresholds": _best(gold, sigmoid(logits / temperature))}


def _decisions(ready: Predictor, examples: Sequence[MultiLabelled]) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Which labels hold, and the probability of each, [texts, labels]."""
    labels, answers = ready.facts.labels or (), ready.answer([e.text for e in examples])
    found = [[answer.scores[name] for name in labels] for answer in answers if isinstance(answer, Labels)]
    return held([e.labels for e in examples], labels), np.array(found)


def _best(gold: NDArray[np.bool_], chances: NDArray[np.float64]) -> list[float]:
    cuts = (best_cut(values, holds, default=DEFAULT) for values, holds in zip(chances.T, gold.T, strict=True))
    return [min(max(cut, LEAST), 1 - LEAST) for cut in cuts]
