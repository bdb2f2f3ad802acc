"""What a checkpoint costs a run at the default interval, one a minute.

    python benchmarks/saving.py [--parameters 10e6 30e6 100e6] [--out FOLDER]

The run itself waits for the copy; the thread that writes, syncs, reads back and deletes takes processor time that the
run could have used. Both are processor seconds of this process, so other work on the machine does not count; their sum
over the interval is the most that saving can cost. Where that is more than a hundredth, a run saves more seldom
(session.py).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import nn

from pretune.base.log import Log
from pretune.objective.labels import Labels
from pretune.train.loop import checkpoint, saving
from pretune.train.loop.saving import Saver
from pretune.train.loop.session import MOST_OF_A_RUN, SAVE_EVERY_SECONDS
from pretune.train.loop.step import Scored, TrainState
from pretune.train.optim.settings import OPTIM
from pretune.train.optim.update import Update
from pretune.train.settings import Keep


def state_of(parameters: float) -> TrainState:
    """Matrices of so many parameters with both moments of AdamW, after a step."""
    width = 1024
    model = nn.Sequential(*(nn.Linear(width, width, bias=False) for _ in range(max(1, round(parameters / width**2)))))
    state = TrainState(model, Scored(model, Labels(kind="labels")), Update(model, OPTIM("adamw")), total=99)
    move(state)
    return state


def move(state: TrainState) -> None:
    for weight in state.update.weights.values():
        weight.grad = torch.ones_like(weight)
    state.step, state.updates = state.step + 1, state.updates + 1
    state.update.step(state.updates, 1.0)


def measured(state: TrainState, folder: Path, times: int) -> dict[str, float]:
    """Medians in processor seconds: of the run's own thread, of the one that writes; and wall seconds of the write."""
    written: list[tuple[float, float]] = []
    real = saving.write

    def timed(*given: Any) -> Path:
        began = time.thread_time(), time.perf_counter()
        found = real(*given)
        written.append((time.thread_time() - began[0], time.perf_counter() - began[1]))
        return found

    saving.write, own = timed, []  # type: ignore[assignment]
    with Saver(folder, Keep(), Log(quiet=True)) as saver:
        for _ in range(times):
            began = time.thread_time()
            saver.save(checkpoint.snapshot(state))
            own.append(time.thread_time() - began)
            saver.finish()
            move(state)
    saving.write = real
    return {"copy": median(own), "thread": median(w[0] for w in written), "write": median(w[1] for w in written)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parameters", type=float, nargs="+", default=[10e6, 30e6, 100e6])
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--out", type=Path, help="where the checkpoints lie meanwhile; a temporary folder if not given")
    asked = parser.parse_args()
    for parameters in asked.parameters:
        with tempfile.TemporaryDirectory(dir=asked.out) as folder:
            found = measured(state_of(parameters), Path(folder), asked.times)
        cost = found["copy"] + found["thread"]
        every = max(SAVE_EVERY_SECONDS, cost / MOST_OF_A_RUN)
        print(
            f"{parameters / 1e6:5.0f} M parameters, {12 * parameters / 1e6:6,.0f} MB: copy {found['copy']:.3f} s, "
            f"thread {found['thread']:.3f} s (wall {found['write']:.2f} s): "
            f"at most {cost / every:.2%}, one every {every:.0f} s"
        )


if __name__ == "__main__":
    main()
