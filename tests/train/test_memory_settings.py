"""Eight-bit moments, offload and checkpointed blocks against the same run without them; what is forecast."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from pretune.model.build import build_model
from pretune.model.checkpointing import checkpoint_blocks
from pretune.model.families import family_of
from pretune.model.shape import SHAPE
from pretune.objective.objective import OBJECTIVE
from pretune.testing.worlds import CASES, LENGTH, SPECIALS, VOCABULARY, case, largest_difference, packed_rows, tiny
from pretune.train.forecast.dry_run import dry_run
from pretune.train.forecast.plan import GAPS, Plan, checkpointed, fitting_micro, step_bytes
from pretune.train.loop.runtime import Runtime
from pretune.train.loop.step import Scored, TrainState, gathered, take_step
from pretune.train.loop.stream import MicroBatches, RowStream
from pretune.train.optim.moments import is_packed, pack, unpack
from pretune.train.optim.settings import OPTIM
from pretune.train.optim.update import Update

# ---- checkpointed blocks ---------------------------------------------------------------------------


def gradient_of(name: str, *, blocks: int | None, dropout: float) -> dict[str, torch.Tensor]:
    model, objective, rows = case(name)
    model.train()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = dropout
    if blocks != 0:
        assert checkpoint_blocks(model, blocks) == sum(map(len, family_of(model).stacks(model)))
    torch.manual_seed(3)
    batch = MicroBatches(RowStream(rows, 8, seed=5), objective, VOCABULARY, 5, 8).batches(0)[0]
    (wide,) = gathered(model, objective, [batch], Runtime(), alone=True)
    terms = [value for value in objective.sums(model, batch, wide).values() if value.requires_grad]
    torch.stack(terms).sum().backward()
    return {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("name", [name for name in CASES if name not in ("bag", "cnn", "lstm")])  # they have no blocks
@pytest.mark.parametrize("blocks", [None, 1])
def test_recomputed_blocks_give_the_gradients_of_kept_ones_dropout_and_all(name: str, blocks: int | None) -> None:
    kept = gradient_of(name, blocks=0, dropout=0.2)
    assert largest_difference(kept, gradient_of(name, blocks=blocks, dropout=0.2)) < 1e-12


# ---- eight bits ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["first", "second"])
def test_eight_bits_keep_a_number_to_a_few_per_cent_and_its_sign(kind: str) -> None:
    """Between two values of dynamic tree quantisation with n parts to a decade lie 0.9 / n of it: halved, 0.7 % near
    the block's largest number, and always less than a thirtieth of it."""
    torch.manual_seed(0)
    moment = torch.randn(64, 256) * torch.logspace(-6, 2, 64)[:, None]
    moment = moment.square() if kind == "second" else moment
    again = unpack(*pack(moment, kind), kind, moment)
    largest = moment.abs().amax(dim=1, keepdim=True)
    assert ((again - moment).abs() / largest).max() < 0.015
    near = moment.abs() > 0.5 * largest
    assert ((again - moment).abs() / moment.abs())[near].max() < 0.015
    assert (again * moment >= 0).all()
    codes, scales = pack(moment, kind)
    assert (codes.numel() + 4 * scales.numel()) / (4 * moment.numel()) < 0.26


