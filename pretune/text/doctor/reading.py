"""What reading has left out or put right: the file is wrong there, and the dataset holds less than it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from pretune.text.doctor.base import Check, Data, Finding, counted
from pretune.text.shapes.questions import MOVED


class Reading(Check):
    """Records that gave no example, or something else than they say."""

    kind: str = "reading"
    advice: ClassVar[str] = "Look at these records in the file; mend them there if they matter."

    def find(self, data: Data) -> Iterator[Finding]:
        for told in data.reading:
            if told.what == MOVED:  # told by wrong-offset
                continue
            problem = (
                f"{counted(told.count, 'record')} left out: {told.what}"
                if told.is_lost
                else f"{told.what}: {told.count:,}"
            )
            level = self.level if told.is_lost else "hint"
            yield Finding(self.kind, level, told.count, problem, self.advice, told.places)
