"""The arithmetic of rounding, by hand and by property."""

import numpy as np
import pytest
import torch

from pretune.compress.compressor import Work
from pretune.compress.quantise import SCALES, Int8, matrices
from pretune.model.rounding import on_grid, scales_of
from pretune.testing.folders import build

WEIGHT = np.random.default_rng(0).standard_normal((40, 24)).astype(np.float32) * 10.0 ** np.arange(-10, 14).astype(
    np.float32
)


def test_scales_and_rounded_weights_by_hand() -> None:
    weight = np.array([[127.0, -63.4, 0.6], [0.0, 0.0, 0.0], [-2.54, 1.0, 0.005]], np.float32)
    scales = scales_of(weight, 0)
    np.testing.assert_allclose(scales, [[1.0], [1.0], [0.02]], rtol=2**-15)
    np.testing.assert_allclose(
        on_grid(weight, scales), [[127, -63, 1], [0, 0, 0], [-2.54, 1.0, 0.0]], rtol=2**-15, atol=0
    )


@pytest.mark.parametrize("axis", [0, 1])
def test_no_weight_moves_by_more_than_half_its_scale(axis: int) -> None:
    scales = scales_of(WEIGHT, axis)
    assert scales.shape == ((40, 1) if axis == 0 else (1, 24))
    moved = np.abs(on_grid(WEIGHT, scales).astype(np.float64) - WEIGHT) / scales
    assert moved.max() <= 0.5


@pytest.mark.parametrize("axis", [0, 1])
def test_rounding_twice_changes_not_one_bit(axis: int) -> None:
    once = on_grid(WEIGHT, scales_of(WEIGHT, axis))
    again = scales_of(once, axis)
    assert np.array_equal(again, scales_of(WEIGHT, axis))
    assert np.array_equal(on_grid(once, again), once)


def test_whole_number_times_scale_is_exact_in_float32() -> None:
    scales = scales_of(WEIGHT, 0)
    whole = np.arange(-127, 128, dtype=np.float32)
    assert np.array_equal((whole * scales).astype(np.float64), whole.astype(np.float64) * scales.astype(np.float64))


def test_norms_and_biases_stay_and_every_matrix_has_at_most_255_values_per_channel() -> None:
    model, before = build("gpt2"), build("gpt2").state_dict()
    files = Int8(kind="int8").compress(Work(model)).files[SCALES]
    for name, parameter in model.named_parameters():
        assert (name in files) == (parameter.ndim == 2), name
        if parameter.ndim == 1:
            assert torch.equal(parameter, before[name])
        else:
            whole = parameter / files[name]
            assert torch.equal(whole, whole.round())
            assert float(whole.detach().abs().max()) == 127


def test_scales_of_conv1d_belong_to_its_columns_and_of_linear_to_its_rows() -> None:
    axes = {name: axis for name, _, axis in matrices(build("gpt2"))}
    assert (axes["transformer.wte.weight"], axes["transformer.h.0.mlp.c_fc.weight"]) == (0, 1)
    assert {axis for _, _, axis in matrices(build("bert-labels"))} == {0}


def test_a_tied_head_is_rounded_once_and_stays_tied() -> None:
    model = build("qwen3")
    compressed = Int8(kind="int8").compress(Work(model))
    assert "lm_head.weight" not in compressed.files[SCALES]
    assert model.lm_head.weight is model.model.embed_tokens.weight


def test_sizes_count_one_byte_per_rounded_weight_and_four_for_the_rest() -> None:
    model = build("bert-labels")
    metrics = Int8(kind="int8").compress(Work(model)).metrics
    matrix = sum(p.numel() for p in model.parameters() if p.ndim == 2)
    vector = sum(p.numel() for p in model.parameters() if p.ndim == 1)
    channels = sum(p.shape[0] for p in model.parameters() if p.ndim == 2)
    assert metrics["bytes_int8"] == matrix + 4 * vector + 4 * channels
    assert metrics["bytes_float32"] == 4 * (matrix + vector)
    assert metrics["largest_change_in_scales"] <= 0.5
