"""What finds passages: words (BM25), vectors, both fused, and a model that reads question and passage together.

    question ─┬─ BM25 ──── the first hundred ─┐
              └─ vectors ─ the first hundred ─┴─ fused ─ the first twenty ─ ranker ─ found

Fused by places alone (reciprocal ranks), since scores of different kinds do not add. How sure a hit is, is another
question than which is first: see `coverage`.

*N passages, D width.*

Source: Cormack, Clarke & Büttcher 2009 (reciprocal rank fusion, k = 60).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pretune.apps.support.passages import sentences
from pretune.base.extras import need
from pretune.infer.answers import Ranking
from pretune.infer.embed import Embedder
from pretune.infer.predictor import Predictor
from pretune.task.judge.bm25 import Bm25, terms_of
from pretune.text.clean.quality.words import STOP_WORDS

Vectors = NDArray[np.float32]
DEEP = 100
"""So many of each list are fused."""
RANKED = 20
"""So many are read by the ranker."""
FUSED = 60.0
EXACT = 200_000
"""Vectors up to which every one is compared; beyond, neighbours are found by a graph (usearch, extra `apps`)."""
ASKING = (
    "what which who whom whose when where why how do does did can could would should may might must will am "
    "my me your our us we if there so please need want get 吗 呢 么 什 哪 怎 样 请 问 几 多 少 谁 能 可 何 吧"
)
ASKING_ZH = re.compile(
    "多长时间|多久|多少|多大|怎么样|怎么办|怎么|怎样|如何|什么时候|为什么|什么|哪里|哪儿|哪个|哪些|几天|"
    "能不能|可不可以|可以|是否|有没有|请问|需要|应该"
)
"""Words that a question has because it is a question, next to those that every text has."""


@cache
def empty_words() -> frozenset[str]:
    """Words that say nothing of what is asked, in English and Chinese."""
    return frozenset(map(stem, f"{ASKING} {STOP_WORDS['en']} {STOP_WORDS['zh']}".split()))


@dataclass(frozen=True)
class Hit:
    """A passage that was found.

    Args:
        number: which; score: what it was put in order by: the ranker's, else of the fused places.
        coverage: the share of what the question says that the passage says too, and how much of it in one sentence: the
            mean of both, 0 to 1.
        cosine: of the vectors; None without.
        ranked: the ranker's number, 0 to 1; None without.
    """

    number: int
    score: float
    coverage: float
    cosine: float | None = None
    ranked: float | None = None

    @property
    def confidence(self) -> float:
        """How sure it is that this answers, 0 to 1: the ranker's number, else the mean of coverage and cosine."""
        if self.ranked is not None:
            return self.ranked
        return self.coverage if self.cosine is None else (self.coverage + max(self.cosine, 0.0)) / 2


@dataclass(frozen=True)
class Index:
    """Texts that can be found; `vectors_ND` have length 1, `graph` is of the first of more than EXACT."""

    texts: Sequence[str]
    bm25: Bm25
    vectors_ND: Vectors | None = None
    graph: Any = None

    @classmethod
    def of(cls, texts: Sequence[str], vectors_ND: Vectors | None = None, *, exact: int = EXACT) -> Index:
        graph = None if vectors_ND is None or len(vectors_ND) <= exact else graph_of(vectors_ND)
        return cls(texts, Bm25.of(texts, stems_of), vectors_ND, graph)

    def plus(self, texts: Sequence[str], vectors_ND: Vectors | None = None) -> Index:
        """With a few more texts, which costs what they are, not what all are."""
        both = [some for some in (self.vectors_ND, vectors_ND) if some is not None]
        return Index([*self.texts, *texts], self.bm25.plus(texts), np.concatenate(both) if both else None, self.graph)

    def by_words(self, question: str, top: int = DEEP) -> list[int]:
        """The passages that BM25 puts first, by the words that say what is asked; those without any are left out."""
        scores = self.bm25.scores_of(telling(question))
        return [k for k in first(scores, top) if scores[k] > 0]

    def by_vectors(self, vector_D: Vectors, top: int = DEEP) -> list[int]:
        """The passages with the largest cosines."""
        assert self.vectors_ND is not None, "who searches by vectors has them"
        if self.graph is None:
            return first(self.vectors_ND @ vector_D, top)
        # Those that came since the graph was made are compared one by one.
        near = [int(k) for k in self.graph.search(vector_D, top).keys]
        numbers = np.array([*near, *range(len(self.graph), len(self.vectors_ND))], dtype=np.int64)
        return [int(numbers[k]) for k in first(self.vectors_ND[numbers] @ vector_D, top)]

    def search(
        self, question: str, embed: Embedder | None = None, rank: Predictor | None = None, *, top: int = RANKED
    ) -> list[Hit]:
        """The passages that answer, the best first."""
        vector_D = None if self.vectors_ND is None or embed is None else units(embed.vectors([question]))[0]
        lists = [self.by_words(question)] + ([] if vector_D is None else [self.by_vectors(vector_D)])
        order, scores = fused(lists)
        order = order[: max(top, RANKED) if rank else top]
        covers = self.covering(question)
        hits = [self._hit(k, scores[k], near(self.texts[k], covers), vector_D) for k in order]
        return reranked(question, hits, [self.texts[h.number] for h in hits], rank)[:top] if rank and hits else hits

    def _hit(self, number: int, score: float, coverage: float, vector_D: Vectors | None) -> Hit:
        cosine = None
        if vector_D is not None:
            assert self.vectors_ND is not None, "there are vectors"
            cosine = float(self.vectors_ND[number] @ vector_D)
        return Hit(number, score, coverage, cosine)

    def coverage(self, question: str, text: str) -> float:
        """The share of what a question says, weighed by how rare its words are, that a text says too; 0 to 1."""
        return self.covering(question)(text)

    def covering(self, question: str) -> Callable[[str], float]:
        """`coverage` of one question, for several texts."""
        asked = {term: self.bm25.rarity(term) for term in telling(question)}
        whole = sum(asked.values())
        return lambda text: sum(asked[term] for term in asked.keys() & {*stems_of(text)}) / whole if whole else 0.0

    def likeness(self, question: str, other: str) -> float:
        """How much two questions say the same, 0 to 1: what both say over what each says (Dice, by rarity)."""
        a, b = {*telling(question)}, {*telling(other)}
        whole = sum(map(self.bm25.rarity, a)) + sum(map(self.bm25.rarity, b))
        return 2 * sum(map(self.bm25.rarity, a & b)) / whole if whole else float(question.strip() == other.strip())


