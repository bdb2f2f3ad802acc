"""A query's candidates in order: each is read together with the query and gets a number (a cross-encoder).

Rows are those of a classifier that compares two texts: the query first. A score is the sigmoid of the head's number,
as other programs show it; the order is that of the numbers.

*T rows.*
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pretune.infer.answers import Answer, Ranking
from pretune.infer.candidates import Queried, check_queried, ranking
from pretune.infer.classify import Frame, Given, sigmoid
from pretune.infer.compare import compare_rows
from pretune.infer.engine import Encoder
from pretune.infer.predictor import Advance, Difference, Facts, unheard
from pretune.tokens.encode.tokenizer import load_tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer

QUERIES_AT_ONCE = 8


@dataclass(frozen=True)
class Ranker:
    """A predictor that puts the candidates of a query in order."""

    encoder: Encoder
    tokenizer: Tokenizer
    facts: Facts

    @property
    def gives(self) -> type[Answer]:
        return Ranking

    @property
    def engine(self) -> Encoder:
        return self.encoder

    def rows(self, pairs: Sequence[Given]) -> list[list[int]]:
        """One row per query and candidate, at most `max_length` tokens, frame included."""
        frame = Frame(self.facts.before, self.facts.after, self.facts.between)
        return frame.rows(self.tokenizer, pairs, self.facts.max_length)

    def answer(
        self, inputs: Sequence[Queried], *, max_tokens: int = 256, strict: bool = True, advance: Advance = unheard
    ) -> list[Answer]:
        """The order of each query's candidates. Raises NotSupported for other inputs, NotFinite."""
        check_queried(inputs)
        found: list[Answer] = []
        for start in range(0, len(inputs), QUERIES_AT_ONCE):
            part = inputs[start : start + QUERIES_AT_ONCE]
            pairs = [(one["query"], text) for one in part for text in one["candidates"]]
            scores_T = sigmoid(np.stack(self.encoder.logits(self.rows(pairs))))[:, 0]
            borders = np.cumsum([len(one["candidates"]) for one in part])[:-1]
            parts = zip(part, np.split(scores_T, borders), strict=True)
            found += [ranking(scores, one.get("top")) for one, scores in parts]
            advance(len(part))
        return found

    def compare(
        self, other: Ranker, inputs: Sequence[Any], *, most_written: int = 20, num_tokens: int = 32
    ) -> Difference:
        """Texts alone are rows of one text."""
        each = (
            [one] if isinstance(one, str) else [(one["query"], text) for text in one["candidates"]] for one in inputs
        )
        return compare_rows(self, other, [pair for some in each for pair in some])


def of_facts(encoder: Encoder, folder: Path, facts: Facts) -> Ranker:
    """An engine with the tokenizer of a folder."""
    return Ranker(encoder, load_tokenizer(folder), facts)
