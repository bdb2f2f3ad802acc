"""The candidates of a query in order: query and candidate are read together, by a head with one output.

    ranking   a query with its candidates and their scores
    pair      a source with its right texts, and others that are drawn from the split

More exact than comparing vectors, and slower: every candidate is read anew for every query. So it orders what a search
has found.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from pretune.infer.answers import Answer, Ranking
from pretune.infer.rank import Ranker
from pretune.model.families import Topped
from pretune.objective.objective import Objective
from pretune.objective.rankings import Loss, Rankings
from pretune.objective.several_texts import joined_row
from pretune.objective.spans import hold_bias
from pretune.task.embed import tell_left_out
from pretune.task.judge.judge import Judge
from pretune.task.judge.lists import drawn, usable
from pretune.task.judge.rankings import RankingJudge, scored
from pretune.task.task import Task
from pretune.task.whole_texts import input_rows, load_head, ready_head
from pretune.text.dataset.example import Pair
from pretune.text.dataset.example import Ranking as Example
from pretune.tokens.rows import Row

if TYPE_CHECKING:
    from pretune.infer.predictor import Predictor

OTHERS = 19
"""Drawn candidates next to the right ones, when pairs are judged."""


def with_others(pairs: Sequence[Pair]) -> list[Example]:
    """The lists by which a ranker is judged on pairs."""
    return drawn(pairs, OTHERS)


class Rank(Task):
    """Put the candidates of a query in order."""

    shape: ClassVar[str] = "ranking"
    holds: ClassVar[str] = "queries with candidates"
    also: ClassVar[Mapping[str, str]] = {"pair": "rank-pairs"}
    answers: ClassVar[type[Answer]] = Ranking
    judge: ClassVar[Judge] = RankingJudge(usable)
    grouped: ClassVar[bool] = True
    better: ClassVar[str] = "ndcg_10"
    epochs: ClassVar[float] = 3.0

    loss: Loss = "listwise"
    """listwise: the whole list at once; pairwise: of every two candidates the better one."""
    candidates: int = Field(8, gt=1)
    """Candidates of a query that are read in training, at most: one of the best, and others that are drawn."""

    def load(self, folder: Path, labels: Sequence[str] | None, *, seed: int) -> Topped:
        model, heads = load_head(folder, ["score"], seed=seed, problem="regression", kept={"task": "rank"})
        hold_bias(model)
        return model, heads

    def outline(self, config: Any) -> Topped:
        from pretune.model.build import outline_with

        return outline_with(config, "score", outputs=1)

    def rows(
        self,
        examples: Sequence[Any],
        folder: Path,
        labels: Sequence[str] | None,
        *,
        max_length: int,
        warn: Callable[[str], None] = lambda told: None,
    ) -> list[Row]:
        """A row for each query.

        Raises:
            NoTarget: nothing is left to learn from.
        """
        lists = drawn(examples, self.candidates - 1) if isinstance(examples[0], Pair) else usable(examples)
        tell_left_out(len(examples) - len(lists), len(examples), warn)
        chosen = [_chosen(e.scores, self.candidates, number) for number, e in enumerate(lists)]
        pairs = [(e.query, e.candidates[k]) for e, some in zip(lists, chosen, strict=True) for k in some]
        coded = iter(input_rows(pairs, folder, max_length))
        return [
            {**joined_row([next(coded) for _ in some]), "gains": gains_of([e.scores[k] for k in some])}
            for e, some in zip(lists, chosen, strict=True)
        ]

    def objective(self, class_weights: Sequence[float] | None = None) -> Objective:
        return Rankings(kind="rankings", loss=self.loss, candidates=self.candidates)

    def ready(self, model: Any, folder: Path, labels: Sequence[str] | None, *, max_length: int) -> Ranker:
        return ready_head(model, folder, max_length=max_length, kind=Ranker)

    def score(self, ready: Predictor, examples: Sequence[Any]) -> dict[str, float]:
        """nDCG@10, MRR and recall."""
        return scored(self.judge, ready, examples)


class RankPairs(Rank):
    """Put the text that belongs to a source before others of the data."""

    shape: ClassVar[str] = "pair"
    holds: ClassVar[str] = "pairs of texts"
    also: ClassVar[Mapping[str, str]] = {}
    judge: ClassVar[Judge] = RankingJudge(
        with_others, f"the candidates are the right texts and {OTHERS} others of the split, drawn"
    )


def _chosen(scores: Sequence[float], most: int, number: int) -> list[int]:
    """Numbers of at most so many candidates, a best and a lesser one among them, in their order."""
    if len(scores) <= most:
        return list(range(len(scores)))
    order = np.random.default_rng([len(scores), number]).permutation(len(scores)).tolist()
    top = max(scores)
    best = next(k for k in order if scores[k] == top)
    lesser = next(k for k in order if scores[k] < top)
    others = [k for k in order if k not in (best, lesser)]
    return sorted([best, lesser, *others[: most - 2]])


def gains_of(scores: Sequence[float]) -> np.ndarray:
    """How far each score is above the lowest, as shares of the sum of all."""
    gains = np.asarray(scores, dtype=np.float64) - min(scores)
    return np.asarray(gains / gains.sum())
