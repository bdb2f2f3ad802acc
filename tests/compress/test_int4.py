"""Sixteen steps a group: by hand, against GGUF's own, and never worse by GPTQ."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pretune.compress.calibration import Calibration, error_of
from pretune.compress.compressor import Work
from pretune.compress.gptq import factor, gptq
from pretune.compress.grid import Grid, grid_of, read_grids, size_of
from pretune.compress.int4 import Int4
from pretune.compress.learning import distance, far, learn
from pretune.compress.quantise import INT4_SCALES, INT4_ZEROS, SCALES, read_scales
from pretune.testing.folders import build

DRAW = torch.Generator().manual_seed(0)
WEIGHT_OI = torch.randn(24, 72, generator=DRAW) * 0.05
TEXT = Calibration([{"input_ids": torch.randint(6, 300, (1, 12), generator=DRAW)} for _ in range(6)])


def correlated(inputs: int = 72) -> torch.Tensor:
    """X'X / N of inputs that know much of each other."""
    x_NI = torch.randn(400, 20, generator=DRAW) @ torch.randn(20, inputs, generator=DRAW)
    x_NI += 0.3 * torch.randn(x_NI.shape, generator=DRAW)
    return x_NI.T @ x_NI / 400


def test_a_group_by_hand() -> None:
    weight = torch.tensor([[0.8, -0.3, 0.1, 0.4]])
    found = grid_of(weight, 4, symmetric=True)
    assert float(found.scales_OG) == pytest.approx(-0.1, rel=2**-11)
    assert found.numbers(weight).tolist() == [[0, 11, 7, 4]]
    torch.testing.assert_close(found.nearest(weight), torch.tensor([[0.8, -0.3, 0.1, 0.4]]), rtol=2**-10, atol=0)
    ends = grid_of(torch.tensor([[0.0, 3.0, 1.5, -12.0]]), 4, symmetric=False)
    assert (float(ends.scales_OG), float(ends.zeros_OG)) == (1.0, 12.0)
    assert ends.numbers(torch.tensor([[0.0, 3.0, 1.4, -12.0]])).tolist() == [[12, 15, 13, 0]]


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("size", [32, 64])
def test_rounding_twice_changes_nothing_and_is_exact(size: int, symmetric: bool) -> None:
    once = grid_of(WEIGHT_OI, size, symmetric=symmetric)
    rounded = once.nearest(WEIGHT_OI)
    assert torch.equal(once.nearest(rounded), rounded)
    assert torch.equal(once.weights(once.numbers(rounded)), rounded)
    exact = Grid(once.scales_OG.double(), once.zeros_OG.double(), size).weights(once.numbers(WEIGHT_OI).double())
    assert torch.equal(exact, rounded.double())
    assert torch.equal(once.scales_OG.half().float(), once.scales_OG)


def test_a_symmetric_group_loses_no_more_squares_than_with_its_largest_weight_on_a_step() -> None:
    groups = WEIGHT_OI[:, :64].reshape(-1, 32)
    largest = groups.gather(1, groups.abs().argmax(1, keepdim=True)) / -8  # GGUF's Q4_0
    plain = Grid(largest.half().float(), torch.full_like(largest, 8), 32).nearest(groups)
    ours = grid_of(groups, 32, symmetric=True).nearest(groups)
    before, after = ((rounded - groups).square().sum(1) for rounded in (plain, ours))
    assert (after <= before * 1.001).all()  # float16 moves a scale by at most 2 ** -11 of it
    assert after.sum() < 0.95 * before.sum()


@pytest.mark.parametrize(
    ("inputs", "groups", "size"), [(288, 9, 32), (288, 5, 64), (288, 3, 128), (32, 1, 32), (8, 1, 32)]
)
def test_the_size_of_groups_follows_from_their_number(inputs: int, groups: int, size: int) -> None:
    assert size_of(inputs, groups) == size


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("size", [32, 64])
def test_gptq_is_never_above_the_nearest_step_and_here_below(size: int, symmetric: bool) -> None:
    moment_II = correlated()
    numbers, grid, is_ours = gptq(WEIGHT_OI, moment_II, size, symmetric=symmetric)
    nearest = grid_of(WEIGHT_OI, size, symmetric=symmetric).nearest(WEIGHT_OI)
    ours, theirs = (error_of(rounded - WEIGHT_OI, moment_II) for rounded in (grid.weights(numbers), nearest))
    assert is_ours
    assert ours < 0.7 * theirs


def test_whole_numbers_take_a_byte_until_they_are_written() -> None:
    """As float32 those of all matrices were one more model in memory."""
    (numbers, grid, _), plain = (
        gptq(WEIGHT_OI, correlated(), 32, symmetric=True),
        grid_of(WEIGHT_OI, 32, symmetric=True),
    )
    for found in (numbers, plain.numbers(WEIGHT_OI), grid.numbers(WEIGHT_OI)):
        assert found.nbytes == WEIGHT_OI.numel() and int(found.max()) <= 15


