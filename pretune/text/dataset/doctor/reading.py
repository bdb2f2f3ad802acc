"""What happened while the data were read: what was put right, and what was left out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from pretune.text.dataset.doctor.findings import Check, Data, Finding, Level, counted
from pretune.text.dataset.shapes.questions import MOVED


class LeftOut(Check):
    """Records of which no example could be made."""

    kind: str = "left-out"
    advice: ClassVar[str] = "Look why; they are neither learnt from nor counted."

    def find(self, data: Data) -> Iterator[Finding]:
        for told in data.reading:
            if told.is_lost:
                problem = f"{counted(told.count, 'record')} left out: {told.what}"
                yield Finding(self.kind, self.level, told.count, problem, self.advice, told.places)


class Mended(Check):
    """Examples that reading put right, so the files are wrong and the dataset is not."""

    kind: str = "mended"
    level: ClassVar[Level] = "hint"
    advice: ClassVar[str] = "Look whether it is what you meant, and mend the files."

    def find(self, data: Data) -> Iterator[Finding]:
        for told in data.reading:
            if not told.is_lost and told.what != MOVED:  # that is told by wrong-offset
                problem = f"{told.what}: {told.count:,}"
                yield Finding(self.kind, self.level, told.count, problem, self.advice, told.places)
