"""What happened while the data were read: what was put right, and what was left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

from pretune.text.doctor.base import Check, Data, Finding


class Mended(Check):
    """Examples that reading put right, so the files are wrong and the dataset is not."""

    kind: str = "mended"
    advice: ClassVar[str] = "Look whether it is what you meant, and mend the files."

    def find(self, data: Data) -> Iterator[Finding]:
        yield from _told(self, data.mended)


class LeftOut(Check):
    """Records of which no example could be made."""

    kind: str = "left-out"
    advice: ClassVar[str] = "Look why; they are neither learnt from nor counted."

    def find(self, data: Data) -> Iterator[Finding]:
        yield from _told(self, data.dropped)


def _told(check: Check, counts: Mapping[str, int]) -> Iterator[Finding]:
    for what, number in sorted(counts.items()):
        yield check.finding(f"{what}: {number:,}", [], count=number)
