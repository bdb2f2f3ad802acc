"""The training loop: a generator of steps.

    for report in steps(state, objective, micro_batches, runtime, until=1000):
        ...log, evaluate, save, stop...

When memory runs out in the middle of a step, the same step is taken again in micro-batches half as large:

    micro-batches of 16   out of memory     gradients dropped, random state put back
    micro-batches of  8   the step is taken, and so are all that follow

How a step is cut changes no mathematics, so the weights are those of a run that never had more; bit by bit
they are those of a run that was cut like this from the same step on. The cut is kept in the checkpoints.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import torch

from pretune.objective.objective import Objective
from pretune.train.loop.memory import halving
from pretune.train.loop.private import taking
from pretune.train.loop.runtime import Runtime
from pretune.train.loop.step import StepReport, TrainState
from pretune.train.loop.stream import MicroBatches


def steps(
    state: TrainState, objective: Objective, stream: MicroBatches, runtime: Runtime, *, until: int
) -> Iterator[StepReport]:
    """Yield after each step; the caller logs, evaluates and saves between steps, or stops.

    Raises:
        OutOfMemory: not even one row at a time fits into memory.
    """
    state.train()
    while state.step < until:
        yield fitting_step(state, objective, stream, runtime)


def fitting_step(state: TrainState, objective: Objective, cut: MicroBatches, runtime: Runtime) -> StepReport:
    """`take_step`, cut as memory allows; `state.micro` keeps the cut for the steps that follow.

    Raises:
        OutOfMemory: one row is too much, or memory ran out while the weights were moved.
    """
    step, portion, tried = state.step, state.portion, state.micro or cut.micro
    random = _random_state()

    def taken(micro: int) -> StepReport:
        if micro != tried:
            _undo(state, random)
        started = time.perf_counter()
        batches = replace(cut, micro=micro).batches(portion)
        waited = time.perf_counter() - started
        return replace(taking(state)(state, objective, batches, runtime), waited=waited, portion=portion)

    report, micro = halving(taken, tried, again=lambda: state.step == step and runtime.world == 1)
    if micro != tried:
        state.micro = micro
    return replace(report, micro=micro, tried=tried)


def _random_state() -> list[torch.Tensor]:
    gpu = [torch.cuda.get_rng_state()] if torch.cuda.is_available() else []
    return [torch.get_rng_state(), *gpu]


def _undo(state: TrainState, random: list[torch.Tensor]) -> None:
    """Nothing of a step that was not finished stays: no gradient, no random number that was drawn."""
    for weight in state.update.weights.values():
        weight.grad = None
    torch.set_rng_state(random[0])
    if len(random) > 1:
        torch.cuda.set_rng_state(random[1])
