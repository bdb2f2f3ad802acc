"""Two rows that say the same and are answered differently: a model can learn at most one of them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import Any, ClassVar

from pydantic import Field

from pretune.text.dataset.doctor.fields import same_text, turns
from pretune.text.dataset.doctor.findings import Check, Data, DataRow, Finding, counted

ANSWERS: dict[str, Callable[[Any], Hashable]] = {
    "label": lambda e: same_text(e.label),  # label-spelling reports one that is only written differently
    "labels": lambda e: frozenset(e.labels),
    "score": lambda e: e.score,
    "tags": lambda e: e.tags,
}
"""What is one right answer; of other shapes several are (two translations, two answers to a question)."""


class Contradictions(Check):
    """Equal texts with different answers: labels, tags, or scores that are far apart."""

    kind: str = "contradictions"
    shapes: ClassVar[tuple[str, ...]] = tuple(ANSWERS)
    advice: ClassVar[str] = "Look which answer is right, or leave out all rows of the text."
    apart: float = Field(default=0.2, ge=0, le=1)
    """Share of the range of all scores beyond which two scores of one text contradict each other."""

    def find(self, data: Data) -> Iterator[Finding]:
        answer, groups = ANSWERS[data.shape], _groups(data)
        if data.shape == "score":
            scores = [row.example.score for row in data.rows]
            limit = self.apart * (max(scores) - min(scores)) if scores else 0.0
            found = [group for group in groups if _spread(group) > limit]
        else:
            found = [group for group in groups if len({answer(row.example) for row in group}) > 1]
        if found:
            rows = [row for group in found for row in group]
            text = f"{counted(len(found), 'text')} ({len(rows):,} rows) {'has' if len(found) == 1 else 'have'}"
            yield self.finding(f"{text} two different answers", rows, count=len(found))


def _groups(data: Data) -> list[list[DataRow]]:
    """Rows of one text, of all splits, where there are several."""
    groups: dict[str, list[DataRow]] = {}
    for row, key in zip(data.rows, data.whole, strict=True):
        groups.setdefault(key, []).append(row)
    return [group for group in groups.values() if len(group) > 1]


def _spread(group: list[DataRow]) -> float:
    scores = [row.example.score for row in group]
    return float(max(scores) - min(scores))


class BothWays(Check):
    """Preferences for A over B and for B over A, after the same turns."""

    kind: str = "both-ways"
    shapes: ClassVar[tuple[str, ...]] = ("preference",)
    advice: ClassVar[str] = "Keep the one that you mean; together they teach nothing."

    def find(self, data: Data) -> Iterator[Finding]:
        seen: dict[tuple[str, str, str], DataRow] = {}
        rows, like = [], []
        for row in data.rows:
            start = same_text(turns(row.example.messages))
            chosen, rejected = same_text(row.example.chosen), same_text(row.example.rejected)
            if chosen != rejected and (start, rejected, chosen) in seen:
                rows.append(row)
                like.append(seen[start, rejected, chosen])
            seen.setdefault((start, chosen, rejected), row)
        if rows:
            yield self.finding(f"{counted(len(rows), 'row')} prefer what another row rejects", rows, like=like)
