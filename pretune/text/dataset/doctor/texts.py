"""The sizes of texts: empty ones, far too long ones, pairs whose lengths do not belong together."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field

from pretune.text.dataset.doctor.findings import Check, Data, DataRow, Finding, Level, counted
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


def _needed(data: Data, row: DataRow, second: bool) -> Sequence[str]:
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


class LengthRatio(Check):
    """Pairs whose lengths differ far more than those of the rest: one of the two is cut, or of another row."""

    kind: str = "length-ratio"
    shapes: ClassVar[tuple[str, ...]] = ("pair",)
    advice: ClassVar[str] = "Look whether source and target belong together."
    times: float = Field(default=6, gt=1)
    """Times the usual ratio of lengths, up or down, from which a pair stands out."""
    least: int = Field(default=20, ge=1)
    """Characters of the longer text below which a ratio means nothing."""

    def find(self, data: Data) -> Iterator[Finding]:
        ratios = [_log_ratio(row) for row in data.rows]
        known = [r for r in ratios if r is not None]
        if len(known) < 20:  # there is no usual ratio
            return
        usual, limit = statistics.median(known), math.log(self.times)
        rows = [row for row, r in zip(data.rows, ratios, strict=True) if r is not None and abs(r - usual) > limit]
        rows = [row for row in rows if max(map(len, (row.example.source, *row.example.targets))) >= self.least]
        if rows:
            usually = f"usually a target has {math.exp(usual):.2f} characters for one of its source"
            yield self.finding(f"{counted(len(rows), 'row')} with lengths far from the rest; {usually}", rows)


def _log_ratio(row: DataRow) -> float | None:
    """ln(target / source) of the target that is nearest in length; None where a text is empty."""
    source, targets = len(row.example.source), [len(t) for t in row.example.targets if t]
    return min((math.log(t / source) for t in targets), key=abs) if source and targets else None
