"""What happened while the data were read: what was put right, what was left out, answers that start elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from pretune.text.dataset.doctor.findings import Check, Data, DataRow, Finding, Level, counted
from pretune.text.dataset.shapes.questions import MOVED
from pretune.text.dataset.spans import find_answer


class LeftOut(Check):
    """Records of which no example could be made."""

    kind: str = "left-out"
    advice: ClassVar[str] = "Look why; they are neither learnt from nor counted."

    def find(self, data: Data) -> Iterator[Finding]:
        for remark in data.reading:
            if remark.is_lost:
                problem = f"{counted(remark.count, 'record')} left out: {remark.what}"
                yield Finding(self.kind, self.level, remark.count, problem, self.advice, remark.places)


class Mended(Check):
    """Examples that reading put right, so the files are wrong and the dataset is not."""

    kind: str = "mended"
    level: ClassVar[Level] = "hint"
    advice: ClassVar[str] = "Look whether it is what you meant, and mend the files."

    def find(self, data: Data) -> Iterator[Finding]:
        for remark in data.reading:
            if not remark.is_lost and remark.what != MOVED:  # wrong-offset reports that
                problem = f"{remark.what}: {remark.count:,}"
                yield Finding(self.kind, self.level, remark.count, problem, self.advice, remark.places)


class WrongOffset(Check):
    """Answers whose start leads to other words, though the answer is elsewhere in the context."""

    kind: str = "wrong-offset"
    level: ClassVar[Level] = "error"
    shapes: ClassVar[tuple[str, ...]] = ("span",)
    advice: ClassVar[str] = "Count characters, not bytes or tokens; stage dataset takes the nearest place instead."

    def find(self, data: Data) -> Iterator[Finding]:
        rows = [row for row in data.rows if _is_off(row)]
        if rows:
            yield self.finding(f"{counted(len(rows), 'row')} with an answer that starts elsewhere", rows)
        for remark in data.reading:
            if remark.what == MOVED:
                files = ", ".join(f"{number} in {file}" for file, number in sorted(remark.files.items()))
                text = f"{counted(remark.count, 'answer')} started elsewhere; the nearest place was taken ({files})"
                advice = "Look at some; the file is wrong, the dataset no longer is."
                yield Finding(self.kind, "warning", remark.count, text, advice, remark.places)


def _is_off(row: DataRow) -> bool:
    found = ((find_answer(row.example.context, a.text, a.start), a.start) for a in row.example.answers)
    return any(place is not None and place != start for place, start in found)
