"""A vector for a text, such that texts that belong together are near each other.

    pair      a source and its right texts      in-batch negatives over the whole step
    ranking   a query, candidates with scores   the best are right, the others hard negatives
    score     two texts, a number               the cosine is the number, scaled to [0, 1]

The body alone is trained, on an encoder or a decoder; how it pools is kept in config.json, and in the files by which
sentence-transformers reads the folder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from pydantic import Field, PrivateAttr

from pretune.base.errors import NoTarget, NotSupported, WrongValue
from pretune.infer.answers import Answer, Vector
from pretune.infer.embed import Embedder
from pretune.infer.pooling import Pooling, pooling_of
from pretune.model.families import Topped
from pretune.objective.contrast import Contrast
from pretune.objective.cosines import Cosines
from pretune.objective.objective import Objective
from pretune.objective.several_texts import joined_row
from pretune.task.judge.judge import Judge
from pretune.task.judge.lists import POOL, pooled, usable
from pretune.task.judge.rankings import RankingJudge, scored
from pretune.task.judge.scores import ScoreJudge
from pretune.task.task import Task
from pretune.task.whole_texts import check_seconds, figures_of, input_rows, numbers_of, ready_head
from pretune.text.dataset.example import Pair, Ranking
from pretune.tokens.rows import Row

if TYPE_CHECKING:
    from pretune.infer.predictor import Predictor
    from pretune.text.dataset.example import ScoredText

Group = tuple[str, tuple[str, ...], tuple[str, ...]]
"""A query, its right texts, its hard negatives."""


class Embed(Task):
    """Give a text a vector, near those of the texts that belong to it."""

    shape: ClassVar[str] = "pair"
    holds: ClassVar[str] = "pairs of texts"
    new_head: ClassVar[bool] = False
    also: ClassVar[Mapping[str, str]] = {"ranking": "embed-rankings", "score": "embed-scores"}
    answers: ClassVar[type[Answer]] = Vector
    judge: ClassVar[Judge] = RankingJudge(pooled, f"the candidates are the right texts of the split, at most {POOL:,}")
    grouped: ClassVar[bool] = True
    better: ClassVar[str] = "ndcg_10"
    epochs: ClassVar[float] = 3.0

    pooling: Pooling | None = None
    """How the states of tokens become one vector: mean, cls or last; as the model says, or else mean."""
    temperature: float = Field(0.05, gt=0)
    """What cosines are divided by; smaller: only the hardest negatives count."""
    negatives: int = Field(4, ge=0)
    """Hard negatives of a query at most, where the data has some; those of all other rows of the step come on top."""

    _negatives: int = PrivateAttr(0)

    def fitted(self, train: Sequence[Any]) -> Self:
        found = self.model_copy()
        found._negatives = min(self.negatives, max((len(others) for _, _, others in groups_of(train)), default=0))
        return found

    def load(self, folder: Path, labels: Sequence[str] | None, *, seed: int) -> Topped:
        return load_pooled(folder, self.pooling), ()

    def outline(self, config: Any) -> Topped:
        return outline_pooled(config, self.pooling), ()

    def check(self, examples: Sequence[Any], labels: Sequence[str] | None) -> None:
        """Raise NotSupported for a pair without its second."""
        alone = [e for e in examples if isinstance(e, Pair) and not any(text.strip() for text in e.targets)]
        if alone:
            problem = f"{len(alone)} of {len(examples)} pairs have no second text, {alone[0].origin} first"
            raise NotSupported(problem, hint="complete them or leave them out")

    def rows(
        self,
        examples: Sequence[Any],
        folder: Path,
        labels: Sequence[str] | None,
        *,
        max_length: int,
        warn: Callable[[str], None] = lambda told: None,
    ) -> list[Row]:
        """A row for each right text of each query.

        Raises:
            NoTarget: nothing is left to learn from.
        """
        groups = {n: group for n, group in enumerate(groups_of(examples)) if group[1]}
        tell_left_out(len(examples) - len(groups), len(examples), warn)
        texts = dict.fromkeys(t for query, right, others in groups.values() for t in (query, *right, *others))
        coded = dict(zip(texts, enumerate(input_rows([*texts], folder, max_length), 1), strict=True))
        rows: list[Row] = []
        for number, (query, right, others) in groups.items():
            for text in right:
                some = [coded[one] for one in (query, text, *others[: self._negatives])]
                names = [name for name, _ in some]
                rows.append({**joined_row([row for _, row in some]), "names": np.array(names), "example": number})
        return rows

    def check_rows(self, rows: Sequence[Row], *, batch: int) -> None:
        """Raise WrongValue where a step has no text that a right one could be told from."""
        if min(batch, len(rows)) < 2 and not self._negatives:
            hint = "raise batch: every other row of a step is a negative, the more the better"
            raise WrongValue("a step of one row without hard negatives has nothing to tell its text from", hint=hint)

    def objective(self, class_weights: Sequence[float] | None = None) -> Objective:
        return Contrast(kind="contrast", temperature=self.temperature, negatives=self._negatives)

    def ready(self, model: Any, folder: Path, labels: Sequence[str] | None, *, max_length: int) -> Embedder:
        return ready_head(model, folder, max_length=max_length, kind=Embedder)

    def score(self, ready: Predictor, examples: Sequence[Any]) -> dict[str, float]:
        """nDCG@10, MRR and recall among the candidates of the split."""
        return scored(self.judge, ready, examples)


class EmbedRankings(Embed):
    """Give a text a vector, near those of the best candidates and far from those of the others."""

    shape: ClassVar[str] = "ranking"
    holds: ClassVar[str] = "queries with candidates"
    also: ClassVar[Mapping[str, str]] = {}
    judge: ClassVar[Judge] = RankingJudge(usable)


class EmbedScores(Task):
    """Give a text a vector whose cosine with another's is how alike they are."""

    shape: ClassVar[str] = "score"
    holds: ClassVar[str] = "scores"
    new_head: ClassVar[bool] = False
    answers: ClassVar[type[Answer]] = Vector
    judge: ClassVar[Judge] = ScoreJudge()
    grouped: ClassVar[bool] = True
    better: ClassVar[str] = "spearman"
    epochs: ClassVar[float] = 4.0

    pooling: Pooling | None = None
    """How the states of tokens become one vector: mean, cls or last; as the model says, or else mean."""

    _scale: tuple[float, float] = PrivateAttr((0.0, 1.0))

    def fitted(self, train: Sequence[ScoredText]) -> Self:
        """The lowest score is cosine 0, the highest 1. Raises OneClass where all scores are equal."""
        scores = numbers_of(train)
        found = self.model_copy()
        found._scale = float(scores.min()), float(np.ptp(scores))
        return found

    def load(self, folder: Path, labels: Sequence[str] | None, *, seed: int) -> Topped:
        return load_pooled(folder, self.pooling, scale=list(self._scale)), ()

    def outline(self, config: Any) -> Topped:
        return outline_pooled(config, self.pooling), ()

    def check(self, examples: Sequence[ScoredText], labels: Sequence[str] | None) -> None:
        """Raise NotSupported where a second text to compare with is missing."""
        check_seconds(examples)
        if not examples[0].second:
            raise NotSupported("task=embed learns from pairs of texts, these are single", hint="use task=regress")

    def rows(
        self,
        examples: Sequence[ScoredText],
        folder: Path,
        labels: Sequence[str] | None,
        *,
        max_length: int,
        warn: Callable[[str], None] = lambda told: None,
    ) -> list[Row]:
        low, span = self._scale
        coded = [input_rows([getattr(e, name) for e in examples], folder, max_length) for name in ("text", "second")]
        both = zip(examples, *coded, strict=True)
        return [{**joined_row([a, b]), "score": (e.score - low) / span} for e, a, b in both]

    def objective(self, class_weights: Sequence[float] | None = None) -> Objective:
        return Cosines(kind="cosines")

    def ready(self, model: Any, folder: Path, labels: Sequence[str] | None, *, max_length: int) -> Embedder:
        return ready_head(model, folder, max_length=max_length, kind=Embedder)

    def score(self, ready: Predictor, examples: Sequence[ScoredText]) -> dict[str, float]:
        """Rank and linear correlation of the cosine."""
        return figures_of(self.judge, ready, examples, ("spearman", "pearson"))


