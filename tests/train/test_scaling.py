"""precision=float16: the scale of the loss by arithmetic, what is skipped, what a checkpoint keeps. On the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from pretune.base.errors import NotSupported
from pretune.base.log import Log
from pretune.objective.objective import Objective
from pretune.testing.worlds import VOCABULARY, begun, case
from pretune.train.forecast.choosing import resolved_precision
from pretune.train.loop import checkpoint, scaling
from pretune.train.loop.runtime import Runtime
from pretune.train.loop.step import Scored, TrainState, take_step
from pretune.train.loop.stream import MicroBatches, RowStream
from pretune.train.optim.settings import OPTIM
from pretune.train.optim.update import Update


class Sloped(Objective):
    """The loss is `factor` times the sum of the weights: each weight's gradient is `factor`."""

    def sums(self, model: Any, batch: Mapping[str, torch.Tensor], step_wide: Any = None) -> dict[str, torch.Tensor]:
        return {"loss": (model.weight * batch["factor"].to(model.weight.dtype)).float().sum()}


def sloped(scale: float | None = None) -> TrainState:
    """Four weights in float16 with float32 masters."""
    model = nn.Linear(2, 2, bias=False)
    settings = OPTIM({"kind": "sgd", "learning_rate": 1.0, "clip": 1e9, "weight_decay": 0.0})
    update = Update(model, settings, compute_dtype=torch.float16)
    state = TrainState(model, Scored(model, Sloped()), update, total=9, scaling=scaling.begun("float16"))
    if scale is not None:
        state.scaling = {"scale": scale, "good": 0}
    return state


def step(state: TrainState, factor: float) -> Any:
    return take_step(state, Sloped(), [{"labels": torch.zeros(1), "factor": torch.tensor(factor)}], Runtime())


def test_the_scale_halves_at_an_overflow_and_doubles_after_2000_good_steps_on_end() -> None:
    one = scaling.begun("float16")
    assert one == {"scale": 65536.0, "good": 0}
    for _ in range(1999):
        one = scaling.after(one, finite=True)
    assert one == {"scale": 65536.0, "good": 1999}
    assert scaling.after(one, finite=True) == {"scale": 131072.0, "good": 0}
    assert scaling.after(one, finite=False) == {"scale": 32768.0, "good": 0}
    assert scaling.after({"scale": scaling.LEAST, "good": 5}, finite=False)["scale"] == scaling.LEAST
    assert scaling.begun("bfloat16") == scaling.after({}, finite=False) == {}


def test_a_gradient_too_small_for_float16_moves_the_weights_by_the_scale() -> None:
    """2e-8 is 0 in float16, whose smallest number is 6e-8; times 65,536 it is there."""
    plain, scaled = sloped(scale=1.0), sloped()
    for state in (plain, scaled):
        before = state.update.masters["weight"].clone()
        report = step_of_small(state)
        moved = (before - state.update.masters["weight"]).abs().max()
        assert report.taken
        assert (moved > 0) == (state is scaled)
    assert scaled.update.grad_scale == 65536.0


class Small(Sloped):
    """The gradient is 2e-8, made in the backward pass alone."""

    def sums(self, model: Any, batch: Mapping[str, torch.Tensor], step_wide: Any = None) -> dict[str, torch.Tensor]:
        return {"loss": (model.weight.float() * 2e-8).sum()}


def step_of_small(state: TrainState) -> Any:
    state.scored = Scored(state.model, Small())
    return take_step(state, Small(), [{"labels": torch.zeros(1), "factor": torch.tensor(1.0)}], Runtime())


def test_a_step_that_overflows_is_skipped_named_and_counts_as_no_refusal() -> None:
    """A gradient of 3 fits below 65,504 / 3: at scales of 65,536 and 32,768 it does not."""
    state = sloped()
    before = state.update.masters["weight"].clone()
    told = [step(state, 3.0) for _ in range(2)]
    assert [report.refused.partition(";")[0] for report in told] == [
        "a gradient times 65536 is too large for float16",
        "a gradient times 32768 is too large for float16",
    ]
    assert torch.equal(state.update.masters["weight"], before)
    assert (state.step, state.updates, state.refused) == (2, 0, 0)
    report = step(state, 3.0)
    assert report.taken
    assert state.scaling == {"scale": 16384.0, "good": 1}
    assert report.gradient_norm == 6.0, "four times 3, without the scale"


def test_a_loss_that_is_no_number_is_a_refusal_whatever_the_scale() -> None:
    state = sloped()
    assert "the loss 'loss' is nan" in (step(state, float("nan")).refused or "")
    assert state.refused == 1


def test_a_scale_changes_no_bit_in_a_wider_type() -> None:
    """A power of two only moves the exponent."""
    found = []
    for scale in ({}, {"scale": 1024.0, "good": 0}):
        model, objective, rows = case("causal")
        state = begun(model.float(), objective, None, steps=3)
        state.scaling = scale
        state.train()
        cut = MicroBatches(RowStream(rows, 8, seed=5), objective, VOCABULARY, 5, 4)
        norms = [take_step(state, objective, cut.batches(k), Runtime()).gradient_norm for k in range(3)]
        found.append(([p.detach().clone() for p in model.parameters()], norms))
    assert found[0][1] == found[1][1]
    assert all(map(torch.equal, found[0][0], found[1][0]))


def test_a_checkpoint_keeps_the_scale(tmp_path: Path) -> None:
    state, again = sloped(), sloped()
    step(state, 3.0)
    checkpoint.save(state, tmp_path)
    assert checkpoint.resume(again, tmp_path, Log(silent=True))
    assert again.scaling == state.scaling == {"scale": 32768.0, "good": 0}


def test_on_a_processor_float16_is_refused_with_the_reason() -> None:
    with pytest.raises(NotSupported, match="more slowly than in float32"):
        resolved_precision("float16", torch.device("cpu"), Log(silent=True))
