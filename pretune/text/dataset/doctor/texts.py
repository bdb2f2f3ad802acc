"""Texts by themselves: empty, far too long, garbled, with markup, without words, in another language than the rest."""

from __future__ import annotations

import re
import statistics
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field

from pretune.text.clean.mojibake import lost_characters, repaired
from pretune.text.dataset.doctor.fields import Piece
from pretune.text.dataset.doctor.findings import Check, Data, Finding, Level, Row, RowCheck, counted
from pretune.text.dataset.example import Message


class Empty(Check):
    """Rows that lack a text: there is nothing to read, or nothing to learn from it."""

    kind: str = "empty"
    level: ClassVar[Level] = "error"
    advice: ClassVar[str] = "Leave them out, or look why the text is missing."

    def find(self, data: Data) -> Iterator[Finding]:
        second = data.shape in ("label", "score") and any(row.example.second for row in data.rows)
        rows = [row for row in data.rows if not all(text.strip() for text in _needed(data, row, second))]
        if rows:
            yield self.finding(f"{counted(len(rows), 'row')} with an empty text", rows)


def _needed(data: Data, row: Row, second: bool) -> Sequence[str]:
    return [*NEEDED[data.shape](row.example), *([row.example.second] if second else [])]


def _asked(messages: Sequence[Message]) -> list[str]:
    return [m.content for m in messages if m.role in ("user", "system")] or [""]


NEEDED: Mapping[str, Callable[[Any], Sequence[str]]] = {
    "label": lambda e: [e.text],
    "labels": lambda e: [e.text],
    "score": lambda e: [e.text],
    "tags": lambda e: [" ".join(e.tokens)],
    "span": lambda e: [e.question, e.context],
    "pair": lambda e: [e.source, *(e.targets or [""])],
    "dialogue": lambda e: _asked(e.messages),  # replies have checks of their own
    "preference": lambda e: _asked(e.messages),
    "ranking": lambda e: [e.query, *(e.candidates or [""])],
}
"""The texts without which a row is empty."""


class OverLong(Check):
    """Texts many times as long as the rest: often two rows that a lost quote has joined."""

    kind: str = "over-long"
    advice: ClassVar[str] = "Look at them: rows joined by a lost quotation mark, whole pages; cut or leave out."
    times: float = Field(default=20, gt=1)
    """Times the median length from which a row is over-long."""
    characters: int = Field(default=2000, ge=1)
    """And more characters than this."""

    def find(self, data: Data) -> Iterator[Finding]:
        sizes = [sum(len(text) for _, text in pieces) for pieces in data.pieces]
        limit = max(self.characters, self.times * statistics.median(sizes)) if sizes else 0
        rows = [row for row, size in zip(data.rows, sizes, strict=True) if size > limit]
        if rows:
            text = f"{counted(len(rows), 'row')} with more than {limit:,.0f} characters; half have at most"
            yield self.finding(f"{text} {statistics.median(sizes):,.0f}", rows)


class Garbled(RowCheck):
    """Texts read in the wrong encoding, or with characters that are lost (U+FFFD)."""

    kind: str = "mojibake"
    advice: ClassVar[str] = "Read the file in its right encoding; what shows as U+FFFD is lost."
    claim: ClassVar[str] = "with garbled characters (mojibake or U+FFFD)"

    def is_wrong(self, row: Row, pieces: Sequence[Piece]) -> bool:
        return any(lost_characters(text) or repaired(text) is not text for _, text in pieces if not text.isascii())


CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f]")


class ControlCharacters(RowCheck):
    """Texts with control characters other than tab and line ends."""

    kind: str = "controls"
    advice: ClassVar[str] = "Take them out; nobody types them to a served model."
    claim: ClassVar[str] = "with control characters"

    def is_wrong(self, row: Row, pieces: Sequence[Piece]) -> bool:
        return any(CONTROL.search(text) for _, text in pieces)


# Known names only: `a < b and c > d` and <unk> are text.
MARKUP = re.compile(
    r"</?(?:a|b|i|p|br|hr|em|div|span|img|font|strong|table|t[drh]|[uo]l|li|h[1-6])(?:\s[^<>]*)?/?>|&(?:nbsp|amp|quot|[lg]t|#\d+);",
    re.IGNORECASE,
)


class Markup(RowCheck):
    """Texts with remains of HTML."""

    kind: str = "html"
    level: ClassVar[Level] = "hint"
    advice: ClassVar[str] = "Take it out, unless what is served holds it too."
    claim: ClassVar[str] = "with remains of HTML"

    def is_wrong(self, row: Row, pieces: Sequence[Piece]) -> bool:
        return any(MARKUP.search(text) for _, text in pieces)


WORDS = ("Lu", "Ll", "Lt", "Lm", "Lo", "So")
"""Unicode categories of letters, and of emoji."""
URL = re.compile(r"(?:https?://|www\.)\S+", re.IGNORECASE)


class NoWords(RowCheck):
    """Texts of figures, marks or links alone; an emoji counts as a word."""

    kind: str = "no-words"
    level: ClassVar[Level] = "hint"
    shapes: ClassVar[tuple[str, ...]] = ("label", "labels", "score")
    advice: ClassVar[str] = "Look whether anybody could tell the answer from them."
    claim: ClassVar[str] = "of figures, marks or links alone"

    def is_wrong(self, row: Row, pieces: Sequence[Piece]) -> bool:
        text = URL.sub("", pieces[0][1])
        return bool(pieces[0][1].strip()) and not any(unicodedata.category(c) in WORDS for c in text)
