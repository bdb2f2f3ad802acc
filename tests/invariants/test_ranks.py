"""Several processes are one run: the same losses and weights as one process, whichever of them is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from safetensors.torch import load_file

from pretune.testing.worlds import largest_difference
from tests.invariants.test_resume import text_folder

RECIPE = """
name: ranks
work: WORK
stages:
  corpus: {kind: corpus, read: [text], validation: 0.3}
  words: {kind: tokenizer, corpus: $corpus, vocab_size: 300}
  tokens: {kind: tokens, corpus: $corpus, tokenizer: $words}
  base:
    kind: pretrain
    tokens: $tokens
    model: {kind: qwen3, layers: 1, width: 32, heads: 2, kv_heads: 1, head_width: 16, hidden: 48}
    length: 16
    batch: 4
    micro_batch: 1
    steps: 12
    save_every: 4
    precision: float64
  data: {kind: dataset, read: [labels.jsonl], validation: 0.25, test: 0}
  classifier:
    kind: finetune
    model: $base
    data: $data
    task: classify
    steps: 8
    batch: 4
    micro_batch: 2
    evaluate_every: 4
    save_every: 2
    precision: float64
    max_length: 24
"""
STAGES = ("base", "classifier")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ranks")
    text_folder(folder / "text")
    rows = [{"text": f"{word} things, {k} of them", "label": word} for k in range(24) for word in ("good", "bad")]
    (folder / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (folder / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    assert run(folder, "alone").wait(timeout=240) == 0
    return folder


@pytest.fixture(scope="module")
def together(world: Path) -> Path:
    assert run(world, "together", "nproc=2").wait(timeout=240) == 0, told(world)
    return world / "together"


def run(folder: Path, work: str, *more: str, command: tuple[str, ...] = ("-m", "pretune")) -> subprocess.Popen[bytes]:
    root = str(Path(__file__).parents[2])
    env = {**os.environ, "PRETUNE_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1", "PYTHONPATH": root}
    words = [sys.executable, *command, "run", "recipe.yaml", f"work={work}", *more]
    with (folder / "log.txt").open("ab") as log:
        return subprocess.Popen(words, cwd=folder, env=env, stdout=log, stderr=log)


def told(folder: Path) -> str:
    return (folder / "log.txt").read_text(encoding="utf-8")[-3000:]


def losses(work: Path, stage: str) -> list[float]:
    lines = (work / stage / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    points: list[dict[str, Any]] = [json.loads(line) for line in lines]
    return [p[name] for p in points for name in ("loss", "validation_loss") if name in p]


def assert_equal(work: Path, other: Path, bar: float) -> None:
    for stage in STAGES:
        assert losses(work, stage) == pytest.approx(losses(other, stage), rel=bar, abs=bar), stage
        both = (load_file(folder / stage / "model.safetensors") for folder in (work, other))
        assert largest_difference(*both) <= max(bar, 1e-7), "saved in float32"


def test_two_processes_give_the_losses_and_weights_of_one_in_both_stages(world: Path, together: Path) -> None:
    assert len(losses(together, "base")) > 3
    assert_equal(world / "alone", together, 1e-12)


def test_torchrun_starts_the_same_run_and_its_ranks_say_nothing_twice(world: Path, together: Path) -> None:
    (world / "log.txt").unlink()
    command = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "pretune")
    assert run(world, "torchrun", command=command).wait(timeout=240) == 0, told(world)
    assert_equal(together, world / "torchrun", 0.0)
    assert told(world).count("[6/6] classifier") == 1


@pytest.mark.parametrize(("rank", "stage"), [(0, "base"), (1, "classifier")])
def test_after_a_kill_of_either_rank_the_same_command_ends_with_the_same_bits(
    world: Path, together: Path, rank: int, stage: str
) -> None:
    work = f"killed-{rank}"
    process = run(world, work, "nproc=2")
    checkpoints = world / work / f"{stage}.scratch" / "checkpoints"
    deadline = time.monotonic() + 240
    while not any(checkpoints.glob("step-*4")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    ranks = {p.environ().get("RANK"): p for p in psutil.Process(process.pid).children()}
    ranks[str(rank)].send_signal(signal.SIGKILL)
    killed = time.monotonic()
    assert process.wait(timeout=240) == 1, told(world)
    assert time.monotonic() - killed < 60
    assert f"rank {rank} was ended by SIGKILL" in told(world)
    assert not (world / work / stage / "artifact.json").exists(), "it was killed in the middle"
    assert run(world, work, "nproc=2").wait(timeout=240) == 0, told(world)
    assert_equal(together, world / work, 0.0)


def test_sigterm_to_whoever_started_the_ranks_saves_leaves_with_130_and_the_same_command_continues(
    world: Path, together: Path
) -> None:
    process = run(world, "stopped", "nproc=2")
    checkpoints = world / "stopped" / "base.scratch" / "checkpoints"
    deadline = time.monotonic() + 240
    while not any(checkpoints.glob("step-*4")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    ranks = psutil.Process(process.pid).children()
    process.terminate()
    assert process.wait(timeout=240) == 130, told(world)
    assert not any(rank.is_running() for rank in ranks), "none is left behind"
    assert run(world, "stopped", "nproc=2").wait(timeout=240) == 0, told(world)
    assert_equal(together, world / "stopped", 0.0)


def test_a_number_of_processes_that_does_not_divide_the_batch_is_refused_first(world: Path) -> None:
    (world / "log.txt").unlink()
    assert run(world, "odd", "nproc=3").wait(timeout=60) == 2
    assert "a batch of 4 rows cannot be dealt evenly to 3 processes" in told(world)
    assert told(world).count("[wrong-value]") == 1
    assert not (world / "odd").exists()
