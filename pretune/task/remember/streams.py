"""The rows of a step from several streams, one behind the other; the steps are those of the first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pretune.objective.beside import TASK
from pretune.objective.objective import Objective
from pretune.tokens.rows import Row
from pretune.train.loop.spec import TrainSpec
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


def beside(spec: TrainSpec, objective: Objective, streams: Sequence[Stream], rows: int) -> TrainSpec:
    """The run with other streams behind its own, so many rows a step: a budget in minutes counts them.

    (Learning a row costs what three cost that are only looked at.)
    """
    assert spec.stream is not None, "only a run with data learns beside"
    looks = replace(spec.looks, between=spec.looks.between + 3 * rows)
    return replace(spec, objective=objective, stream=Joined([Named(spec.stream, TASK), *streams]), looks=looks)
