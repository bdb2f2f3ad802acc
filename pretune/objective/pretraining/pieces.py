"""The documents of a row as texts that are read and texts that are written: what objectives of encoder-decoders share.

    row      [a a a a a E b b b b E]                two documents; E ends one
    read     [a a _ a E | b _ b E]                  an encoder reads what is left of each, and the end token, as T5's
    written  [_ a a _ E | _ b b _ E]                a decoder writes the rest: here as objective=span says it

Documents do not see each other, neither in a stack nor across, and what they begin with begins again in each; so a
packed row is worth what its documents are worth alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from pretune.objective.objective import Objective
from pretune.objective.written import Written
from pretune.tokens.rows import IGNORE, Row, Vocabulary
from pretune.tokens.store.packing import RowForm

Ids = NDArray[np.int64]
SHORTEST = 2
"""Tokens of a document that can be parted in two."""


def pieces_of(row: Row) -> list[Ids]:
    """The tokens of each document of a row, as far as the row holds it; padding left out."""
    segments, ids = np.asarray(row["segments"]), np.asarray(row["ids"])
    borders = [0, *(np.flatnonzero(np.diff(segments)) + 1).tolist(), len(segments)]
    return [ids[a:b] for a, b in pairwise(borders) if a < b and segments[a] >= 0]


class Rewritten(Written):
    """Of each document something is read and something is written."""

    needs: ClassVar[tuple[str, ...]] = ("pad",)
    one_shape: ClassVar[bool] = False

    mode: str | None = None
    """A control token before what is read, which tells how it was made (UL2); none by itself."""

    @property
    def controls(self) -> tuple[str, ...]:  # type: ignore[override]  # it depends on a setting
        return (self.mode,) if self.mode else ()

    def form(self, length: int, vocabulary: Vocabulary) -> RowForm:
        return RowForm(length, causal=False)

    def blank(self, length: int, vocabulary: Vocabulary, rng: np.random.Generator) -> Row:
        return Objective.blank(self, length, vocabulary, rng)

    def part(self, text: Ids, is_whole: bool, vocabulary: Vocabulary, rng: np.random.Generator) -> tuple[Ids, Ids]:
        """What is read of a text of two tokens or more, without the tokens around it, and all that is written.

        Args:
            is_whole: whether the text goes up to the end of its document.
        """
        raise AssertionError("an objective that rewrites has part()")

    def prepare(self, row: Row, vocabulary: Vocabulary, rng: np.random.Generator) -> Row:
        """Row of `ids` and `segments` -> `ids` and `segments` of what is read, `labels` and `written` of what is
        written. A piece of one token is left out; a row of such pieces alone is one place of padding."""
        assert vocabulary.end is not None, "the tokenizer has no token that ends a text"
        begin = [] if self.mode is None else [vocabulary.controls[self.mode]]
        read: list[Ids] = []
        written: list[Ids] = []
        for piece in pieces_of(row):
            is_whole = int(piece[-1]) == vocabulary.end
            text = piece[:-1] if is_whole else piece
            if len(text) >= SHORTEST:
                left, target = self.part(text, is_whole, vocabulary, rng)
                read.append(np.concatenate([begin, left, [vocabulary.end]]).astype(np.int64))
                written.append(target)
        (ids, segments), (labels, of) = _joined(read, vocabulary.pad), _joined(written, IGNORE)
        return {"ids": ids, "segments": segments, "labels": labels, "written": of}


def _joined(texts: Sequence[Ids], filler: int) -> tuple[Ids, Ids]:
    """Texts one after the other, and the number of the text that each token is of; one place of padding for none."""
    if not texts:
        return np.array([filler]), np.array([-1])
    return np.concatenate(texts), np.repeat(np.arange(len(texts)), [len(text) for text in texts])
