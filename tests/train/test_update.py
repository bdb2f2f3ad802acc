"""Optimizers against oracles: torch's AdamW, and what orthogonal means."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from pretune.train.optim import OPTIM, rate_factor
from pretune.train.update import Update, orthogonal


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.LayerNorm(5), nn.Linear(5, 3)).double()


def gradients(model: nn.Module, step: int) -> None:
    torch.manual_seed(100 + step)
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)


def test_adamw_moves_like_torchs() -> None:
    ours, theirs = net(), net()
    settings = OPTIM({"kind": "adamw", "learning_rate": 0.01, "weight_decay": 0.1, "betas": (0.9, 0.99)})
    update = Update(ours, settings)
    decayed = [p for p in theirs.parameters() if p.dim() > 1]
    plain = [p for p in theirs.parameters() if p.dim() <= 1]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}]
    oracle = torch.optim.AdamW(groups, lr=0.01, betas=(0.9, 0.99), eps=1e-8)
    for step in range(6):
        gradients(ours, step)
        gradients(theirs, step)
        update.step(step + 1, 1.0)
        oracle.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", [(8, 8), (4, 12), (12, 4)])
def test_muon_makes_singular_values_of_one(shape: tuple[int, int]) -> None:
    torch.manual_seed(1)
    values = torch.linalg.svdvals(orthogonal(torch.randn(3, *shape).double()))
    assert (values > 0.85).all()
    assert (values < 1.15).all()


def test_bfloat16_weights_keep_steps_that_are_too_small_for_them() -> None:
    model = nn.Linear(4, 4, bias=False)
    nn.init.ones_(model.weight)
    update = Update(model, OPTIM({"kind": "adamw", "learning_rate": 1e-4, "weight_decay": 0.0}), narrow=torch.bfloat16)
    for step in range(100):  # each step moves by 1e-4, far below the 1/256 that bfloat16 can tell from 1
        model.weight.grad = torch.ones_like(model.weight)
        update.step(step + 1, 1.0)
    assert update.masters["weight"].mean().item() == pytest.approx(1 - 100 * 1e-4, abs=1e-5)
    assert model.weight.dtype == torch.bfloat16
    assert model.weight.float().mean().item() == pytest.approx(0.99, abs=4e-3)


def test_exact_weights_are_the_masters_and_the_narrow_ones_come_back() -> None:
    model = net().float()
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    update = Update(model, OPTIM("adamw"), narrow=torch.bfloat16)
    with update.exact_weights():
        for name, parameter in model.named_parameters():
            assert torch.equal(parameter, before[name])
    assert all(p.dtype == torch.bfloat16 for p in model.parameters())


def test_state_is_keyed_by_name_and_comes_back_whole() -> None:
    ours, again = net(), net()
    first, second = Update(ours, OPTIM("muon")), Update(again, OPTIM("muon"))
    gradients(ours, 0)
    first.step(1, 1.0)
    second.load({k: v.clone() for k, v in reversed(first.state().items())})
    for step in (1, 2):
        gradients(ours, step)
        gradients(again, step)
        first.step(step + 1, 0.5)
        second.step(step + 1, 0.5)
    for a, b in zip(ours.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_parameter_meant_to_train_that_gets_no_gradient_is_a_bug() -> None:
    model = net()
    update = Update(model, OPTIM("adamw"))
    gradients(model, 0)
    model[0].weight.grad = None
    with pytest.raises(AssertionError, match=r"no gradient: \['0\.weight'\]"):
        update.step(1, 1.0)


def test_rates_rise_over_the_warm_up_and_fall_to_nothing() -> None:
    linear = [rate_factor(s, total=10, warmup=0.2, schedule="linear") for s in range(10)]
    assert linear == pytest.approx([0.5, 1, 1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8])
    assert rate_factor(6, total=10, warmup=0.2, schedule="cosine") == pytest.approx(0.5 * (1 + math.cos(math.pi / 2)))
    assert rate_factor(9, total=10, warmup=0.0, schedule="constant") == 1