def near(text: str, covers: Callable[[str], float]) -> float:
    """How much a text covers, half of it by its best sentence: words that are far from each other say less together."""
    best = max((covers(text[a:b]) for a, b in sentences(text, 0, len(text))), default=0.0)
    return (covers(text) + best) / 2


def telling(question: str) -> list[str]:
    """The terms of a question that say what it asks, each once; all of them, if it has no others."""
    empty = empty_words()
    words = stems_of(ASKING_ZH.sub(" ", question))
    found = [word for word in words if word not in empty and not (len(word) == 2 and empty >= {*word})]
    return [*dict.fromkeys(found or stems_of(question))]


def stems_of(text: str) -> list[str]:
    """Terms, English plurals and third persons without their s."""
    return [stem(term) for term in terms_of(text)]


def stem(word: str) -> str:
    """A word without its plural's ending: parties, lamps, weighs; not glass, status.

    Source: Harman 1991, How effective is suffixing? (the S stemmer).
    """
    if len(word) < 4 or not word.endswith("s") or word.endswith(("us", "ss")):
        return word
    if word.endswith("ies"):
        return word if word.endswith(("eies", "aies")) else word[:-3] + "y"
    if word.endswith("es"):
        return word if word.endswith(("aes", "ees", "oes")) else word[:-1]
    return word[:-1]


def first(scores: NDArray[Any], top: int) -> list[int]:
    """Numbers of the largest scores, the largest first; equal ones in their order."""
    if len(scores) > 4 * top:
        some = np.flatnonzero(scores >= np.partition(scores, -top)[-top])
        return [int(k) for k in some[np.argsort(-scores[some], kind="stable")[:top]]]
    return [int(k) for k in np.argsort(-scores, kind="stable")[:top]]


def fused(lists: Sequence[Sequence[int]]) -> tuple[list[int], dict[int, float]]:
    """One order of several, and each one's sum of 1 / (60 + place)."""
    scores: dict[int, float] = {}
    for one in lists:
        for place, number in enumerate(one, 1):
            scores[number] = scores.get(number, 0.0) + 1 / (FUSED + place)
    return sorted(scores, key=lambda number: -scores[number]), scores


def reranked(question: str, hits: Sequence[Hit], texts: Sequence[str], rank: Predictor) -> list[Hit]:
    """Hits in the order of a model that reads each with the question."""
    (answer,) = rank.answer([{"query": question, "candidates": list(texts)}])
    assert isinstance(answer, Ranking), "a ranker gives an order"
    return [
        Hit(hits[k].number, score, hits[k].coverage, hits[k].cosine, score)
        for k, score in zip(answer.order, answer.scores, strict=True)
    ]


def units(vectors_ND: NDArray[np.float64]) -> Vectors:
    """Vectors of length 1, so that a product is a cosine."""
    lengths = np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    return np.asarray(vectors_ND / np.maximum(lengths, 1e-12), dtype=np.float32)


def graph_of(vectors_ND: Vectors) -> Any:
    """Neighbours by a graph. Raises MissingExtra."""
    need(["apps"])
    from usearch.index import Index as Graph

    graph = Graph(ndim=vectors_ND.shape[1], metric="ip", dtype="f32")
    graph.add(np.arange(len(vectors_ND)), vectors_ND, threads=1)
    return graph


def write_vectors(folder: Path, vectors_ND: Vectors | None) -> None:
    """`vectors.npy`, where there are any."""
    if vectors_ND is not None:
        np.save(folder / "vectors.npy", vectors_ND, allow_pickle=False)


def read_vectors(folder: Path) -> Vectors | None:
    """What `write_vectors` wrote; mapped, not read."""
    path = folder / "vectors.npy"
    return np.load(path, mmap_mode="r", allow_pickle=False) if path.is_file() else None