def load_pooled(folder: Path, pooling: Pooling | None, **kept: Any) -> Any:
    """The body of a model, with how it pools in its config; vectors have length 1."""
    from pretune.infer.trusted import read_json
    from pretune.model.folder import load_body

    found = pooling or (pooling_of(folder, read_json(folder / "config.json")) or {}).get("pooling", "mean")
    return load_body(folder, {"pooling": found, "normalize": True, **kept})


def outline_pooled(config: Any, pooling: Pooling | None) -> Any:
    from pretune.model.pooling import outline_body

    return outline_body(config, {"pooling": pooling or "mean", "normalize": True})


def groups_of(examples: Iterable[Any]) -> Iterator[Group]:
    """Each example's query, right texts and negatives; no right text where all candidates are as good."""
    for e in examples:
        yield _of_ranking(e) if isinstance(e, Ranking) else (e.source, tuple(dict.fromkeys(e.targets)), ())


def _of_ranking(e: Ranking) -> Group:
    top = max(e.scores, default=0.0)
    best = tuple(text for text, score in zip(e.candidates, e.scores, strict=True) if score == top)
    others = tuple(text for text, score in zip(e.candidates, e.scores, strict=True) if score < top)
    return e.query, best if others else (), others


def tell_left_out(left_out: int, number: int, warn: Callable[[str], None]) -> None:
    """Of queries without an order. Raises NoTarget where none is left."""
    why = "one candidate, or only such as are as good"
    if left_out == number:
        raise NoTarget(f"all {number:,} queries have {why}", hint="give candidates with different scores")
    if left_out:
        warn(f"{left_out:,} of {number:,} queries are left out: {why}")
