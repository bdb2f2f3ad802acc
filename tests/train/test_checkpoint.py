"""Everything that must survive is in a checkpoint; only what verifies is taken up."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from pretune.base.errors import Damaged
from pretune.base.log import Log
from pretune.objective.labels import Labels
from pretune.train.loop import checkpoint
from pretune.train.loop.step import Scored, TrainState
from pretune.train.optim.settings import OPTIM
from pretune.train.optim.update import Update


def state(seed: int = 0) -> TrainState:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    return TrainState(model, Scored(model, Labels(kind="labels")), Update(model, OPTIM("adamw")), total=9)


def step(one: TrainState) -> None:
    one.model(torch.randn(5, 4)).square().sum().backward()
    one.step += 1
    one.updates += 1
    one.update.step(one.updates, 1.0)
    one.extra["best"] = {"loss": float(one.step)}


def test_everything_that_must_survive_survives(tmp_path: Path) -> None:
    first = state()
    for _ in range(3):
        step(first)
    checkpoint.save(first, tmp_path)
    draws = torch.rand(3)
    again = state(seed=5)
    assert checkpoint.resume(again, tmp_path, Log(quiet=True))
    assert torch.equal(torch.rand(3), draws), "the random state"
    assert (again.step, again.updates, again.extra) == (3, 3, {"best": {"loss": 3.0}})
    assert torch.equal(again.model[1].running_mean, first.model[1].running_mean), "buffers"
    assert all(torch.equal(again.update.state()[n], t) for n, t in first.update.state().items())


def test_the_last_two_are_kept(tmp_path: Path) -> None:
    one = state()
    for _ in range(4):
        step(one)
        checkpoint.save(one, tmp_path)
    assert [p.name for p in checkpoint.checkpoints(tmp_path)] == ["step-00000004", "step-00000003"]


def test_when_none_verifies_nothing_is_trained_again_in_silence(tmp_path: Path) -> None:
    one = state()
    step(one)
    (checkpoint.save(one, tmp_path) / "state.json").write_text("{}", encoding="utf-8")
    with pytest.raises(Damaged, match="none of 1"):
        checkpoint.resume(state(), tmp_path, Log(quiet=True))


def test_nan_is_never_taken_for_the_best() -> None:
    from pretune.task.choosing import is_better

    best = {"loss": 0.5, "accuracy": 0.8}
    assert not is_better({"loss": float("nan"), "accuracy": 1.0}, None, by="accuracy")
    assert not is_better({"loss": 0.1, "accuracy": float("nan")}, None, by="accuracy")
    assert is_better({"loss": 0.4, "accuracy": 0.8}, best, by="accuracy"), "among equals the lower loss"
    assert not is_better({"loss": 0.6, "accuracy": 0.8}, best, by="accuracy")
