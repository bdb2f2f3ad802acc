"""Vectors of texts, and what follows from their cosines.

    a text                       Vector
    two that are compared        Score: their cosine, in the unit of the scores that were learnt, if any were
    a query and candidates       Ranking by cosine

Every text is read by itself, framed as a classifier's; a text that is given several times is read once.

*N texts, D width.*
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from pretune.base.errors import NotSupported
from pretune.infer.answers import Answer, Score, Vector
from pretune.infer.candidates import Queried, is_queried, ranking
from pretune.infer.classify import TEXTS_AT_ONCE, Frame, finite
from pretune.infer.compare import compare_vectors
from pretune.infer.engine import Encoder
from pretune.infer.predictor import Advance, Difference, Facts, unheard
from pretune.tokens.encode.tokenizer import load_tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Given: TypeAlias = str | tuple[str, str] | Queried


@dataclass(frozen=True)
class Embedder:
    """A predictor that gives a text a vector, two texts a score, candidates an order."""

    encoder: Encoder
    tokenizer: Tokenizer
    facts: Facts

    @property
    def gives(self) -> type[Answer]:
        return Vector

    @property
    def engine(self) -> Encoder:
        return self.encoder

    def rows(self, texts: Sequence[str]) -> list[list[int]]:
        """One row per text, at most `max_length` tokens, frame included."""
        return Frame(self.facts.before, self.facts.after).rows(self.tokenizer, texts, self.facts.max_length)

    def vectors(self, texts: Sequence[str]) -> np.ndarray:
        """float64 [N, D], as the model pools them. Raises NotFinite."""
        parts = [texts[i : i + TEXTS_AT_ONCE] for i in range(0, len(texts), TEXTS_AT_ONCE)]
        return finite(np.concatenate([np.stack(self.encoder.logits(self.rows(part))) for part in parts]))

    def answer(
        self, inputs: Sequence[Given], *, max_tokens: int = 256, strict: bool = True, advance: Advance = unheard
    ) -> list[Answer]:
        """An answer to each input; a text that is too long loses its end. Raises NotSupported for other inputs."""
        texts = {text: number for number, text in enumerate(dict.fromkeys(t for one in inputs for t in texts_in(one)))}
        if not texts:
            return []
        vectors_ND = self.vectors([*texts])
        found: list[Answer] = []
        for one in inputs:
            found.append(self._answer(one, vectors_ND[[texts[text] for text in texts_in(one)]]))
            advance(1)
        return found

    def _answer(self, one: Given, vectors_ND: np.ndarray) -> Answer:
        if isinstance(one, str):
            return Vector(tuple(vectors_ND[0].tolist()))
        lengths = np.linalg.norm(vectors_ND, axis=1, keepdims=True)
        units_ND = vectors_ND / np.maximum(lengths, 1e-12)
        cosines = units_ND[1:] @ units_ND[0]
        if isinstance(one, tuple):
            low, span = self.facts.more.get("scale") or (0.0, 1.0)
            return Score(low + span * float(cosines[0]))
        return ranking(cosines, one.get("top"))

    def compare(
        self, other: Embedder, inputs: Sequence[Given], *, most_written: int = 20, num_tokens: int = 32
    ) -> Difference:
        return compare_vectors(self, other, list(dict.fromkeys(text for one in inputs for text in texts_in(one))))


def texts_in(one: Given) -> Iterator[str]:
    """The texts of an input, the query first. Raises NotSupported for an input of another kind."""
    if isinstance(one, str):
        yield one
    elif isinstance(one, tuple) and len(one) == 2:
        yield from one
    elif is_queried(one):
        yield one["query"]
        yield from one["candidates"]
    else:
        hint = "give texts, pairs of texts, or queries with their candidates"
        raise NotSupported("a model that gives vectors does not read this", hint=hint)


def of_facts(encoder: Encoder, folder: Path, facts: Facts) -> Embedder:
    """An engine with the tokenizer of a folder."""
    return Embedder(encoder, load_tokenizer(folder), facts)
