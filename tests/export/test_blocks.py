"""Weights in blocks: what is stored, and that a graph computes with exactly that."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from transformers.pytorch_utils import Conv1D

from pretune.export.blocks import Blocks, packed, stored
from pretune.export.graph import graph_of
from pretune.export.onnx_bundle import BITS
from pretune.infer.load import open_bundle
from pretune.testing.folders import build
from tests.export.test_graphs import IDS_BL, Runner, asked_of, ones, positions, torch_logits
from tests.export.test_parity import export

KINDS = [
    Blocks(bits, block, symmetric, exact=True) for bits in (4, 8) for block in (32, 128) for symmetric in (True, False)
]


def rounded(kind: str, blocks: Blocks) -> tuple[Any, Any]:
    """A model, and the same with the weights that its blocks stand for."""
    model, same = build(kind), build(kind)
    with torch.no_grad():
        for module in same.modules():
            if isinstance(module, torch.nn.Linear | Conv1D) or module is same.get_input_embeddings():
                weight = module.weight.T if isinstance(module, Conv1D) else module.weight
                is_head = module in (same.get_input_embeddings(), same.get_output_embeddings())
                kind_of = blocks.of_words if is_head else blocks
                found = torch.from_numpy(stored(weight.numpy(), kind_of).weight(kind_of, weight.shape[1]).copy())
                module.weight = torch.nn.Parameter(found.T if isinstance(module, Conv1D) else found)
        if getattr(same.config, "tie_word_embeddings", False) and same.get_output_embeddings() is not None:
            same.get_output_embeddings().weight = same.get_input_embeddings().weight
    return model, same


def test_four_bits_of_a_block_by_hand() -> None:
    weight = np.zeros((1, 32), np.float32)
    weight[0, :3] = [-4.0, 3.5, 1.0]  # -4 / -8 = 0.5: 0, 8 + 7, 8 + 2
    found = stored(weight, Blocks(4))
    assert (found.scale[0, 0], found.whole[0, 0, :4].tolist()) == (0.5, [0, 15, 10, 8])
    assert packed(found.whole, 4)[0, 0, :2].tolist() == [0 + 16 * 15, 10 + 16 * 8]
    np.testing.assert_array_equal(found.weight(Blocks(4), 32), weight)
    shifted = stored(weight, Blocks(4, symmetric=False))  # 7.5 / 15 = 0.5, and 0 is 8
    assert (shifted.scale[0, 0], shifted.zero, shifted.whole[0, 0, :4].tolist()) == (0.5, [[8]], [0, 15, 10, 8])


WEIGHT = np.random.default_rng(0).normal(size=(7, 48)).astype(np.float32)


@pytest.mark.parametrize("bits", [4, 8])
def test_with_a_zero_point_no_weight_moves_by_more_than_half_a_step_of_its_block(bits: int) -> None:
    kind = Blocks(bits, symmetric=False)
    found = stored(WEIGHT, kind)
    steps = np.repeat(np.abs(found.scale), 32, axis=1)[:, :48]
    assert (np.abs(found.weight(kind, 48) - WEIGHT) <= steps * 0.5 + 1e-6).all()


def test_the_scale_of_a_symmetric_block_of_four_bits_loses_no_more_squares_than_the_usual_one() -> None:
    lost = (stored(WEIGHT, Blocks(4)).weight(Blocks(4), 48) - WEIGHT) ** 2
    x = WEIGHT[:, :32]
    largest = x[np.arange(7), np.abs(x).argmax(1)][:, None]
    usual = np.clip(np.rint(x / (largest / -8)), -8, 7) * (largest / -8)  # q4_0
    ratio = lost[:, :32].sum(1) / ((usual - x) ** 2).sum(1)
    assert (ratio <= 1 + 1e-6).all() and ratio.mean() < 0.95


@pytest.mark.parametrize("blocks", KINDS, ids=lambda b: f"{b.bits}-{b.block}-{b.symmetric}")
@pytest.mark.parametrize("kind", ["qwen3", "gpt2"])
def test_a_decoder_in_blocks_gives_the_logits_of_the_rounded_model_with_and_without_a_cache(
    kind: str, blocks: Blocks
) -> None:
    model, same = rounded(kind, blocks)
    run, expected_BLV = Runner(graph_of(model, {}, blocks=blocks)), torch_logits(same, IDS_BL)
    logits, past = run(IDS_BL[:, :8], ones(3, 8), positions(0, IDS_BL[:, :8]))
    np.testing.assert_allclose(logits, expected_BLV[:, 7], atol=2e-5, rtol=1e-5)
    logits, _ = run(IDS_BL[:, 8:], ones(3, 9), positions(8, IDS_BL[:, 8:]), past)
    np.testing.assert_allclose(logits, expected_BLV[:, 8], atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["bert-labels", "qwen3-tags", "roberta-spans"])
def test_scores_of_rows_in_blocks_are_those_of_the_rounded_model(kind: str) -> None:
    from pretune.model.pooling import said

    blocks = Blocks(4, exact=True)
    model, same = rounded(kind, blocks)
    content = graph_of(model, {}, blocks=blocks).content
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    ours = session.run(["logits"], asked_of(session, IDS_BL, ones(3, 9)))[0]
    with torch.inference_mode():
        theirs = said(same, same(torch.from_numpy(IDS_BL)), torch.from_numpy(ones(3, 9))).numpy()
    np.testing.assert_allclose(ours, theirs, atol=2e-5, rtol=1e-5)


def test_a_router_stays_float32_and_experts_are_in_blocks() -> None:
    graph = onnx.load_from_string(graph_of(build("qwen3-moe"), {}, blocks=Blocks(4)).content).graph
    names = {one.name for one in graph.initializer}
    assert "model.layers.0.mlp.gate.weight.T" in names
    assert {f"model.layers.1.mlp.experts.down_proj.{e}.T.blocks" for e in range(4)} <= names


def test_a_tied_head_and_its_table_are_one_copy_in_blocks() -> None:
    graph = onnx.load_from_string(graph_of(build("qwen3"), {}, blocks=Blocks(8)).content).graph
    assert sum(one.dims[:1] == [300] and len(one.dims) == 3 for one in graph.initializer) == 1


def test_with_four_bits_the_table_of_the_words_keeps_eight() -> None:
    graph = onnx.load_from_string(graph_of(build("qwen2"), {}, blocks=Blocks(4)).content).graph
    bytes_of = {one.name: one.dims[-1] for one in graph.initializer if one.name.endswith(".blocks")}
    eight = {name.removesuffix(".blocks").removesuffix(".T") for name, number in bytes_of.items() if number == 32}
    assert eight == {"model.embed_tokens.weight", "lm_head.weight"}


def test_int8_blocks_of_a_folder_with_scales_of_its_own_hold_its_weights_exactly() -> None:
    from pretune.export.onnx_bundle import rounded_copy

    on_grid, scales = rounded_copy(build("qwen3"))
    run = Runner(graph_of(on_grid, scales, blocks=Blocks(8, exact=True)))
    ours, _ = run(IDS_BL, ones(3, 9), positions(0, IDS_BL))
    np.testing.assert_allclose(ours, torch_logits(on_grid, IDS_BL)[:, -1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_a_bundle_in_blocks_with_whole_activations_is_near_its_rounded_model_and_judged_by_agreement(
    precision: str, symmetric: bool, model_folder: Callable[..., Path], tmp_path: Path
) -> None:
    settings = {"precision": precision, "symmetric": symmetric, "min_agreement": 0.5}
    told, parity = export(model_folder("qwen3"), tmp_path / "out", **settings)
    assert (told["formats"]["onnx"]["precision"], parity["thresholds"]) == (
        precision,
        {"logit_difference": None, "agreement": 0.5},
    )
    _, same = rounded("qwen3", Blocks(BITS[precision], 32, symmetric))
    found_BLV = open_bundle(tmp_path / "out").engine.whole(IDS_BL, 9)
    # Logits have a standard deviation of 0.6; the weights alone move them by 0.05 with int8 and by 0.9 with int4.
    np.testing.assert_allclose(found_BLV, torch_logits(same, IDS_BL), atol=0.1)
