"""The judge of numbers: a score for a text, or for two that are compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pretune.base.json import Json, JsonMap
from pretune.infer.answers import Score
from pretune.infer.correlation import spearman
from pretune.infer.predictor import Facts
from pretune.task.judge.baselines import ridge_scores
from pretune.task.judge.figures import score_figures
from pretune.task.judge.judge import Asked, Baseline, Judge, Marks
from pretune.text.dataset.example import ScoredText


class ScoreJudge(Judge):
    """Spearman, Pearson, mean and root mean square error; next to the mean and to ridge regression on TF-IDF."""

    main: ClassVar[str] = "spearman"
    order: ClassVar[str] = "nearness"
    subject: ClassVar[str] = "Scores"
    columns: ClassVar[tuple[str, ...]] = ("text", "second", "score", "said", "baseline_said")

    def asked(
        self, examples: Sequence[ScoredText], train: Sequence[ScoredText], labels: Sequence[str] | None
    ) -> tuple[list[Asked], list[str]]:
        return [Asked(e.given, e.score, e.text, e.origin) for e in examples], []

    def strange(self, examples: Sequence[ScoredText], labels: Sequence[str]) -> list[str]:
        return []

    def marks(self, answer: Score, asked: Asked) -> Marks:
        return {"mae": abs(answer.value - asked.wanted)}

    def figures(self, answers: Sequence[Score], asked: Sequence[Asked]) -> dict[str, float]:
        return score_figures(*_values(answers, asked))

    def drawn(self, answers: Sequence[Score], asked: Sequence[Asked]) -> Callable[[NDArray[np.int64]], float]:
        wanted, said = _values(answers, asked)
        return lambda numbers: spearman(wanted[numbers], said[numbers])

    def tell(self, answers: Sequence[Score], asked: Sequence[Asked], facts: Facts) -> tuple[Json, list[str]]:
        """Where all are the same: correlations count as 0 then."""
        wanted, said = _values(answers, asked)
        constant = {"the data has": wanted, "the model gives": said}
        told = "{} one and the same score for all examples, so Spearman and Pearson are 0"
        return {}, [told.format(who) for who, values in constant.items() if values.min() == values.max()]

    def baselines(self, asked: Sequence[Asked], train: Sequence[ScoredText], *, seed: int) -> list[Baseline]:
        """None without a training split."""
        if not train:
            return []
        scores = [e.score for e in train]
        ridge = ridge_scores([e.given for e in train], scores, [a.input for a in asked])
        mean = Score(float(np.mean(scores)))
        return [
            Baseline("mean", "always the mean of the training split", [mean] * len(asked)),
            Baseline("tfidf_ridge", "ridge regression on TF-IDF", [Score(value) for value in ridge]),
        ]

    def row(self, asked: Asked, answer: Score, marks: Marks, baselines: Mapping[str, Any]) -> Json:
        strongest = baselines.get("tfidf_ridge")
        return {
            "origin": asked.origin,
            "group": asked.group,
            **asked.texts,
            "score": asked.wanted,
            "said": round(answer.value, 6),
            "nearness": round(-marks["mae"], 6),
            "baseline_said": strongest and round(strongest.value, 6),
        }

    def again(self, row: JsonMap) -> tuple[Score, Asked]:
        return Score(row["said"]), Asked("", row["score"], "", row["origin"])


def _values(answers: Sequence[Score], asked: Sequence[Asked]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scores of the data, and those that were given."""
    return np.array([a.wanted for a in asked]), np.array([answer.value for answer in answers])
