"""Pairs: targets that are their source, and lengths that do not belong together."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from typing import ClassVar

from pydantic import Field

from pretune.text.dataset.doctor.fields import Piece, same_text
from pretune.text.dataset.doctor.findings import Check, Data, Finding, Row, RowCheck, counted


class Echo(RowCheck):
    """Rows whose target only repeats the source, or whose two texts are one."""

    kind: str = "echo"
    shapes: ClassVar[tuple[str, ...]] = ("pair", "score", "label")
    advice: ClassVar[str] = "Leave out what was not translated or not summarised; of two equal texts look why."
    claim: ClassVar[str] = "with a second text that repeats the first"

    def is_wrong(self, row: Row, pieces: Sequence[Piece]) -> bool:
        first, *others = [same_text(text) for _, text in pieces]
        return bool(first) and first in others


class LengthRatio(Check):
    """Pairs whose lengths differ far more than those of the rest: one of the two is cut, or of another row."""

    kind: str = "length-ratio"
    shapes: ClassVar[tuple[str, ...]] = ("pair",)
    advice: ClassVar[str] = "Look whether source and target belong together."
    times: float = Field(default=6, gt=1)
    """Times the usual ratio of lengths, up or down, from which a pair stands out."""
    least: int = Field(default=20, ge=1)
    """Characters of the longer text below which a ratio tells nothing."""

    def find(self, data: Data) -> Iterator[Finding]:
        ratios = [_log_ratio(row) for row in data.rows]
        told = [r for r in ratios if r is not None]
        if len(told) < 20:  # there is no usual ratio
            return
        usual, limit = statistics.median(told), math.log(self.times)
        rows = [row for row, r in zip(data.rows, ratios, strict=True) if r is not None and abs(r - usual) > limit]
        rows = [row for row in rows if max(map(len, (row.example.source, *row.example.targets))) >= self.least]
        if rows:
            usually = f"usually a target has {math.exp(usual):.2f} characters for one of its source"
            yield self.finding(f"{counted(len(rows), 'row')} with lengths far from the rest; {usually}", rows)


def _log_ratio(row: Row) -> float | None:
    """ln(target / source) of the target that is nearest in length; None where a text is empty."""
    source, targets = len(row.example.source), [len(t) for t in row.example.targets if t]
    return min((math.log(t / source) for t in targets), key=abs) if source and targets else None
