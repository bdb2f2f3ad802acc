"""Answers in contexts: a start that leads elsewhere, an answer that is not there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from pretune.text.dataset.doctor.fields import Piece
from pretune.text.dataset.doctor.findings import Check, Data, Finding, Level, Row, RowCheck, counted
from pretune.text.dataset.shapes.questions import MOVED
from pretune.text.dataset.spans import find_answer


class WrongOffset(Check):
    """Answers whose start leads to other words, though the answer stands elsewhere in the context."""

    kind: str = "wrong-offset"
    level: ClassVar[Level] = "error"
    shapes: ClassVar[tuple[str, ...]] = ("span",)
    advice: ClassVar[str] = "Count characters, not bytes or tokens; stage dataset takes the nearest place instead."

    def find(self, data: Data) -> Iterator[Finding]:
        rows = [row for row in data.rows if _is_off(row)]
        if rows:
            yield self.finding(f"{counted(len(rows), 'row')} with an answer that starts elsewhere", rows)
        for told in data.reading:
            if told.what == MOVED:
                files = ", ".join(f"{number} in {file}" for file, number in sorted(told.files.items()))
                text = f"{counted(told.count, 'answer')} started elsewhere; the nearest place was taken ({files})"
                advice = "Look at some; the file is wrong, the dataset no longer is."
                yield Finding(self.kind, "warning", told.count, text, advice, told.places)


def _is_off(row: Row) -> bool:
    found = ((find_answer(row.example.context, a.text, a.start), a.start) for a in row.example.answers)
    return any(place is not None and place != start for place, start in found)


class NotThere(RowCheck):
    """Answers that stand nowhere in their context, or are empty: no span can be learnt."""

    kind: str = "answer-not-there"
    level: ClassVar[Level] = "error"
    shapes: ClassVar[tuple[str, ...]] = ("span",)
    advice: ClassVar[str] = "Correct the answer or leave the row out; a question without an answer has an empty list."
    claim: ClassVar[str] = "with an answer that stands nowhere in its context"

    def is_wrong(self, row: Row, pieces: Sequence[Piece]) -> bool:
        return any(find_answer(row.example.context, a.text, a.start) is None for a in row.example.answers)
