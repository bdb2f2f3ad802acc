"""A fine-tuning whose frozen blocks run once: the same weights, also after a stop; and why it computes them each time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import pretune
from pretune.api import Loaded
from pretune.base.errors import NotSupported, Stopped, WrongValue
from pretune.base.stage import Context, Forecast, Machine
from pretune.task.stage import FinetuneStage
from pretune.testing.bench import has_saved
from pretune.testing.roundtrips import WORLDS, write_base


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keeping")
    for task in ("classify", "prefer"):
        rows = [dict(row) for row in WORLDS[task].rows]
        for number, row in enumerate(rows if task == "prefer" else []):
            row["rejected"] += " hat" * (number % 4)  # pairs are padded to the longest of their batch
        (folder / f"{task}.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return folder


def tuned(
    world: Path, name: str, method: Any, *, base: str = "bert-labels", task: Any = "classify", **more: Any
) -> Loaded:
    settings: dict[str, Any] = {"task": task, "method": method, "batch": 8, "steps": 18, "max_length": 48}
    settings |= {"optim": {"kind": "sgd", "learning_rate": 0.05}, "precision": "float32", "evaluate_every": 6}
    data = world / f"{task if isinstance(task, str) else task['kind']}.jsonl"
    return pretune.fine_tune(write_base(world, base), data, out=world / name, **settings | more)


def weights(found: Loaded) -> dict[str, torch.Tensor]:
    return load_file(found.path / "model.safetensors")


@pytest.mark.parametrize("method", ["freeze", "head"])
def test_what_is_kept_trains_the_same_model_and_is_gone_with_the_run(
    world: Path, method: str, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tuned(world, f"kept-{method}", method)
    told = capsys.readouterr().err
    depth = {"freeze": 1, "head": 2}[method]
    assert all(f"{split}: outputs of {depth} frozen blocks are kept" in told for split in ("train", "validation"))
    usual = tuned(world, f"usual-{method}", {"kind": method, "keep": "no"})
    assert "frozen blocks" not in capsys.readouterr().err
    assert "kept outputs" in kept.metrics["seconds_of"] and "kept outputs" not in usual.metrics["seconds_of"]
    a, b = weights(kept), weights(usual)
    assert max(float((a[n] - b[n]).abs().max()) for n in a) <= 1e-5
    assert kept.metrics["validation_loss"] == pytest.approx(usual.metrics["validation_loss"], abs=1e-5)
    assert not [path for path in kept.path.rglob("*") if path.suffix == ".bin"]


@pytest.mark.parametrize("method", ["freeze", "unfreeze"])
def test_a_run_that_was_stopped_uses_what_was_kept_and_ends_with_the_same_bits(
    world: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: dict[str, Any] = {"optim": {"kind": "adamw"}, "save_every": 9}
    whole = tuned(world, f"whole-{method}", method, **settings)
    with monkeypatch.context() as at_once:
        at_once.setattr(Context, "stop", property(lambda self: has_saved(self.scratch)))
        with pytest.raises(Stopped):
            tuned(world, f"stopped-{method}", method, **settings)
    again = tuned(world, f"stopped-{method}", method, **settings)
    assert "kept outputs" not in again.metrics["seconds_of"], "nothing was computed again"
    assert (again.path / "model.safetensors").read_bytes() == (whole.path / "model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"base": "roberta-labels"}, "a roberta model cannot begin in the middle"),
        ({"steps": 4}, "no row is read twice"),
        ({"base": "qwen3-chat", "task": "prefer"}, "what the model reads of a row is not the same each time"),
    ],
)
def test_why_outputs_are_not_kept_is_said(
    world: Path, settings: dict[str, Any], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tuned(world, f"not-{len(why)}", "freeze", **settings)
    assert f"outputs of the frozen blocks are not kept: {why}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("method", "base", "error"),
    [({"kind": "freeze", "blocks": 3}, "bert-labels", WrongValue), ("bitfit", "qwen3", NotSupported)],
)
def test_what_the_base_cannot_do_is_refused_by_plan_and_by_run_before_anything_is_chosen(
    world: Path, method: Any, base: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        tuned(world, "refused", method, base=base)
    assert not (world / "refused.scratch" / "choices.json").exists()
    stage = FinetuneStage.model_validate({"kind": "finetune", "model": "m", "data": "d", "task": "classify", "method": method})  # fmt: skip
    config = json.loads((write_base(world, base) / "config.json").read_text(encoding="utf-8"))
    with pytest.raises(error):
        stage.forecast({"model": Forecast(config=config, parameters=1e4), "data": Forecast(tokens=100)}, Machine.here())