class Line(nn.Module):
    """A regression: 64 x 64 numbers to be found."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.weight = nn.Parameter(torch.randn(64, 64) / 8)


def regression(optim: str, moments: str, *, steps: int = 100, resumed_at: int | None = None) -> tuple[float, Any]:
    """(loss at the end, weights) of a regression by mini-batches of a fixed order."""
    model, settings = Line(), OPTIM({"kind": optim, "learning_rate": 0.01, "moments": moments, "weight_decay": 0.0})
    update = Update(model, settings)
    torch.manual_seed(1)
    inputs, goal = torch.randn(512, 64), torch.randn(64, 64) / 8
    loss = torch.zeros(())
    for step in range(steps):
        part = inputs[step * 32 % 512 :][:32]
        loss = (part @ (model.weight - goal)).square().mean() + 0.1 * (model.weight - goal).square().mean()
        loss.backward()
        update.gradient_norm()
        update.step(step + 1, 1.0)
        if step + 1 == resumed_at:
            state = {name: tensor.clone() for name, tensor in update.state().items()}
            model = Line()
            update = Update(model, settings)
            update.load(state)
    return float((model.weight.detach() - goal).square().mean()), model.weight.detach()


@pytest.mark.parametrize("optim", ["adamw", "lion", "adagrad"])
def test_eight_bit_moments_learn_what_full_ones_learn(optim: str) -> None:
    """What is left of the distance to the goal, which is 2 / 64 at the start (two random matrices, each / 8)."""
    (full, _), (packed, _) = (regression(optim, moments) for moments in ("float32", "8bit"))
    assert full < 0.5 * 2 / 64
    assert packed == pytest.approx(full, rel=0.15)


def test_eight_bit_moments_come_back_from_a_checkpoint_bit_by_bit() -> None:
    whole, resumed = (regression("adamw", "8bit", steps=12, resumed_at=at)[1] for at in (None, 7))
    assert torch.equal(whole, resumed)
    assert is_packed("first", torch.zeros(64, 64)) and not is_packed("first", torch.zeros(8, 8))
    assert not is_packed("path", torch.zeros(64, 64))


# ---- offload -------------------------------------------------------------------------------------


@pytest.mark.parametrize("offload", ["disk", "cpu"])
@pytest.mark.parametrize("compute_dtype", [None, torch.bfloat16])
def test_masters_and_moments_that_lie_elsewhere_move_the_same(
    offload: str, compute_dtype: torch.dtype | None, tmp_path: Path
) -> None:
    found = []
    for place in ("none", offload):
        model = tiny("gpt2").float()
        update = Update(model, OPTIM({"kind": "muon", "offload": place}), compute_dtype=compute_dtype, folder=tmp_path)
        state = TrainState(model, Scored(model, OBJECTIVE("causal")), update, total=4)
        cut = MicroBatches(RowStream(packed_rows(8, LENGTH + 1), 8, seed=5), OBJECTIVE("causal"), VOCABULARY, 5, 4)
        for step in range(4):
            take_step(state, OBJECTIVE("causal"), cut.batches(step), Runtime())
        found.append({n: t.clone() for n, t in update.final().items()})
    assert largest_difference(*found) == 0.0
    files = {path.name.partition("-")[0] for path in tmp_path.glob("*.bin")}
    assert files == ({"master", "first", "second", "momentum"} if offload == "disk" else set())


# ---- what is forecast ----------------------------------------------------------------------------


def plan(*, blocks: int = 0, length: int = 32, layers: int = 2) -> Plan:
    objective = OBJECTIVE("causal")

    def build() -> TrainState:
        shape = SHAPE({"kind": "gpt2", "layers": layers, "width": 32, "heads": 2})
        model = build_model(shape, "next", vocab_size=40, max_length=32, specials=SPECIALS, seed=0)
        if blocks:
            checkpoint_blocks(model, blocks)
        return TrainState(model, Scored(model, objective), Update(model, OPTIM("adamw")), total=9)

    return Plan(build, objective, VOCABULARY, length=length, batch=32, keeps_freed=not blocks)


def test_a_dry_run_counts_weights_moments_and_gradients_to_the_byte() -> None:
    """By hand: 8 x 4 weights and 2 x 4 inputs in float32, two labels. At rest: weights, two moments, the batch, a norm."""
    weight, inputs = 8 * 4 * 4, 2 * 4 * 4

    class Linear(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(8, 4))

    class Square(OBJECTIVE("causal").__class__):  # type: ignore[misc]
        def sums(self, model: Any, batch: Any, step_wide: Any = None) -> Any:
            return {"loss": (batch["x"] @ model.weight.T).sum()}

    def build() -> TrainState:
        model = Linear()
        objective = Square(kind="causal")
        return TrainState(model, Scored(model, objective), Update(model, OPTIM("adamw")), total=9)

    batch = {"x": torch.ones(2, 4), "labels": torch.zeros(2, dtype=torch.long)}
    (found,) = dry_run(build, Square(kind="causal"), [[batch]])
    labels, norm = 2 * 8, 4
    assert found.resting_bytes == 3 * weight + inputs + labels + norm
    assert found.peak_bytes >= 4 * weight + inputs
    assert found.flops == 2 * (2 * 2 * 4 * 8), "forward and the gradient of the weights: [2, 4] x [4, 8] each"


def test_a_dry_run_draws_no_random_number_and_leaves_no_memory() -> None:
    torch.manual_seed(4)
    before = torch.get_rng_state()
    step_bytes(plan(), 2)
    assert torch.equal(before, torch.get_rng_state())


def test_more_rows_take_more_memory_in_a_line_and_recomputed_blocks_less() -> None:
    sizes = [taken.peak_bytes for taken in plan().dry_run((8, 1), (16, 1), (32, 1))]
    assert sizes[2] - sizes[1] == pytest.approx(2 * (sizes[1] - sizes[0]), rel=0.02)
    assert plan(blocks=2).dry_run((32, 1))[0].peak_bytes < 0.85 * sizes[2]


def test_the_line_through_two_dry_runs_tells_what_a_third_finds() -> None:
    memory, flops = plan().lines(32)
    middle = plan().dry_run((16, 1))[0]
    assert memory.at(16) == pytest.approx(middle.peak_bytes, rel=0.02)
    assert flops.at(16) == pytest.approx(middle.flops, rel=0.02)


def test_as_many_rows_as_fit_are_taken_and_one_at_least() -> None:
    some = plan()
    assert fitting_micro(some, 32, 1e12) == 32
    assert fitting_micro(some, 32, step_bytes(some, 32) - 1.0) == 31
    assert fitting_micro(some, 32, GAPS * some.lines(32)[0].at(8.5)) == 8
    assert fitting_micro(some, 32, 0.0) == 1


def test_a_step_that_is_not_recomputed_is_reckoned_with_gaps_on_a_processor() -> None:
    assert plan().gaps == GAPS
    assert plan(blocks=2).gaps == 1.0


def test_multiplications_of_a_dry_step_are_those_of_the_formula() -> None:
    """6 a weight that multiplies and token, and attention's 12 x layers x width x length, of which the blocks that
    nobody sees are left out in ours but not at 32 tokens; AdamW multiplies no matrices."""
    shape = SHAPE({"kind": "gpt2", "layers": 2, "width": 32, "heads": 2})
    told = shape.layout().flops_per_token(40, 32) * 32 * 8
    assert plan().dry_run((8, 1))[0].flops == pytest.approx(told, rel=0.05)


def test_as_many_blocks_are_recomputed_as_are_needed_to_fit() -> None:
    def of(blocks: int) -> Plan:
        return plan(blocks=blocks, layers=3)

    assert checkpointed("none", of, 3, 32, 0.0) == 0
    assert checkpointed("full", of, 3, 32, 1e12) == 3
    assert checkpointed("auto", of, 3, 32, 1e12) == 0
    needed = [step_bytes(of(n), 32) for n in range(4)]
    assert needed == sorted(needed, reverse=True) and needed[3] < 0.8 * needed[0]
    assert [checkpointed("auto", of, 3, 32, needed[n] + 1.0) for n in (1, 2)] == [1, 2]
