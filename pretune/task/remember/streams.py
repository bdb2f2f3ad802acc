"""The rows of a step from several streams, one behind the other; the steps are those of the first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pretune.tokens.rows import Row
from pretune.train.loop.stream import Stream


@dataclass(frozen=True)
class Joined:
    """Several streams as one; speed and messages are the first one's."""

    parts: Sequence[Stream]

    def rows(self, step: int) -> list[Row]:
        return [row for part in self.parts for row in part.rows(step)]

    def where(self, step: int) -> str:
        return self.parts[0].where(step)

    def share(self, step: int) -> float:
        return self.parts[0].share(step)


@dataclass(frozen=True)
class Named:
    """The rows of a stream, of an objective of this name."""

    stream: Stream
    name: str

    def rows(self, step: int) -> list[Row]:
        return [{**row, "of": self.name} for row in self.stream.rows(step)]

    def where(self, step: int) -> str:
        return self.stream.where(step)

    def share(self, step: int) -> float:
        return self.stream.share(step)
