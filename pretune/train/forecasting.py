"""What a training run takes on this machine, told before it begins: bytes of memory and seconds of a step.

    memory   what a rehearsed step allocates (rehearsal.py) + what the process holds without a model
    seconds  sum over the operations of a step of how often x seconds, each different one timed once,
             alone and with real content + what Python and torch add to an operation, timed on a tiny step

Nothing here knows a model or an optimizer: what they do is seen in the rehearsal. All that was timed is remembered
per machine.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from pretune.base.digest import digest
from pretune.objective.base import Batch, Objective, Row, Vocabulary
from pretune.train.loop import TrainState
from pretune.train.probe import machine_probe
from pretune.train.rehearsal import Operation, Rehearsal, real, rehearse
from pretune.train.runtime import keep_freed_memory, remembered

TIMED_BYTES = 2**28
"""Operations that touch more are timed on none of it: their seconds come from the machine's bytes a second."""
REPEATS = 3


@dataclass(frozen=True)
class Plan:
    """A training step in the words of its forecast.

    Args:
        build: makes a fresh model and optimizer.
        length: tokens of the longest row.
        batch: rows of a step.
    """

    build: Callable[[], TrainState]
    objective: Objective
    vocabulary: Vocabulary
    length: int
    batch: int

    def rehearsed(self, micro: int, pieces: int) -> Rehearsal:
        """A step of this many micro-batches of `micro` rows."""
        return rehearse(self.build, self.objective, [self.blank(micro)] * pieces)

    def blank(self, micro: int) -> Batch:
        return self.objective.collate([self._row(i) for i in range(micro)], self.vocabulary)

    def _row(self, number: int) -> Row:
        """A full row of one document, with a target wherever there may be one."""
        if self.objective.kind == "labels":
            return {"ids": [self.vocabulary.size - 1] * self.length, "label": 0}
        reach = self.length + (self.objective.kind == "causal")
        row = {"ids": np.full(reach, self.vocabulary.size - 1), "segments": np.zeros(reach, dtype=np.int64)}
        return self.objective.prepare(row, self.vocabulary, np.random.default_rng([number]))


def step_bytes(plan: Plan, micro: int) -> int:
    """The most memory that a step in micro-batches of `micro` rows holds at one time, weights and all."""
    return plan.rehearsed(micro, min(2, -(-plan.batch // micro))).peak_bytes


def run_bytes(plan: Plan, micro: int) -> float:
    """Resident memory of a whole process that trains so."""
    return float(machine_probe()["process_bytes"]) + step_bytes(plan, micro)


def step_seconds(plan: Plan, micro: int, device: str = "cpu") -> float:
    """Seconds of a step, eager."""
    micro = min(micro, plan.batch)
    one, two = (plan.rehearsed(micro, pieces) for pieces in (1, 2))
    first, both = _seconds(one, device), _seconds(two, device)
    return first + (plan.batch / micro - 1) * (both - first)


def _seconds(found: Rehearsal, device: str) -> float:
    """Seconds of all operations; remembered for this list of operations."""
    key = f"step {device} {digest(sorted(found.counts.items()))}"
    return float(remembered(key, lambda: sum(n * seconds_of(found.operations[o]) for o, n in found.counts.items())))


_timed: dict[str, float] = {}


def seconds_of(operation: Operation) -> float:
    """Seconds of one call, with what Python and the recording of gradients add to it."""
    text = str(operation)
    if text not in _timed:
        probe = machine_probe()
        size = sum(form.num_bytes for form in operation.forms())
        if operation.function.is_view:
            seconds = 0.0
        elif size > TIMED_BYTES:
            seconds = size / float(probe["bytes_a_second"])
        else:
            seconds = max(0.0, _timing(operation) - float(probe["call_seconds"]))
        _timed[text] = seconds + float(probe["operation_seconds"])
    return _timed[text]


def _timing(operation: Operation) -> float:
    """Median seconds of a call; content is made anew for none of them, as a step finds its own in the cache too."""
    keep_freed_memory()
    with torch.no_grad():
        arguments, named = real(operation)
        operation.function(*arguments, **named)
        times: list[float] = []
        while len(times) < REPEATS or (sum(times) < 1e-3 and len(times) < 20):
            started = time.perf_counter()
            operation.function(*arguments, **named)
            _wait()
            times.append(time.perf_counter() - started)
    return statistics.median(times)


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def fitting(plan: Plan, sizes: list[int], room: float) -> list[int]:
    """Those of the micro-batches that fit into `room` bytes, at least the smallest of them."""
    return [micro for micro in sizes if step_bytes(plan, micro) < room] or sizes[:1]


def free_bytes(device: Any) -> float:
    """Memory that training may still take on a device."""
    import psutil

    if torch.device(device).type == "cuda":
        return float(torch.cuda.mem_get_info()[0])
    return float(psutil.virtual_memory().available)
