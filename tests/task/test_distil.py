"""Learning a task, or text, from a teacher, as whole runs: what is kept of the teacher, and who is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import pretune
from pretune.api import Loaded
from tests.roundtrips import WORLDS, write_base

CELLS = (("classify", "bert-labels"), ("chat", "qwen3-chat"))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("distil")


def tuned(world: Path, name: str, task: str, base: str, **more: Any) -> Loaded:
    data = world / f"{task}.jsonl"
    data.write_text("\n".join(json.dumps(row) for row in WORLDS[task].rows), encoding="utf-8")
    usual: dict[str, Any] = {"task": task, "steps": 4, "batch": 8, "max_length": 48, "precision": "float32"}
    usual |= {"optim": {"kind": "adamw", "learning_rate": 3e-3}, "quiet": True, **WORLDS[task].settings}
    return pretune.fine_tune(write_base(world, base), data, out=world / name, **usual | more)


def taught(teacher: Loaded, **settings: Any) -> dict[str, Any]:
    return {"kind": "distil", "teacher": str(teacher.path), **settings}


def weights(found: Loaded) -> dict[str, torch.Tensor]:
    return load_file(found.path / "model.safetensors")


def apart(one: Loaded, other: Loaded) -> float:
    a, b = weights(one), weights(other)
    assert a.keys() == b.keys()
    return max(float((a[n] - b[n]).abs().max()) for n in a)


@pytest.mark.parametrize(("task", "base"), CELLS)
def test_a_teacher_whose_answers_are_kept_teaches_as_one_that_is_asked_each_time(
    world: Path, task: str, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher, cell = tuned(world, f"{task}-{base}", task, base), f"{task}-{base}"
    told = taught(teacher, top_k=5 if task in ("chat", "seq2seq") else None)
    kept = tuned(world, f"{cell}-kept", task, base, objective=told)
    with monkeypatch.context() as little:
        little.setattr("pretune.train.run.teaching.MOST_KEPT", 0)
        asked = tuned(world, f"{cell}-asked", task, base, objective=told)
    assert apart(kept, asked) < 1e-5
