"""When memory runs out: again, with half as many rows."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import TypeVar

import torch

from pretune.base.errors import OutOfMemory

T = TypeVar("T")

SAID = ("DefaultCPUAllocator", "out of memory", "not enough memory", "could not create a memory")
"""What torch's CPU allocator, its GPU allocators and oneDNN say."""


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
