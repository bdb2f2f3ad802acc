"""Memory runs out in the middle of training: the run goes on with smaller micro-batches and ends with the same weights."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import pretune
from pretune.base.errors import OutOfMemory
from pretune.objective.objective import Objective
from pretune.testing.worlds import VOCABULARY, case, largest_difference
from pretune.train.loop import checkpoint
from pretune.train.loop.runtime import Runtime
from pretune.train.loop.step import Scored, StepReport, TrainState
from pretune.train.loop.steps import steps
from pretune.train.loop.stream import MicroBatches, RowStream
from pretune.train.optim.settings import OPTIM
from pretune.train.optim.update import Update
from tests.invariants.test_resume import text_folder

if sys.platform != "win32":
    import resource


class Rooms(Objective):
    """An objective whose last micro-batch needs more memory than there is, when it has more than `rows` rows."""

    inner: Any
    room: dict[str, int]

    def prepare(self, *given: Any) -> Any:
        return self.inner.prepare(*given)

    def collate(self, *given: Any) -> Any:
        return self.inner.collate(*given)

    def sums(self, model: torch.nn.Module, batch: Any, step_wide: Any = None) -> Any:
        self.room["calls"] += 1
        found = self.inner.sums(model, batch)
        if len(batch["labels"]) > self.room["rows"] and self.room["calls"] % 2 == 0:
            torch.empty(2**60)  # torch's own error, of a step whose first half has already left gradients
        return found


def run(name: str, *, micro: int, dropout: float = 0.0, shrink: Any = None) -> tuple[dict[str, Any], list[StepReport]]:
    """Weights and reports of six steps of eight rows; `shrink(state, room)` is called before the fourth step."""
    model, objective, rows = case(name)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = dropout
    room = {"rows": 8, "calls": 0}
    scorer = Rooms.model_construct(kind="rooms", inner=objective, room=room)
    update = Update(model, OPTIM({"kind": "adamw", "learning_rate": 1e-2, "clip": 0.5}))
    state = TrainState(model, Scored(model, scorer), update, total=6)
    cut = MicroBatches(RowStream(rows, 8, seed=5), scorer, VOCABULARY, 5, micro)
    torch.manual_seed(7)
    reports = []
    for report in steps(state, scorer, cut, Runtime(), until=6):
        reports.append(report)
        if report.step == 3 and shrink is not None:
            shrink(state, room)
    return {n: p.detach().clone() for n, p in model.named_parameters()}, reports


def less_room(rows: int) -> Any:
    return lambda state, room: room.update(rows=rows, calls=0)


def cut_by_hand(micro: int) -> Any:
    return lambda state, room: setattr(state, "micro", micro)


@pytest.mark.parametrize("name", ["causal", "masked", "classify-weights"])
def test_a_run_whose_memory_ran_out_ends_where_one_with_plenty_does(name: str) -> None:
    found, reports = run(name, micro=4, shrink=less_room(1))
    assert [(r.tried, r.micro) for r in reports] == [(4, 4)] * 3 + [(4, 1), (1, 1), (1, 1)]
    assert largest_difference(found, run(name, micro=8)[0]) < 1e-12


@pytest.mark.parametrize("name", ["masked", "classify"])
def test_nothing_of_the_half_done_step_stays_not_even_a_random_number(name: str) -> None:
    found, _ = run(name, micro=4, dropout=0.3, shrink=less_room(2))
    by_hand, _ = run(name, micro=4, dropout=0.3, shrink=cut_by_hand(2))
    assert largest_difference(found, by_hand) == 0.0
    assert largest_difference(found, run(name, micro=4, dropout=0.3)[0]) > 1e-6, "dropout must be on"


def test_one_row_that_does_not_fit_ends_the_run_with_a_hint() -> None:
    with pytest.raises(OutOfMemory, match="micro-batches of one row") as told:
        run("causal", micro=4, shrink=less_room(0))
    assert "checkpointing=full" in str(told.value)


def test_the_smaller_cut_lies_in_the_checkpoint(tmp_path: Path) -> None:
    model, objective, _ = case("causal")
    states = [TrainState(model, Scored(model, objective), Update(model, OPTIM("sgd")), total=6) for _ in range(2)]
    states[0].micro = 3
    checkpoint.load(states[1], checkpoint.save(states[0], tmp_path))
    assert states[1].micro == 3


# ---- the whole command, under a real limit -------------------------------------------------------

MODEL = {"layers": 2, "width": 96, "heads": 4}
PRETRAIN: dict[str, Any] = {"length": 128, "batch": 32, "steps": 20, "save_every": 1, "precision": "float32",
                            "compile": "no", "optim": "sgd"}  # fmt: skip


def start(folder: Path, out: str) -> subprocess.Popen[bytes]:
    """Pretrain from raw text in micro-batches of 32 rows, under a limit that leaves plenty."""
    given = PRETRAIN | {"model": "gpt2"} | {f"model.{name}": value for name, value in MODEL.items()}
    given |= {"micro_batch": 32, "corpus.validation": 0.3, "tokenizer.vocab_size": 300}
    words = [f"{name}={value}" for name, value in given.items()]
    command = [sys.executable, "-m", "pretune", "pretrain", "text", "--out", out, *words]
    settings = {**os.environ, "PRETUNE_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    with (folder / f"{out}.txt").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=settings, stdout=log, stderr=log)
    resource.prlimit(process.pid, resource.RLIMIT_AS, (2**40, 2**40))
    return process


def address_space(process: subprocess.Popen[bytes]) -> int:
    """Bytes of address space that the process holds now."""
    return int(Path(f"/proc/{process.pid}/statm").read_text(encoding="utf-8").split()[0]) * resource.getpagesize()


def halve_what_is_free(process: subprocess.Popen[bytes], checkpoints: Path, *, at_step: int) -> None:
    """What the steps up to this one took and gave back is what was free; half of it is taken away."""
    held: list[int] = []
    # Only the last checkpoints are kept: whoever looks late sees later ones.
    while process.poll() is None and not any(int(c.name[5:13]) >= at_step for c in checkpoints.glob("step-*")):
        if any(checkpoints.glob("step-*")):
            held.append(address_space(process))
        time.sleep(0.001)
    room = min(held) + (max(held) - min(held)) // 2
    resource.prlimit(process.pid, resource.RLIMIT_AS, (room, 2**40))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of the address space are Linux's")
def test_half_of_the_free_memory_is_taken_away_in_the_middle_of_training(tmp_path: Path) -> None:
    text_folder(tmp_path / "text")
    limited = start(tmp_path, "limited")
    halve_what_is_free(limited, tmp_path / "limited.scratch" / "checkpoints", at_step=6)
    code, told = limited.wait(timeout=240), (tmp_path / "limited.txt").read_text(encoding="utf-8")
    assert code == 0, told
    assert re.search(r"step (\d+): memory ran out with micro-batches of 32 rows; taken again with (16|8)", told), told
    small = {**PRETRAIN, "model": {"kind": "gpt2", **MODEL}, "micro_batch": 4}
    pretune.pretrain(tmp_path / "limited.tokens", out=tmp_path / "small", quiet=True, **small)
    weights = [load_file(tmp_path / name / "model.safetensors") for name in ("limited", "small")]
    assert largest_difference(*weights) < 1e-5
    log = [
        json.loads(line) for line in (tmp_path / "limited" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert [row["step"] for row in log if "gradient_norm" in row] == [10, 20]
