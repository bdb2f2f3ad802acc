"""Which rows a step sees. The rows of step s are a pure function of (seed, s): resuming needs one integer.

A stream gives the rows of a whole step; `MicroBatches` deals them to ranks and micro-batches. What is random in a
row is drawn from (seed, step, slot), so the cut does not change it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from pretune.objective.objective import Objective
from pretune.tokens.rows import Batch, Row, Vocabulary
from pretune.tokens.store.packing import Arrays, Rows


class Stream(Protocol):
    """Rows by step."""

    def rows(self, step: int) -> list[Row]:
        """The rows of a step, of all ranks."""

    def where(self, step: int) -> str:
        """The place of a step's rows in the data, for messages."""

    def share(self, step: int) -> float:
        """Rows of a step over those of a whole batch."""


@dataclass(frozen=True)
class StoreStream:
    """Rows of token stores, in the keyed random order of their packing or mixture; another order each epoch.

    Args:
        ramp: steps in which the batch grows: a third of them with an eighth of its rows, a quarter, a half.
    """

    all_rows: Rows
    batch: int
    ramp: int = 0

    def rows(self, step: int) -> list[Row]:
        return rows_of(self.all_rows.at(self._positions(step)))

    def where(self, step: int) -> str:
        return self.all_rows.where(self._positions(step))

    def _positions(self, step: int) -> NDArray[np.int64]:
        return np.arange(self.rows_before(step), self.rows_before(step + 1))

    def rows_before(self, step: int) -> int:
        """Rows of all steps before this one."""
        borders = [-(-k * self.ramp // 3) for k in range(4)]
        sizes = [max(1, self.batch >> k) for k in (3, 2, 1)]
        growing = [size * (min(max(step, a), b) - a) for size, (a, b) in zip(sizes, pairwise(borders), strict=True)]
        return sum(growing) + self.batch * max(0, step - self.ramp)

    def share(self, step: int) -> float:
        return (self.rows_before(step + 1) - self.rows_before(step)) / self.batch


def rows_of(arrays: Arrays) -> list[Row]:
    """Arrays [B, ...] as B rows."""
    return [cast(Row, dict(zip(arrays, values, strict=True))) for values in zip(*arrays.values(), strict=True)]


@dataclass(frozen=True)
class RowStream:
    """Rows in memory, in random order each epoch; with `group`, rows of like length share a step.

    Grouping sorts within pools of 50 steps, so order stays random while padding falls to a few per cent.
    """

    all_rows: Sequence[Row]
    batch: int
    seed: int
    group: bool = False

    @property
    def steps_per_epoch(self) -> int:
        return -(-len(self.all_rows) // self.batch)

    def rows(self, step: int) -> list[Row]:
        return [self.all_rows[i] for i in self._chosen(step)]

    def _chosen(self, step: int) -> list[int]:
        epoch, place = divmod(step, self.steps_per_epoch)
        rng = np.random.default_rng([self.seed, epoch])
        order = rng.permutation(len(self.all_rows))
        if not self.group:
            return [int(i) for i in order[place * self.batch : (place + 1) * self.batch]]
        pool = self.batch * 50
        pools = [order[i : i + pool] for i in range(0, len(order), pool)]
        ordered = [sorted(map(int, p), key=lambda i: (len(self.all_rows[i]["ids"]), i)) for p in pools]
        chunks = [p[i : i + self.batch] for p in ordered for i in range(0, len(p), self.batch)]
        return chunks[rng.permutation(len(chunks))[place]]

    def share(self, step: int) -> float:
        return len(self._chosen(step)) / self.batch

    def where(self, step: int) -> str:
        chosen = self._chosen(step)
        return f"training rows {', '.join(map(str, chosen[:4]))}{' ...' if len(chosen) > 4 else ''}"


@dataclass(frozen=True)
class MicroBatches:
    """A stream cut into micro-batches of one rank.

    Args:
        micro: rows of a micro-batch.
        total: steps of the run, where they are known.
        even: whether all ranks have as many micro-batches as the one with the most rows: each of them is a meeting.
    """

    stream: Stream
    objective: Objective
    vocabulary: Vocabulary
    seed: int
    micro: int
    rank: int = 0
    world: int = 1
    total: int = 0
    even: bool = False

    def batches(self, step: int) -> list[Batch]:
        """The micro-batches of this rank: rows rank, rank + world, ... of the step."""
        # A fourth word: numpy takes [seed, step] for [seed, step, 0], which is what the first row draws from.
        rows = self.objective.together(self.stream.rows(step), np.random.default_rng([self.seed, step, 0, 1]))
        ready = [self._prepared(rows[slot], step, slot) for slot in range(self.rank, len(rows), self.world)]
        if not rows:  # of examples that are drawn one by one
            return []
        cuts = (ready[i : i + self.micro] for i in range(0, len(ready), self.micro))
        found = [self.objective.collate(cut, self.vocabulary) for cut in cuts]
        most = -(-len(range(0, len(rows), self.world)) // self.micro) if self.even else 1
        idle = (self.objective.idle(self._prepared(rows[0], step, 0), self.vocabulary) for _ in range(most))
        return [*found, *islice(idle, max(0, most - len(found)))]

    def _prepared(self, row: Row, step: int, slot: int) -> Row:
        told: Row = {**row, "progress": min(1.0, step / self.total) if self.total else 0.0}
        return self.objective.prepare(told, self.vocabulary, np.random.default_rng([self.seed, step, slot]))

    def where(self, step: int) -> str:
        return self.stream.where(step)
