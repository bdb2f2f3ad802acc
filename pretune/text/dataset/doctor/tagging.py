"""Tags: one for each token, in IOB2.

B-PER I-PER O B-LOC   right
O I-PER               an entity that begins inside
B-PER I-LOC           an entity that changes its kind
PER, B-, X-PER        no tag of IOB2
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar

from pretune.text.dataset.doctor.fields import Piece
from pretune.text.dataset.doctor.findings import Level, Row, RowCheck

TAG = re.compile(r"O|[BI]-\S+")


class Unequal(RowCheck):
    """Rows with more tags than tokens, or fewer."""

    kind: str = "tags-unequal"
    level: ClassVar[Level] = "error"
    shapes: ClassVar[tuple[str, ...]] = ("tags",)
    advice: ClassVar[str] = "Look for a token that holds a blank, or a line that lost its tag."
    claim: ClassVar[str] = "with another number of tags than of tokens"

    def is_wrong(self, row: Row, pieces: Sequence[Piece]) -> bool:
        return len(row.example.tokens) != len(row.example.tags)


class Unparsable(RowCheck):
    """Tags that are neither O nor B- or I- and a kind."""

    kind: str = "tags-unparsable"
    level: ClassVar[Level] = "error"
    shapes: ClassVar[tuple[str, ...]] = ("tags",)
    advice: ClassVar[str] = "Write O, B-KIND or I-KIND."
    claim: ClassVar[str] = "with a tag that is neither O nor B- or I- and a kind"

    def is_wrong(self, row: Row, pieces: Sequence[Piece]) -> bool:
        return not all(map(TAG.fullmatch, row.example.tags))


class Inside(RowCheck):
    """Entities that begin with I-, or go on as another kind."""

    kind: str = "tags-inside"
    shapes: ClassVar[tuple[str, ...]] = ("tags",)
    advice: ClassVar[str] = "Begin each entity with B-; if the file is in IOB1 or BIOES, say so when it is read."
    claim: ClassVar[str] = "with an I- that continues no entity of its kind"

    def is_wrong(self, row: Row, pieces: Sequence[Piece]) -> bool:
        tags = row.example.tags
        return any(t[:2] == "I-" and before[1:] != t[1:] for before, t in zip(("O", *tags), tags, strict=False))


class EmptyTokens(RowCheck):
    """Tokens without a character that shows, in rows that have others."""

    kind: str = "empty-tokens"
    shapes: ClassVar[tuple[str, ...]] = ("tags",)
    advice: ClassVar[str] = "Leave out the token with its tag; a tokenizer makes nothing of it."
    claim: ClassVar[str] = "with an empty token"

    def is_wrong(self, row: Row, pieces: Sequence[Piece]) -> bool:
        return any(not token.strip() for token in row.example.tokens)
