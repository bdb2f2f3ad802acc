"""When memory runs out in the middle of a step: the same step again, in micro-batches half as large.

    micro-batches of 16   out of memory     gradients dropped, random state put back
    micro-batches of  8   the step is taken, and so are all that follow

How a step is cut changes no mathematics, so the weights are those of a run that never had more; bit by bit
they are those of a run that was cut like this from the same step on. The cut lies in the checkpoints.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import torch

from pretune.base.errors import OutOfMemory
from pretune.objective.objective import Objective
from pretune.train.loop.runtime import Runtime
from pretune.train.loop.steps import StepReport, TrainState, take_step
from pretune.train.loop.stream import Cut

T = TypeVar("T")

SAID = ("DefaultCPUAllocator", "out of memory", "not enough memory", "could not create a memory")
"""What torch's CPU allocator, its GPU allocators and oneDNN say."""


def fitting_step(state: TrainState, objective: Objective, cut: Cut, runtime: Runtime) -> StepReport:
    """`take_step`, cut as memory allows; `state.micro` keeps the cut for the steps that follow.

    Raises:
        OutOfMemory: one row is too much, or memory ran out while the weights were moved.
    """
    step, tried = state.step, state.micro or cut.micro
    random = _random_state()

    def take(micro: int) -> StepReport:
        if micro != tried:
            _undo(state, random)
        started = time.perf_counter()
        batches, where = replace(cut, micro=micro).batches(step), cut.where(step)
        waited = time.perf_counter() - started
        return replace(take_step(state, objective, batches, runtime, where=where), waited=waited)

    report, micro = halving(take, tried, again=lambda: state.step == step and runtime.world == 1)
    if micro != tried:
        state.micro = micro
    return replace(report, micro=micro, tried=tried)


def halving(run: Callable[[int], T], micro: int, *, again: Callable[[], bool] = lambda: True) -> tuple[T, int]:
    """`run(micro)`, with half as many rows each time that memory runs out; what came out, and for how many rows.

    Args:
        again: whether it may be run again.

    Raises:
        OutOfMemory: not even one row fits, or it may not be run again.
    """
    while True:
        try:
            return run(micro), micro
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if micro == 1 or not again():
                raise _told(micro) from None
        # Behind the `except`: until it ends, the error's frames hold the tensors of the step.
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        micro = -(-micro // 2)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory could not be had; torch has no class for it on a CPU."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(said in str(error) for said in SAID)


def _told(micro: int) -> OutOfMemory:
    if micro == 1:
        hint = "shorter rows (length, max_length), checkpointing=full, optim.moments=8bit, or a smaller model"
        return OutOfMemory("memory ran out with micro-batches of one row", hint=hint)
    hint = f"the same command continues from the last checkpoint; micro_batch={micro // 2} needs less memory"
    return OutOfMemory(f"memory ran out where a step cannot be taken again (micro-batches of {micro} rows)", hint=hint)


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
