"""The judge of orders: where the best candidates of a query stand.

    gains    0 2 1     said: 2, 0, 1 -> gains in that order 1 0 2
    MRR      the first of the best stands third: 1/3
    recall@k the share of the best (all with the highest score) among the first k
    nDCG@10  (1/log2(2) + 2/log2(4)) / (2/log2(2) + 1/log2(3)) = 0.760

A gain is how far a score is above the lowest of its query. Golden values in the tests are scikit-learn's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from pretune.base.errors import NoTarget
from pretune.base.json import Json
from pretune.infer.answers import Ranking
from pretune.infer.candidates import ranking
from pretune.infer.predictor import Facts
from pretune.task.judge.bm25 import Bm25
from pretune.task.judge.judge import Asked, Baseline, Judge, Marks
from pretune.text.dataset.example import Ranking as Example

TOP = 100
"""Candidates that a system gives; what stands behind them counts as not found."""
NDCG_AT, RECALL_AT = 10, (1, 10)


@dataclass(frozen=True)
class RankingJudge(Judge):
    """nDCG@10, MRR, recall@1 and @10; next to the order of the data and to BM25.

    Args:
        lists: the queries with their candidates, of examples; those without an order are left out.
        told: what the candidates are, for the report.
    """

    lists: Callable[[Sequence[Any]], Sequence[Example]]
    told: str = ""
    main: ClassVar[str] = "ndcg_10"
    order: ClassVar[str] = "mrr"
    subject: ClassVar[str] = "Candidates in order"
    columns: ClassVar[tuple[str, ...]] = ("query", "best", "said", "place", "baseline_place", "mrr")

    def asked(
        self, examples: Sequence[Any], train: Sequence[Any], labels: Sequence[str] | None
    ) -> tuple[list[Asked], list[str]]:
        found = self.lists(examples)
        if not found:
            hint = "a query needs two candidates that are not as good as each other"
            raise NoTarget("no query of this split has an order", hint=hint)
        asked = [Asked(_input(e), e.scores, e.query, e.origin) for e in found]
        left_out = len(examples) - len(found)
        notes = [f"{left_out} queries have one candidate, or only such as are as good, and are left out"]
        return asked, [*(notes if left_out else []), *([self.told] if self.told else [])]

    def strange(self, examples: Sequence[Any], labels: Sequence[str]) -> list[str]:
        return []

    def marks(self, answer: Ranking, asked: Asked) -> Marks:
        return ranking_marks(answer.order, asked.wanted)

    def figures(self, answers: Sequence[Ranking], asked: Sequence[Asked]) -> dict[str, float]:
        return {}

    def tell(self, answers: Sequence[Ranking], asked: Sequence[Asked], facts: Facts) -> tuple[Json, list[str]]:
        """Of lists whose scores are all the same: they stay in the order of the data."""
        flat = sum(len(set(answer.scores)) == 1 for answer in answers)
        told = f"the candidates of {flat} queries get one and the same score, and stay in the order of the data"
        return {}, [told] if flat else []

    def baselines(self, asked: Sequence[Asked], train: Sequence[Any], *, seed: int) -> list[Baseline]:
        first = [ranking(-np.arange(len(one.wanted), dtype=np.float64), TOP) for one in asked]
        return [
            Baseline("as_given", "the order of the data", first),
            Baseline("bm25", "BM25 over all candidates of the split", by_bm25(asked)),
        ]

    def row(self, asked: Asked, answer: Ranking, marks: Marks, baselines: Mapping[str, Any]) -> Json:
        texts, best = asked.input["candidates"], int(np.argmax(asked.wanted))
        return {
            "origin": asked.origin,
            "group": asked.group,
            "query": asked.text,
            "best": texts[best],
            "said": texts[answer.order[0]],
            "place": place_of_best(answer.order, asked.wanted),
            "baseline_place": place_of_best(baselines["bm25"].order, asked.wanted),
            **{name: round(value, 6) for name, value in marks.items()},
        }


def _input(example: Example) -> Json:
    return {"query": example.query, "candidates": example.candidates, "top": TOP}


def scored(judge: Judge, ready: Any, examples: Sequence[Any]) -> dict[str, float]:
    """The mean of each mark of a model's answers."""
    asked, _ = judge.asked(examples, (), None)
    answers = ready.answer([one.input for one in asked])
    marks = [judge.marks(answer, one) for answer, one in zip(answers, asked, strict=True)]
    return {name: sum(m[name] for m in marks) / len(marks) for name in marks[0]}


def by_bm25(asked: Sequence[Asked]) -> list[Ranking]:
    """Every query's candidates by BM25."""
    texts = {t: k for k, t in enumerate(dict.fromkeys(t for one in asked for t in one.input["candidates"]))}
    index = Bm25.of([*texts])
    numbers = ([texts[t] for t in one.input["candidates"]] for one in asked)
    return [ranking(index.scores(one.text)[some], TOP) for one, some in zip(asked, numbers, strict=True)]


def place_of_best(order: Sequence[int], scores: Sequence[float]) -> int | None:
    """The place, from 1, of the first candidate with the highest score; None where it was not given."""
    top = max(scores)
    return next((place for place, k in enumerate(order, 1) if scores[k] == top), None)


def ranking_marks(order: Sequence[int], scores: Sequence[float]) -> dict[str, float]:
    """ndcg_10, mrr, recall_1 and recall_10 of one query.

    Args:
        order: numbers of candidates, the best first; scores: of each candidate in the data.
    """
    wanted = np.asarray(scores, dtype=np.float64)
    gains, best = wanted - wanted.min(), {int(k) for k in np.flatnonzero(wanted == wanted.max())}
    place = place_of_best(order, scores)
    ideal = _discounted(np.sort(gains)[::-1])
    recalls = {f"recall_{k}": len(best & {*order[:k]}) / len(best) for k in RECALL_AT}
    ndcg = _discounted(gains[list(order)]) / ideal if ideal else 0.0
    return {f"ndcg_{NDCG_AT}": ndcg, "mrr": 1 / place if place else 0.0, **recalls}


def _discounted(gains: np.ndarray) -> float:
    first = gains[:NDCG_AT]
    return float((first / np.log2(np.arange(2, len(first) + 2))).sum())
