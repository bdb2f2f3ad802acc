"""A number for a text, or for two that are compared: a head with one output on an encoder or a decoder.

The head learns the numbers in standard deviations from the mean of the training split. Both are kept in the model's
folder (`scale`), and what answers gives the numbers back in their own unit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import PrivateAttr

from pretune.infer.answers import Answer, Score
from pretune.infer.classify import TextClassifier
from pretune.model.families import Topped
from pretune.objective.objective import Objective
from pretune.objective.scores import Scores
from pretune.task.judge.judge import Judge
from pretune.task.judge.scores import ScoreJudge
from pretune.task.task import Task
from pretune.task.whole_texts import check_seconds, figures_of, framed_rows, load_head, numbers_of, ready_head
from pretune.tokens.rows import Row

if TYPE_CHECKING:
    from pretune.infer.predictor import Predictor
    from pretune.text.dataset.example import ScoredText


class Regress(Task):
    """Give a text, or two that are compared, a number."""

    shape: ClassVar[str] = "score"
    holds: ClassVar[str] = "scores"
    answers: ClassVar[type[Answer]] = Score
    judge: ClassVar[Judge] = ScoreJudge()
    grouped: ClassVar[bool] = True
    better: ClassVar[str] = "spearman"
    epochs: ClassVar[float] = 4.0

    _scale: tuple[float, float] = PrivateAttr((0.0, 1.0))

    def fitted(self, train: Sequence[ScoredText]) -> Self:
        """Raises OneClass where all scores are equal."""
        scores = numbers_of(train)
        found = self.model_copy()
        found._scale = float(scores.mean()), float(scores.std())
        return found

    def load(self, folder: Path, labels: Sequence[str] | None, *, seed: int) -> Topped:
        return load_head(folder, ["score"], seed=seed, problem="regression", kept={"scale": list(self._scale)})

    def outline(self, config: Any) -> Topped:
        from pretune.model.build import outline_with

        return outline_with(config, "score", outputs=1)

    def check(self, examples: Sequence[ScoredText], labels: Sequence[str] | None) -> None:
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
        mean, std = self._scale
        rows = framed_rows(examples, folder, max_length)
        return [{**row, "score": (e.score - mean) / std} for row, e in zip(rows, examples, strict=True)]

    def ready(self, model: Any, folder: Path, labels: Sequence[str] | None, *, max_length: int) -> TextClassifier:
        return ready_head(model, folder, max_length=max_length)

    def objective(self, class_weights: Sequence[float] | None = None) -> Objective:
        return Scores(kind="scores")

    def score(self, ready: Predictor, examples: Sequence[ScoredText]) -> dict[str, float]:
        """Rank and linear correlation, and the mean error."""
        return figures_of(self.judge, ready, examples, ("spearman", "pearson", "mae"))
