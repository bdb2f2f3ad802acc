"""What an exported graph stores of a compressed folder is what the folder says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from pretune.base.errors import BadFile
from pretune.compress.compressor import Compressor, Work
from pretune.compress.grid import Grid, size_of
from pretune.compress.int4 import Int4
from pretune.compress.low_rank import FACTORS, LowRank
from pretune.compress.quantise import INT4_SCALES, INT4_ZEROS, SCALES, Int8
from pretune.export.blocks import Given
from pretune.export.graph import Graph, graph_of
from pretune.testing.folders import build
from tests.compress.test_int4 import TEXT
from tests.export.test_graphs import IDS_BL, Runner, ones, positions, torch_logits


def graph(model: Any, how: Compressor) -> Graph:
    """Compresses the model in place."""
    return graph_of_files(model, how.compress(Work(model, text=TEXT)).files)


def graph_of_files(model: Any, found: Mapping[str, Mapping[str, torch.Tensor]]) -> Graph:
    steps = {}
    for name, scales in found.get(INT4_SCALES, {}).items():
        weight, zeros = model.get_parameter(name), found.get(INT4_ZEROS, {}).get(name, torch.full_like(scales, 8))
        turned = scales.shape[0] != weight.shape[0]
        scales, zeros = (t.float().T.numpy() if turned else t.float().numpy() for t in (scales, zeros))
        steps[name] = Given(scales, zeros, size_of(weight.shape[0 if turned else 1], scales.shape[1]))
    kept = found.get(FACTORS, {})
    names = {name.rpartition(".")[0] for name in kept}
    factors = {name: (kept[f"{name}.left"].numpy(), kept[f"{name}.right"].numpy()) for name in names}
    scales8 = {name: scale.numpy() for name, scale in found.get(SCALES, {}).items()}
    return graph_of(model, scales8, steps=steps, factors=factors)


def stored_bytes(content: bytes) -> int:
    return sum(len(one.raw_data) for one in onnx.load_from_string(content).graph.initializer)


WAYS = {
    "gptq": Int4(),
    "ends": Int4(by="nearest", symmetric=False),
    "learnt": Int4(by="nearest", steps=5, rate=1e-2, group=64),
    "spare": Int4(by="nearest", spare=0.2),
    "low-rank": LowRank(ratio=0.5),
}


@pytest.mark.parametrize("kind", ["qwen3", "gpt2"])
@pytest.mark.parametrize("way", WAYS)
def test_a_graph_gives_the_logits_of_the_compressed_folder_from_fewer_bytes(kind: str, way: str) -> None:
    whole = stored_bytes(graph_of(build(kind), {}).content)
    model = build(kind)
    made = graph(model, WAYS[way])
    logits, _ = Runner(made)(IDS_BL, ones(*IDS_BL.shape), positions(0, IDS_BL))
    np.testing.assert_allclose(logits, torch_logits(model, IDS_BL)[:, -1], atol=2e-5, rtol=1e-5)
    assert stored_bytes(made.content) < 0.8 * whole


@pytest.mark.parametrize(
    ("way", "kept", "share"),
    [(Int4(by="nearest"), ".T.blocks", 0.7), (LowRank(ratio=0.5), ".left", 0.8), (Int8(kind="int8"), ".T.int8", 0.4)],
)
def test_a_traced_graph_stores_what_the_compressed_folder_says_too(way: Compressor, kept: str, share: float) -> None:
    import onnxruntime

    model = build("roberta-labels")
    traced = graph_of_files(model, way.compress(Work(model, text=TEXT)).files).content
    session = onnxruntime.InferenceSession(traced, providers=["CPUExecutionProvider"])
    ours = session.run(["logits"], {"input_ids": IDS_BL, "attention_mask": ones(*IDS_BL.shape)})[0]
    with torch.inference_mode():
        theirs = model(torch.from_numpy(IDS_BL)).logits.numpy()
    np.testing.assert_allclose(ours, theirs, atol=2e-5, rtol=1e-5)
    names = {one.name for one in onnx.load_from_string(traced).graph.initializer}
    query = "roberta.encoder.layer.1.attention.self.query.weight"
    assert query + kept in names and f"{query}.T" not in names
    # Tables weigh much at width 32: int4 leaves that of positions as it is, low rank all of them.
    assert stored_bytes(traced) < share * sum(4 * p.numel() for p in model.parameters())


def test_steps_of_a_grid_are_stored_and_nothing_is_rounded_again() -> None:
    weight = torch.randn(8, 64)
    grid = Grid(torch.rand(8, 2).half().float() + 0.01, torch.randint(0, 16, (8, 2)).float(), 32)
    rounded = grid.nearest(weight)
    given = Given(grid.scales_OG.numpy(), grid.zeros_OG.numpy(), 32)
    from pretune.export.blocks import Blocks, stored

    for words in (False, True):
        kind = given.kind(Blocks(4), words=words)
        found = stored(rounded.numpy(), kind, None, given).weight(kind, 64)
        np.testing.assert_array_equal(found, rounded.numpy())


def test_weights_that_left_their_int4_grid_are_named() -> None:
    model, name = build("qwen3"), "model.layers.1.mlp.up_proj.weight"
    steps = {name: Given(np.full((48, 1), 0.01, np.float32), np.full((48, 1), 8, np.float32), 32)}
    with pytest.raises(BadFile, match=rf"{name} does not lie on the int4 grid"):
        graph_of(model, {}, steps=steps)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_gguf_keeps_the_steps_of_groups_of_32_whatever_they_are(kind: str) -> None:
    gguf = pytest.importorskip("gguf", reason="the package gguf is not installed")
    from pretune.export.gguf_bundle import stored
    from pretune.export.gguf_tensors import weights_of

    model = build(kind)
    made = Int4(by="nearest", steps=5, rate=1e-2).compress(Work(model, text=TEXT))  # the scales are nobody's usual ones
    scales = {name: scale.contiguous().numpy() for name, scale in made.files[INT4_SCALES].items()}
    seen = 0
    for weight in weights_of(model, {}, scales):
        if weight.scales is not None and weight.array.shape[-1] % 32 == 0:
            blocks, type = stored(weight, "q4_0")
            if type == gguf.GGMLQuantizationType.Q4_0:
                np.testing.assert_array_equal(gguf.dequantize(blocks, type), weight.array)
                seen += 1
    assert seen >= 8
