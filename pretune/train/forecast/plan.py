"""What a training step takes on this machine, before it is taken: bytes of memory and seconds.

    memory   dry runs of a step of few rows and of one of more (dry_run.py), and a line through them
             + what the process holds anyway
    seconds  the multiplications of the same dry runs / the speed of training that was measured here (speed.py)

Nothing here knows a model or an optimizer: what they do is seen in the dry run. It takes a second or two and is
remembered. Memory holds to a fifth (docs/LOG.md); where it was too low, a step is taken again with half the rows
(loop/steps.py). Seconds are an estimate: shapes differ in how well a machine likes them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from pretune.base.digest import digest
from pretune.base.errors import DoesNotFit
from pretune.base.extras import versions
from pretune.base.limits import memory
from pretune.objective.objective import Objective
from pretune.report.numbers import size
from pretune.tokens.rows import Batch, Vocabulary
from pretune.train.forecast.dry_run import Taken, dry_run
from pretune.train.forecast.speed import remembered, training_speed
from pretune.train.loop.runtime import Runtime
from pretune.train.loop.step import TrainState

GAPS = 1.5
"""What a heap that keeps freed memory holds, of what lives: 1.4 to 1.7 were measured (docs/LOG.md)."""
PROCESS_BYTES = 480 * 2**20
"""Resident memory of a process that has imported all that training needs, multiplied and made a dry run: 441 MiB were
measured (docs/LOG.md), the rest is for tokenizer and data."""
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Line:
    """What a step takes for a number of rows: `base + slope * rows`."""

    base: float
    slope: float

    @classmethod
    def through(cls, few: tuple[int, float], more: tuple[int, float]) -> Line:
        slope = (more[1] - few[1]) / (more[0] - few[0]) if more[0] > few[0] else 0.0
        return cls(more[1] - slope * more[0], slope)

    def at(self, rows: float) -> float:
        return self.base + self.slope * rows


@dataclass(frozen=True)
class Plan:
    """A training step in the words of its forecast.

    Args:
        build: makes a fresh model and optimizer.
        length: tokens of the longest row.
        batch: rows of a step.
        device: where it runs; a dry run of a GPU's step needs a GPU, and none of its memory.
        known_by: what the step depends on (JSON), under which its forecast is remembered.
        keeps_freed: freed memory stays with the process (runtime.keep_freed_memory), so gaps count.
    """

    build: Callable[[], TrainState]
    objective: Objective
    vocabulary: Vocabulary
    length: int
    batch: int
    device: torch.device = CPU
    known_by: Any = None
    keeps_freed: bool = True

    def dry_run(self, *steps: tuple[int, int]) -> list[Taken]:
        """Steps of (rows of a micro-batch, micro-batches)."""
        cut = [[self.blank(micro)] * pieces for micro, pieces in steps]
        return dry_run(self.build, self.objective, cut, Runtime(self.device))

    def lines(self, micro: int) -> tuple[Line, Line]:
        """(bytes by the rows of a micro-batch, multiplications by the rows of a step), from a quarter of `micro` up."""
        found = self._figures(micro)
        return Line(*found[:2]), Line(*found[2:4])

    def copy_bytes(self, micro: int) -> float:
        """What a copy of weights and moments takes while a checkpoint is written behind the run's back."""
        return self._figures(micro)[4]

    def _figures(self, micro: int) -> list[float]:
        def measure() -> list[float]:
            few, pieces = -(-micro // 4), min(2, -(-self.batch // micro))
            fewer = pieces if few < micro else 1  # of single rows a step of one against a step of two
            small, large = self.dry_run((few, fewer), (micro, pieces))
            memory = Line.through((few, small.peak_bytes), (micro, large.peak_bytes))
            flops = Line.through((fewer * few, small.flops), (pieces * micro, large.flops))
            return [memory.base, memory.slope, flops.base, flops.slope, float(large.resting_bytes)]

        return measure() if self.known_by is None else remembered(self._key(micro), measure)

    def _key(self, micro: int) -> str:
        about = [self.known_by, self.objective.model_dump(mode="json"), self.length, micro, min(self.batch, 2 * micro)]
        return f"forecast 3 {self.device.type} {digest([*about, versions().get('pretune')])}"

    def blank(self, micro: int) -> Batch:
        rows = [self.objective.blank(self.length, self.vocabulary, np.random.default_rng([i])) for i in range(micro)]
        return self.objective.collate(rows, self.vocabulary)

    @property
    def gaps(self) -> float:
        return GAPS if self.keeps_freed and self.device.type == "cpu" else 1.0


def step_bytes(plan: Plan, micro: int) -> float:
    """The most memory that steps in micro-batches of `micro` rows hold, weights and all."""
    return plan.gaps * plan.lines(micro)[0].at(micro)


def run_bytes(plan: Plan, micro: int) -> float:
    """Resident memory of a whole process that trains so."""
    return PROCESS_BYTES + step_bytes(plan, micro)


def step_seconds(plan: Plan, micro: int, precision: str) -> float:
    """Seconds of a step, eager."""
    return plan.lines(micro)[1].at(plan.batch) / training_speed(precision, plan.device)


def fitting_micro(plan: Plan, micro: int, room: float) -> int:
    """`micro`, or as many rows as fit into `room` bytes; one at least."""
    memory = plan.lines(micro)[0]
    if plan.gaps * memory.at(micro) < room or memory.slope <= 0:
        return micro
    return min(micro, max(1, int((room / plan.gaps - memory.base) / memory.slope)))


def refuse_if_too_large(plan: Plan, micro: int, room: float) -> None:
    """Raise DoesNotFit if steps in micro-batches of `micro` rows need more than `room` bytes."""
    needed = step_bytes(plan, micro)
    if needed > room:
        problem = f"a step in micro-batches of {micro} x {plan.length} tokens needs {size(needed)} of memory"
        hint = "shorter rows, checkpointing=auto, optim.moments=8bit, a smaller model, or method=lora in fine-tuning"
        raise DoesNotFit(f"{problem}, {size(room)} are free", hint=hint)


def checkpointed(setting: str, plan: Callable[[int], Plan], layers: int, micro: int, room: float) -> int:
    """How many of the blocks are computed again: none, all, or (auto) no more than it takes to fit.

    Args:
        plan: the step when this many are.
        micro: rows of a micro-batch that shall fit into `room` bytes.
    """
    if setting != "auto":
        return layers if setting == "full" else 0
    return bisect_left(range(layers), True, key=lambda number: step_bytes(plan(number), micro) < room)


def free_bytes(device: Any) -> float:
    """Memory that training may still take on a device."""
    if torch.device(device).type == "cuda":
        return float(torch.cuda.mem_get_info()[0])
    return float(memory().free)