def test_gptq_of_inputs_that_know_nothing_of_each_other_is_the_nearest_step() -> None:
    numbers, grid, _ = gptq(WEIGHT_OI, torch.eye(72), 32, symmetric=True)
    nearest = grid_of(WEIGHT_OI, 32, symmetric=True)
    assert torch.equal(grid.weights(numbers), nearest.nearest(WEIGHT_OI))


def test_the_factor_gives_back_the_inverse() -> None:
    moment_II = correlated(20).double()
    damped = moment_II + 0.01 * moment_II.diagonal().mean() * torch.eye(20)
    upper = factor(moment_II)
    torch.testing.assert_close(upper.T @ upper @ damped, torch.eye(20, dtype=torch.float64), rtol=1e-8, atol=1e-8)


def test_a_model_that_is_its_teacher_is_at_zero_with_no_gradient() -> None:
    model = build("qwen3")
    assert distance(model, model, TEXT) == pytest.approx(0, abs=1e-7)
    far(model, model, TEXT.rows[0]).backward()
    assert max(float(p.grad.abs().max()) for p in model.parameters() if p.grad is not None) < 1e-6


@pytest.mark.parametrize("kind", ["gpt2", "qwen3"])
@pytest.mark.parametrize("symmetric", [True, False])
def test_the_files_hold_what_every_weight_of_the_folder_is(
    kind: str, symmetric: bool, model_folder: Callable[..., Path], run: Callable[..., Any]
) -> None:
    from safetensors.torch import load_file

    method = {"kind": "int4", "by": "nearest", "symmetric": symmetric, "group": 32}
    made = run(small={"kind": "compress", "model": str(model_folder(kind)), "method": method})["small"]
    weights, grids = load_file(made.path / "model.safetensors"), read_grids(made.path)
    assert grids.keys() == {name for name, weight in weights.items() if weight.dim() == 2}
    assert (made.path / INT4_ZEROS).is_file() is not symmetric
    for name, grid in grids.items():
        turned = kind == "gpt2" and ".h." in name
        weight_OI = weights[name].T if turned else weights[name]
        assert grid.scales_OG.shape == (len(weight_OI), -(-weight_OI.shape[1] // 32))
        assert torch.equal(grid.nearest(weight_OI), weight_OI), name
    groups = sum(grid.scales_OG.numel() for grid in grids.values())
    whole = sum(weight.numel() for weight in weights.values() if weight.dim() == 2)
    rest = sum(weight.numel() for weight in weights.values() if weight.dim() != 2)
    expected = whole / 2 + groups * (2 if symmetric else 2.5) + 4 * rest
    assert made.card.metrics["bytes_after"] == made.card.metrics["bytes_int4"] == round(expected)


def test_gptq_and_learnt_scales_bring_a_model_nearer_to_the_float_one() -> None:
    found = {}
    for by, steps in (("nearest", 0), ("gptq", 0), ("nearest", 30)):
        facts = (
            Int4.model_validate({"by": by, "steps": steps, "rate": 3e-3})
            .compress(Work(build("llama"), text=TEXT))
            .metrics
        )
        found[by, steps] = facts.get("distance_learnt", facts["distance"])
    assert found["gptq", 0] < found["nearest", 0]
    assert found["nearest", 30] < 0.8 * found["nearest", 0]


def test_what_costs_most_becomes_int8() -> None:
    model = build("llama")
    layer = "model.layers.1.mlp.down_proj.weight"
    model.get_parameter(layer).data[:, 0] *= 40  # one loud input spoils the steps of its group
    made = Int4(by="nearest", spare=0.15).compress(Work(model, text=TEXT))
    assert layer in made.metrics["int8_matrices"]
    assert not set(made.files[SCALES]) & set(made.files[INT4_SCALES])
    whole = model.get_parameter(layer) / made.files[SCALES][layer]
    assert torch.equal(whole, whole.round())
    spared = sum(model.get_parameter(name).numel() for name in made.files[SCALES])
    assert spared <= 0.15 * sum(p.numel() for p in model.parameters() if p.dim() == 2)


def test_learning_leaves_zeros_and_other_weights_as_they_are() -> None:
    from pretune.compress.distil import whole_weights

    model, teacher = build("llama"), build("llama")
    weight = model.get_parameter("model.layers.0.mlp.down_proj.weight")
    weight.data[:, ::2] = 0
    before = distance(model, teacher, TEXT)
    learn(model, teacher, whole_weights(model), TEXT, steps=20, rate=1e-3)
    assert distance(model, teacher, TEXT) < before
    assert bool((weight[:, ::2] == 0).all())
    assert read_scales(Path("nowhere")) == {}
