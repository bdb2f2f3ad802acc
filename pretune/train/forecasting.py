"""What a training run takes on this machine, told before it begins: bytes of memory and seconds of a step.

    memory   what a rehearsed step allocates (rehearsal.py) + what the process holds without a model
    seconds  sum over the operations of a step of how often x seconds, each different one timed once,
             alone and with real content + what Python and torch add to an operation, timed on a tiny step

Nothing here knows a model or an optimizer: what they do is seen in the rehearsal. All that was timed is remembered
per machine.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from pretune.base.digest import digest
from pretune.base.errors import DoesNotFit
from pretune.base.extras import versions
from pretune.objective.base import Batch, Objective, Row, Vocabulary
from pretune.train.heap import Heap, heap_of_process, in_a_fork
from pretune.train.loop import TrainState
from pretune.train.probe import machine_probe
from pretune.train.rehearsal import Operation, Rehearsal, real, rehearse
from pretune.train.runtime import Runtime, keep_freed_memory, remembered

TIMED_BYTES = 2**28
"""Operations that touch more are not timed: their seconds come from the machine's bytes a second."""
PASSES = 3
GAPS = 1.5
"""Where the heap cannot be asked: what is held, of what lives (1.4 to 1.7 were measured, docs/LOG.md)."""
SMALL_HEAP = 2**26
"""Bytes beside which Python and torch alone take so much that by how much a heap differs does not count."""
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Plan:
    """A training step in the words of its forecast.

    Args:
        build: makes a fresh model and optimizer.
        length: tokens of the longest row.
        batch: rows of a step.
        device: where it runs; a rehearsal of a GPU's step needs a GPU, and none of its memory.
        known_by: what the step depends on (JSON), under which its memory is remembered.
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

    def rehearsed(self, micro: int, pieces: int, heap: Heap | None = None) -> Rehearsal:
        """A step of this many micro-batches of `micro` rows."""
        return rehearse(self.build, self.objective, [self.blank(micro)] * pieces, Runtime(self.device), heap)

    def bytes_of(self, micro: int, pieces: int) -> int:
        """The most that such steps hold: what lives at one time; where freed memory is kept, its gaps too."""
        if not self.keeps_freed or self.device.type != "cpu":
            return self.rehearsed(micro, pieces).peak_bytes
        if (found := in_a_fork(lambda: self._held(micro, pieces))) is not None:
            return found
        return int(GAPS * self.rehearsed(micro, pieces).peak_bytes)

    def _held(self, micro: int, pieces: int) -> int:
        """Gaps come by chance, in a rehearsal as in a run: of a heap that counts, the median of three rehearsals."""
        found = [self._held_once(micro, pieces)]
        if found[0] > SMALL_HEAP:
            found += [self._held_once(micro, pieces) for _ in range(2)]
        return sorted(found)[len(found) // 2]

    def _held_once(self, micro: int, pieces: int) -> int:
        with heap_of_process() as heap:
            peak = self.rehearsed(micro, pieces, heap).peak_bytes
        return max(heap.reach, peak) if heap and not heap.is_left else int(GAPS * peak)

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
    """The most memory that steps in micro-batches of `micro` rows hold, weights and all."""
    pieces = min(2, -(-plan.batch // micro))
    if plan.known_by is None:
        return plan.bytes_of(micro, pieces)
    parts = [
        plan.known_by,
        plan.device.type,
        plan.objective.model_dump(mode="json"),
        plan.length,
        micro,
        pieces,
        versions().get("pretune"),
    ]
    return int(remembered(f"bytes of a step {digest(parts)}", lambda: plan.bytes_of(micro, pieces)))


def run_bytes(plan: Plan, micro: int) -> float:
    """Resident memory of a whole process that trains so."""
    return float(machine_probe()["process_bytes"]) + step_bytes(plan, micro)


def step_seconds(plan: Plan, micro: int) -> float:
    """Seconds of a step, eager."""
    micro = min(micro, plan.batch)
    one, two = (plan.rehearsed(micro, pieces) for pieces in (1, 2))
    first, both = (_seconds(found, plan.device.type) for found in (one, two))
    return first + (plan.batch / micro - 1) * (both - first)


def _seconds(found: Rehearsal, device: str) -> float:
    """Seconds of all operations; remembered for this list of operations."""
    key = f"step seconds {device} {digest(sorted(found.counts.items()))}"
    return float(remembered(key, lambda: _total(found)))


_timed: dict[str, float] = {}


def _total(found: Rehearsal) -> float:
    """Passes over all operations, not each many times on end: what else the machine does comes in bursts.

    Between two operations nothing is looked up: torch's threads would fall asleep, and waking them takes longer
    than most operations.
    """
    keep_freed_memory()
    probe = machine_probe()
    new = {text: operation for text, operation in found.operations.items() if text not in _timed}
    for number in range(1 + PASSES):
        for text, operation in new.items():
            seconds = _seconds_of(operation, probe)
            if number:  # the first pass is to warm up
                _timed[text] = min(seconds, _timed.get(text, seconds))
    return sum(n * _timed[text] for text, n in found.counts.items())


def _seconds_of(operation: Operation, probe: dict[str, float]) -> float:
    """Seconds of one call, with what Python and the recording of gradients add to it."""
    size = sum(form.num_bytes for form in operation.forms())
    if operation.function.is_view:
        return probe["operation_seconds"]
    if size > TIMED_BYTES:
        return size / probe["bytes_a_second"]
    return max(0.0, _timing(operation) - probe["call_seconds"]) + probe["operation_seconds"]


def _timing(operation: Operation) -> float:
    """Seconds of a call whose arguments were just made: the mean of a first and a second one.

    The first finds its arguments and the room for its result in no cache, the second finds both there; in a step
    it is something between.
    """
    with torch.no_grad():
        arguments, named = real(operation)
        started = time.perf_counter()
        for _ in range(2):
            operation.function(*arguments, **named)
        _wait()
        return (time.perf_counter() - started) / 2


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def candidates(plan: Plan, room: float) -> list[int]:
    """Micro-batches worth trying: 2,048 to 16,384 tokens, or less where that does not fit into `room` bytes."""
    sizes = [n for n in (1, 2, 4, 8, 16, 32, 64, 128) if n < plan.batch] + [plan.batch]
    largest = largest_fitting(plan, [n for n in sizes if n * plan.length <= 16384] or [1], room)
    fitting = [n for n in sizes if n <= largest]
    return [n for n in fitting if n * plan.length >= 2048] or fitting[-1:]


def largest_fitting(plan: Plan, sizes: list[int], room: float) -> int:
    """The largest of these micro-batches that fits into `room` bytes, or the smallest of them."""
    return next((micro for micro in reversed(sizes) if step_bytes(plan, micro) < room), sizes[0])


def halves(micro: int) -> list[int]:
    """This many rows, half as many ... one, in rising order."""
    return [micro >> k for k in reversed(range(micro.bit_length()))]


def refuse_if_too_large(plan: Plan, micro: int, room: float) -> None:
    """Raise DoesNotFit if steps in micro-batches of `micro` rows need more than `room` bytes."""
    needed = step_bytes(plan, micro)
    if needed > room:
        problem = f"a step in micro-batches of {micro} x {plan.length} tokens needs {needed / 2**30:.1f} GiB of memory"
        hint = "shorter rows, checkpointing=auto, optim.moments=8bit, a smaller model, or method=lora in fine-tuning"
        raise DoesNotFit(f"{problem}, {room / 2**30:.1f} GiB are free", hint=hint)


def recomputed(setting: str, plan: Callable[[int], Plan], layers: int, micro: int, room: float) -> int:
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
    import psutil

    if torch.device(device).type == "cuda":
        return float(torch.cuda.mem_get_info()[0])
    return float(psutil.virtual_memory().available)
