"""Optimizers against oracles: torch's own, or the paper's formula by hand; averages by arithmetic."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from pretune.objective.objective import OBJECTIVE
from pretune.testing.worlds import LENGTH, VOCABULARY, packed_rows, tiny
from pretune.train.loop.runtime import Runtime
from pretune.train.loop.step import Scored, TrainState, take_step
from pretune.train.loop.stream import MicroBatches, RowStream
from pretune.train.optim.settings import OPTIM
from pretune.train.optim.update import Update
from pretune.train.optim.update_rules import orthogonal


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.LayerNorm(5), nn.Linear(5, 3)).double()


def gradients(model: nn.Module, step: int) -> None:
    torch.manual_seed(100 + step)
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)


def follow(ours: nn.Module, theirs: nn.Module, update: Update, oracle: torch.optim.Optimizer, steps: int = 6) -> None:
    """Move both by the same gradients; they must end at the same weights."""
    for step in range(steps):
        gradients(ours, step)
        gradients(theirs, step)
        update.step(step + 1, 1.0)
        oracle.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(a, b, rtol=1e-12, atol=1e-12)


def test_adamw_moves_like_torchs() -> None:
    ours, theirs = net(), net()
    settings = OPTIM({"kind": "adamw", "learning_rate": 0.01, "weight_decay": 0.1, "betas": (0.9, 0.99)})
    update = Update(ours, settings)
    decayed = [p for p in theirs.parameters() if p.dim() > 1]
    plain = [p for p in theirs.parameters() if p.dim() <= 1]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}]
    oracle = torch.optim.AdamW(groups, lr=0.01, betas=(0.9, 0.99), eps=1e-8)
    follow(ours, theirs, update, oracle)


@pytest.mark.parametrize("shape", [(8, 8), (4, 12), (12, 4)])
def test_muon_makes_singular_values_of_one(shape: tuple[int, int]) -> None:
    torch.manual_seed(1)
    values = torch.linalg.svdvals(orthogonal(torch.randn(3, *shape).double(), torch.float64))
    assert (values > 0.85).all()
    assert (values < 1.15).all()


def test_bfloat16_weights_keep_steps_that_are_too_small_for_them() -> None:
    model = nn.Linear(4, 4, bias=False)
    nn.init.ones_(model.weight)
    update = Update(
        model, OPTIM({"kind": "adamw", "learning_rate": 1e-4, "weight_decay": 0.0}), compute_dtype=torch.bfloat16
    )
    for step in range(100):  # each step moves by 1e-4, far below the 1/256 that bfloat16 can tell from 1
        model.weight.grad = torch.ones_like(model.weight)
        update.step(step + 1, 1.0)
    assert update.masters["weight"].mean().item() == pytest.approx(1 - 100 * 1e-4, abs=1e-5)
    assert model.weight.dtype == torch.bfloat16
    assert model.weight.float().mean().item() == pytest.approx(0.99, abs=4e-3)


def test_exact_weights_are_the_masters_and_the_narrow_ones_come_back() -> None:
    model = net().float()
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    update = Update(model, OPTIM("adamw"), compute_dtype=torch.bfloat16)
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


# ---- the other optimizers -----------------------------------------------------------------------

ORACLES = {
    "sgd": ({"momentum": 0.9, "nesterov": True}, lambda p: torch.optim.SGD(p, 0.01, momentum=0.9, nesterov=True)),
    "sgd, plain": ({"momentum": 0.9, "nesterov": False}, lambda p: torch.optim.SGD(p, 0.01, momentum=0.9)),
    "adagrad": ({}, lambda p: torch.optim.Adagrad(p, 0.01)),
    "adafactor": ({}, lambda p: torch.optim.Adafactor(p, 0.01)),
}


@pytest.mark.parametrize("name", ORACLES)
def test_an_optimizer_moves_like_torchs(name: str) -> None:
    settings, oracle_of = ORACLES[name]
    ours, theirs = net(), net()
    kind = name.partition(",")[0]
    update = Update(ours, OPTIM({"kind": kind, "learning_rate": 0.01, "weight_decay": 0.0, **settings}))
    oracle = oracle_of(theirs.parameters())
    follow(ours, theirs, update, oracle)


def test_adafactors_decay_is_torchs() -> None:
    ours, theirs = net(), net()
    update = Update(ours, OPTIM({"kind": "adafactor", "learning_rate": 0.01, "weight_decay": 0.1}))
    groups = [{"params": [p], "weight_decay": 0.1 if p.dim() > 1 else 0.0} for p in theirs.parameters()]
    oracle = torch.optim.Adafactor(groups, 0.01)
    follow(ours, theirs, update, oracle)


def one_weight(settings: dict[str, object], grads: list[float], start: float = 2.0) -> tuple[Update, list[float]]:
    """A 1 x 1 matrix moved by these gradients; its value after each step."""
    model = nn.Linear(1, 1, bias=False).double()
    nn.init.constant_(model.weight, start)
    update, values = Update(model, OPTIM(settings)), []
    for number, grad in enumerate(grads, 1):
        model.weight.grad = torch.full_like(model.weight, grad)
        update.step(number, 1.0)
        values.append(model.weight.item())
    return update, values


def test_lion_by_hand() -> None:
    _, values = one_weight({"kind": "lion", "learning_rate": 0.1, "weight_decay": 0.5}, [1.0, -0.05, -3.0])
    # momentum 0, .01, .0094; the sign of .9 m + .1 g is +, +, -; each step first shrinks by 0.1 * 0.5
    first = 2.0 * 0.95 - 0.1
    second = first * 0.95 - 0.1
    assert values == pytest.approx([first, second, second * 0.95 + 0.1], rel=1e-12)


def test_schedule_free_by_hand() -> None:
    beta, second, rate, eps, decay = 0.9, 0.99, 0.1, 1e-8, 0.2
    grads = [1.0, -2.0, 0.5, 0.25]
    settings = {"kind": "schedule-free", "learning_rate": rate, "weight_decay": decay}
    update, values = one_weight(settings, grads)
    x = z = y = 2.0  # the paper's own three sequences: x averages z, gradients are taken at y between them
    v = 0.0
    for number, grad in enumerate(grads, 1):
        v = second * v + (1 - second) * grad**2
        z -= rate * (grad / (math.sqrt(v / (1 - second**number)) + eps) + decay * y)
        x += (z - x) / number
        y = (1 - beta) * z + beta * x
        assert values[number - 1] == pytest.approx(y, rel=1e-12)
    assert update.final()["weight"].item() == pytest.approx(x, rel=1e-12)


def test_cautious_decay_leaves_alone_what_the_move_makes_larger() -> None:
    torch.manual_seed(3)
    plain, careful = nn.Linear(6, 4, bias=False).double(), nn.Linear(6, 4, bias=False).double()
    careful.load_state_dict(plain.state_dict())
    before = plain.weight.detach().clone()
    for model, cautious in ((plain, False), (careful, True)):
        torch.manual_seed(4)
        model.weight.grad = torch.randn_like(model.weight)
        settings = {"kind": "muon", "weight_decay": 0.5, "matrix_rate": 0.1, "cautious": cautious}
        Update(model, OPTIM(settings)).step(1, 1.0)
    move = plain.weight - before * 0.95  # what Muon added, after plain decay
    shrinks = before * move < 0
    wanted = torch.where(shrinks, plain.weight, before + move)
    assert torch.allclose(careful.weight, wanted, rtol=1e-12, atol=1e-12)


def test_momentum_rises_over_its_warm_up() -> None:
    from pretune.train.optim.update_rules import _momentum

    settings = OPTIM({"kind": "muon", "momentum": 0.95, "momentum_warmup": 10})
    assert [_momentum(n, settings) for n in (1, 6, 11, 50)] == pytest.approx([0.85, 0.90, 0.95, 0.95])


@pytest.mark.parametrize("kind", ["adafactor", "adagrad", "lion", "schedule-free", "sgd"])
def test_moments_come_back_whole_by_name(kind: str) -> None:
    settings = OPTIM({"kind": kind, "average": "ema"})
    ours, again = net(), net()
    first, second = Update(ours, settings), Update(again, settings)
    gradients(ours, 0)
    first.step(1, 1.0)
    second.load({k: v.clone() for k, v in reversed(first.state().items())})
    for step in (1, 2):
        gradients(ours, step)
        gradients(again, step)
        first.step(step + 1, 0.5, average=0.3)
        second.step(step + 1, 0.5, average=0.3)
    assert all(torch.equal(tensor, second.state()[name]) for name, tensor in first.state().items())


# ---- averages -----------------------------------------------------------------------------------


def moved(average: dict[str, object], number: int) -> tuple[list[float], float]:
    """The weight after each of `number` steps, and what is saved."""
    settings = OPTIM({"kind": "sgd", "momentum": 0.0, "learning_rate": 1.0, "weight_decay": 0.0, "average": average})
    model = nn.Linear(1, 1, bias=False).double()
    update, values = Update(model, settings), []
    for step in range(number):
        model.weight.grad = torch.full_like(model.weight, float(step))
        update.step(step + 1, 1.0, average=settings.average.share(step, number))
        values.append(model.weight.item())
    with update.exact_weights():
        return values, model.weight.item()


def test_tail_is_the_mean_of_the_last_steps() -> None:
    values, saved = moved({"kind": "tail", "last": 0.3}, 10)
    assert saved == pytest.approx(sum(values[-3:]) / 3, rel=1e-12)


def test_ema_forgets_early_weights_sooner() -> None:
    values, saved = moved({"kind": "ema", "decay": 0.5}, 30)
    by_hand = values[0]
    for step, value in enumerate(values[1:], 1):
        keep = min(0.5, step / (step + 10))
        by_hand = keep * by_hand + (1 - keep) * value
    assert saved == pytest.approx(by_hand, rel=1e-12)


def test_without_an_average_the_last_weights_are_saved() -> None:
    values, saved = moved({"kind": "none"}, 4)
    assert saved == values[-1]


def test_the_best_weights_are_final_whatever_was_averaged() -> None:
    model = net()
    update = Update(model, OPTIM({"kind": "schedule-free", "average": "ema"}))
    best = {n: p.detach().clone() for n, p in model.named_parameters()}
    gradients(model, 0)
    update.step(1, 1.0, average=0.5)
    update.replace(best)
    assert all(torch.equal(best[n], tensor) for n, tensor in update.final().items())


# ---- schedules ----------------------------------------------------------------------------------


def factors(schedule: object, warmup: float, total: int = 10) -> list[float]:
    optim = OPTIM({"kind": "adamw", "schedule": schedule, "warmup": warmup})
    return [optim.rate_factor(step, total) for step in range(total)]


def test_rates_rise_over_the_warm_up_and_fall_to_nothing() -> None:
    assert factors("linear", 0.2) == pytest.approx([0.5, 1, 1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8])
    assert factors("cosine", 0.2)[6] == pytest.approx(0.5 * (1 + math.cos(math.pi / 2)))
    assert factors("constant", 0.0)[9] == 1


def test_a_warm_up_of_one_or_more_is_a_number_of_steps() -> None:
    assert factors("constant", 4)[:5] == pytest.approx([0.25, 0.5, 0.75, 1, 1])
    assert factors("linear", 2) == factors("linear", 0.2)
    assert factors("constant", 100) == pytest.approx([(k + 1) / 10 for k in range(10)])  # longer than the run


def test_wsd_holds_the_peak_and_falls_by_one_minus_a_root() -> None:
    found = factors({"kind": "wsd", "decay": 0.4}, 0.0)
    assert found == pytest.approx([1] * 7 + [1 - math.sqrt(k / 4) for k in (1, 2, 3)])


def test_inverse_sqrt_halves_where_four_times_the_warm_up_has_passed() -> None:
    found = factors("inverse-sqrt", 100, total=1000)
    assert found[99] == 1
    assert found[400] == pytest.approx(math.sqrt(100 / 400), rel=1e-3)
    assert found[900] == pytest.approx(math.sqrt(100 / 900), rel=1e-3)


def test_polynomial_and_floors() -> None:
    assert factors({"kind": "polynomial", "power": 2, "floor": 0.1}, 0.0)[5] == pytest.approx(0.1 + 0.9 * 0.25)
    assert factors({"kind": "linear", "floor": 0.5}, 0.0)[5] == pytest.approx(0.75)
    assert factors({"kind": "cosine", "floor": 0.1}, 0.0)[5] == pytest.approx(0.1 + 0.9 * 0.5)


def test_a_method_may_let_weights_move_later_and_others_from_the_first_step() -> None:
    model = tiny("gpt2").float()
    objective = OBJECTIVE("causal")
    names = [n for n, _ in model.named_parameters()]
    late = {n for n in names if ".h.0." in n}
    state = TrainState(model, Scored(model, objective), Update(model, OPTIM("adamw")), total=3)
    state.trained_at = lambda step: [n for n in names if n not in late or step >= 2]
    cut = MicroBatches(RowStream(packed_rows(8, LENGTH + 1), 8, seed=5), objective, VOCABULARY, 5, 8)
    moved = []
    for step in range(3):
        before = {n: p.detach().clone() for n, p in model.named_parameters()}
        assert take_step(state, objective, cut.batches(step), Runtime()).taken
        moved.append({n for n, p in model.named_parameters() if not torch.equal(p, before[n])})
    assert moved[0] == moved[1] == set(names) - late
    assert moved[2] == set(names)
