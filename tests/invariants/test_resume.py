"""Kill it anywhere; the same command continues and ends with the same bits."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PRETRAIN = ("model.layers=1", "model.width=32", "model.heads=2", "model.kv_heads=1", "model.head_width=16",
            "model.hidden=48", "length=16", "batch=4", "steps=24", "save_every=4", "micro_batch=2",
            "tokenizer.vocab_size=300", "corpus.validation=0.3")  # fmt: skip

OF_THE_MACHINE = (
    *("tokens_per_second", "share_of_machine", "data_wait", "memory_bytes", "peak_memory_bytes"),
    *("gpu_memory_bytes", "energy_joules"),
)
"""What two runs of one command do not have in common."""


def text_folder(folder: Path) -> Path:
    folder.mkdir()
    for i in range(8):
        lines = [f"The {i + k} foxes jump over {k * i} lazy dogs. 第{k}只狐狸跳过了{i}只懒狗 🙂" for k in range(12)]
        (folder / f"{i}.txt").write_text("\n".join(lines), encoding="utf-8")
    return folder


def start(folder: Path, out: str, *extra: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "pretune", "pretrain", "text", "--out", out, "model=qwen3", *PRETRAIN, *extra]
    settings = {**os.environ, "PRETUNE_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    with (folder / "log.txt").open("ab") as log:
        return subprocess.Popen(command, cwd=folder, env=settings, stdout=log, stderr=log)


def finish(folder: Path, out: str, *extra: str) -> str:
    """sha256 of the weights of a run that is left alone."""
    code = start(folder, out, *extra).wait(timeout=240)
    assert code == 0, (folder / "log.txt").read_text(encoding="utf-8")[-3000:]
    return hashlib.sha256((folder / out / "model.safetensors").read_bytes()).hexdigest()


def interrupt(folder: Path, out: str, *extra: str, at_step: int, number: int = signal.SIGKILL) -> int:
    """Start the run and end it once a checkpoint of this step is there (or is being written)."""
    process = start(folder, out, *extra)
    checkpoints = folder / f"{out}.scratch" / "checkpoints"
    deadline = time.monotonic() + 240
    while process.poll() is None and time.monotonic() < deadline:
        if any(checkpoints.glob(f"step-{at_step:08d}*")):
            process.send_signal(number)
            break
        time.sleep(0.001)
    return process.wait(timeout=240)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("resume")
    text_folder(folder / "text")
    return folder, finish(folder, "whole")


def test_killed_at_three_moments_it_ends_with_the_bytes_of_a_run_left_alone(world: tuple[Path, str]) -> None:
    folder, whole = world
    for step in (4, 12, 16):
        assert interrupt(folder, "cut", at_step=step) == -signal.SIGKILL
    assert finish(folder, "cut") == whole
    steps = [json.loads(line) for line in (folder / "cut" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    alone = [json.loads(line) for line in (folder / "whole" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    timeless = [[{k: v for k, v in row.items() if k not in OF_THE_MACHINE} for row in rows] for rows in (steps, alone)]
    assert timeless[0] == timeless[1], "metrics of repeated steps are cut back"


def test_ctrl_c_saves_leaves_with_130_and_the_same_command_continues(world: tuple[Path, str]) -> None:
    folder, whole = world
    assert interrupt(folder, "stopped", at_step=8, number=signal.SIGINT) == 130
    assert not (folder / "stopped").exists()
    assert finish(folder, "stopped") == whole


def test_with_dropout_a_killed_run_that_measured_first_ends_as_a_whole_one_that_need_not(
    world: tuple[Path, str],
) -> None:
    folder, _ = world
    drawing = ("model.dropout=0.2", "micro_batch=null")
    assert interrupt(folder, "dropped-cut", *drawing, at_step=12) == -signal.SIGKILL
    cut = finish(folder, "dropped-cut", *drawing)
    assert cut == finish(folder, "dropped", *drawing)


@pytest.fixture(scope="module")
def killed(world: tuple[Path, str]) -> list[Path]:
    """All that a run leaves which was killed with three checkpoints."""
    folder, _ = world
    assert interrupt(folder, "killed", at_step=12) == -signal.SIGKILL
    return sorted(folder.glob("killed.*"))


@pytest.mark.parametrize("damage", ["flip a bit", "truncate", "remove", "remove the manifest"])
def test_a_damaged_checkpoint_is_named_skipped_and_an_older_one_used(
    world: tuple[Path, str], killed: list[Path], damage: str
) -> None:
    folder, whole = world
    out = damage.replace(" ", "-")
    for path in killed:
        copy = shutil.copytree if path.is_dir() else shutil.copy
        copy(path, folder / path.name.replace("killed", out))
    newest = sorted(p for p in (folder / f"{out}.scratch/checkpoints").glob("step-*") if p.suffix != ".partial")[-1]
    harm(newest, damage)
    (folder / "log.txt").unlink()
    assert finish(folder, out) == whole
    log = (folder / "log.txt").read_text(encoding="utf-8")
    assert f"{newest.name} is skipped" in log
    assert "continues at step" in log


def harm(checkpoint: Path, damage: str) -> None:
    state = checkpoint / "state.safetensors"
    if damage == "flip a bit":
        data = bytearray(state.read_bytes())
        data[len(data) // 2] ^= 1
        state.write_bytes(data)
    elif damage == "truncate":
        state.write_bytes(state.read_bytes()[:-7])
    elif damage == "remove":
        state.unlink()
    else:
        (checkpoint / "manifest.json").unlink()


def test_a_finished_run_is_not_run_again(world: tuple[Path, str]) -> None:
    folder, whole = world
    before = (folder / "whole" / "artifact.json").read_bytes()
    assert finish(folder, "whole") == whole
    assert (folder / "whole" / "artifact.json").read_bytes() == before


def test_a_second_process_on_the_same_output_is_refused(world: tuple[Path, str]) -> None:
    folder, whole = world
    first = start(folder, "twice")
    while not (folder / "twice.scratch" / "lock").exists() and first.poll() is None:
        time.sleep(0.01)
    assert start(folder, "twice").wait(timeout=240) == 1
    assert "[locked]" in (folder / "log.txt").read_text(encoding="utf-8")
    assert first.wait(timeout=240) == 0
    assert hashlib.sha256((folder / "twice" / "model.safetensors").read_bytes()).hexdigest() == whole
