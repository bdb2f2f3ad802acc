"""Fill in the middle: a causal model that sees what comes before and behind a gap, and writes what belongs there.

    text     def add(a, b): return a + b                       cut at two characters
    PSM      <|fim_prefix|>def add(<|fim_suffix|>return a + b<|fim_middle|>a, b): <end>
    SPM      <|fim_prefix|><|fim_suffix|>return a + b<|fim_middle|>def add(a, b): <end>

Cuts fall at characters, not at tokens, because a user's cursor does: each of the three parts is tokenised by itself, as
it will be when the model is asked. All tokens are targets; the end token behind the middle tells when the gap is full.

A document's piece in a row that is not rearranged stays as it is: with 1 - rate, and where its tokens are not those
that its text is cut into (a character that the row's border has cut). Three marks and two more borders need a little
room; it is taken from the row's padding, or else from the end of its last piece, before that one is rearranged.

Source: Bavarian et al. 2022, arXiv:2207.14255 (context-level, joint PSM and SPM, rate 0.5 to 0.9 at no cost to the
left-to-right loss); the names of the marks are StarCoder's and Qwen's.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pretune.objective.pretraining.causal import Causal
from pretune.objective.pretraining.pieces import pieces_of
from pretune.tokens.encode.tokenizer import encode_text, encode_texts
from pretune.tokens.rows import Row, Vocabulary

PREFIX, MIDDLE, SUFFIX = "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>"
MARKS = (PREFIX, MIDDLE, SUFFIX)
SLACK = 8
"""Tokens more than before that three parts of a text may have."""
SHORTEST = 16
"""Tokens of a piece that is worth cutting."""


class Infill(Causal):
    """Predict the next token, in documents of which some are rearranged: before, behind, between."""

    tells_bits: ClassVar[str | None] = None
    controls: ClassVar[tuple[str, ...]] = MARKS

    rate: float = Field(0.5, gt=0, le=1)
    """Share of the documents that are rearranged."""
    spm: float = Field(0.5, ge=0, le=1)
    """Share of the rearranged in which what is behind the gap comes first (SPM); the rest is PSM."""

    def blank(self, length: int, vocabulary: Vocabulary, rng: np.random.Generator) -> Row:
        return Causal(kind="causal").blank(length, vocabulary, rng)  # a row of one token is no text

    def prepare(self, row: Row, vocabulary: Vocabulary, rng: np.random.Generator) -> Row:
        """Row of `ids` and `segments` (L + 1 each) -> the same with rearranged documents."""
        ids, pieces = np.asarray(row["ids"]), pieces_of(row)
        room, done = len(ids), []
        for k, piece in enumerate(pieces):
            others = sum(len(other) for other in pieces[k + 1 : -1])  # the last one takes what is left
            done.append(self._rearranged(piece, room - others, vocabulary, rng)[:room])
            room -= len(done[-1])
        filled = np.concatenate([*done, np.zeros(room, ids.dtype)])
        numbers = np.repeat([*range(len(done)), -1], [*map(len, done), room])
        return super().prepare({**row, "ids": filled, "segments": numbers}, vocabulary, rng)

    def _rearranged(
        self, ids: NDArray[np.int64], room: int, vocabulary: Vocabulary, rng: np.random.Generator
    ) -> NDArray[np.int64]:
        """A piece of a document in at most so many tokens; as it is where it is not drawn, or cannot be cut."""
        is_drawn, (first, second), is_spm = rng.random() < self.rate, np.sort(rng.random(2)), rng.random() < self.spm
        if not is_drawn or min(len(ids), room) < SHORTEST:
            return ids
        kept = ids if len(ids) + len(MARKS) + SLACK <= room else ids[: room - len(MARKS) - SLACK]
        ends = kept[-1] in vocabulary.specials
        kept, end = (kept[:-1], kept[-1:]) if ends else (kept, kept[:0])
        text = vocabulary.tokenizer.decode(kept.tolist(), skip_special_tokens=False)
        if encode_text(vocabulary.tokenizer, text) != kept.tolist():
            return ids
        a, b = (int(part * (len(text) + 1)) for part in (first, second))
        prefix, middle, suffix = encode_texts(vocabulary.tokenizer, [text[:a], text[a:b], text[b:]])
        pre, mid, suf = ([vocabulary.controls[mark]] for mark in MARKS)
        order = (pre, suf, suffix, mid, prefix, middle) if is_spm else (pre, prefix, suf, suffix, mid, middle)
        found = np.concatenate([np.asarray(part, ids.dtype) for part in (*order, end)])
        return found if len(found) <= room else ids
