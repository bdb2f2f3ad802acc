"""What this machine takes for training of no size: a process that trains a tiny model, measured once and remembered.

python -m pretune.train.probe     one JSON object

process_bytes        resident memory of a process that has imported and run all that training needs
operation_seconds    what Python, modules and the recording of gradients take for one operation of a step
call_seconds         the same of an operation that is called by itself, without gradients
bytes_a_second       read and written by a product of large tensors, element by element
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import Any


def machine_probe() -> dict[str, float]:
    """The four figures; the first time on a machine it takes some seconds."""
    from pretune.train.runtime import remembered

    return remembered("training of no size, with buffers", _in_a_process_of_its_own)  # type: ignore[no-any-return]


def _in_a_process_of_its_own() -> dict[str, float]:
    command = [sys.executable, "-P", "-m", "pretune.train.probe"]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=True, env={**os.environ})
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def resident_bytes() -> int:
    import psutil

    return int(psutil.Process().memory_info().rss)


def measured() -> dict[str, float]:
    """The figures of this process."""
    from importlib import import_module

    import torch

    from pretune.train.runtime import Runtime

    for above in ("pretune.api", "pretune.cli", "pretune.task.finetuning"):  # what a run holds besides this room
        import_module(above)

    runtime = Runtime.start()
    seconds = _tiny_steps(runtime)
    held = resident_bytes() + _buffers()
    big = torch.rand(2**24)
    return {
        "process_bytes": held,
        "operation_seconds": seconds,
        "call_seconds": _best(lambda: torch.ops.aten.neg.default(big[:1]), 200),
        "bytes_a_second": 2 * 4 * len(big) / _best(lambda: torch.ops.aten.mul.Scalar(big, 2.0), 3),
    }


def _buffers() -> int:
    """Bytes that the library of products keeps once it has seen large ones, forward and backward."""
    import torch

    from pretune.train.runtime import give_unused_back

    give_unused_back()
    before = resident_bytes()
    torch.nn.Linear(256, 8192)(torch.rand(2048, 256)).sum().backward()
    give_unused_back()
    return max(0, resident_bytes() - before)


def _best(call: Any, times: int) -> float:
    best = float("inf")
    for _ in range(times):
        started = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - started)
    return best


def _tiny_steps(runtime: Any) -> float:
    """Seconds for an operation of a step whose tensors are next to nothing: two layers of width 32, two rows of 8."""
    from pretune.model.build import build_model
    from pretune.model.shape import SHAPE
    from pretune.objective.base import OBJECTIVE, Vocabulary
    from pretune.tokens.tokenizer import Specials
    from pretune.train.forecasting import Plan
    from pretune.train.loop import Scored, TrainState, take_step
    from pretune.train.optim import OPTIM
    from pretune.train.update import Update

    objective, specials = OBJECTIVE("causal"), Specials(None, 1, 0, None, None, None, None)
    shape = SHAPE(
        {"kind": "qwen3", "layers": 4, "width": 32, "heads": 2, "kv_heads": 1, "head_width": 16, "hidden": 32}
    )

    def build() -> TrainState:
        model = build_model(shape, vocab_size=64, max_length=16, specials=specials, seed=0)
        return TrainState(model, Scored(model, objective), Update(model, OPTIM("adamw")), total=100)

    plan = Plan(build, objective, Vocabulary(size=64, pad=0), length=8, batch=2)
    calls = sum(plan.rehearsed(2, 1).counts.values())
    state, batch = build(), plan.blank(2)
    state.model.train()
    return min(take_step(state, objective, [batch], runtime).seconds for _ in range(8)) / calls


if __name__ == "__main__":
    print(json.dumps(measured()))
