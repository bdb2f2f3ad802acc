"""Adapters that cannot be merged: graphs of decoders hold them, with and without a cache; plain formats refuse them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pretune.base.log import Log
from pretune.export.bundle import write_bundle
from pretune.export.exporter import EXPORTER, Job
from pretune.export.graph import graph_of
from pretune.export.onnx_bundle import Onnx
from pretune.infer.load import open_bundle
from pretune.model.folder import load_model
from pretune.model.generate import open_folder
from pretune.model.methods.method import METHOD
from pretune.testing.folders import build
from tests.export.test_graphs import IDS_BL, Runner, ones, positions, torch_logits

METHODS: dict[str, dict[str, Any]] = {
    "prefix": {"kind": "prefix", "tokens": 3},
    "prompt": {"kind": "prompt", "tokens": 3},
    **{
        f"bottleneck-{v}": {"kind": "bottleneck", "variant": v, "width": 5} for v in ("houlsby", "pfeiffer", "parallel")
    },
}


def adapted(kind: str, method: str) -> Any:
    """A model with an adapter that says something, as an opened folder has it."""
    by = METHOD(METHODS[method])
    found = by.apply(build(kind), heads=())
    torch.manual_seed(4)
    with torch.no_grad():
        for parameter in found.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter) if parameter.requires_grad else 0.0)
    return getattr(found, "get_base_model", lambda: found)().eval()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["qwen3", "gpt2"])
def test_a_decoder_with_an_adapter_gives_the_logits_of_torch_at_once_and_token_by_token(kind: str, method: str) -> None:
    model = adapted(kind, method)
    expected_BLV, run = torch_logits(model, IDS_BL), Runner(graph_of(model, {}))
    assert not np.allclose(expected_BLV, torch_logits(build(kind), IDS_BL), atol=1e-2), "the adapter says something"
    logits, past = run(IDS_BL[:, :7], ones(3, 7), positions(0, IDS_BL[:, :7]))
    np.testing.assert_allclose(logits, expected_BLV[:, 6], atol=2e-5, rtol=1e-5)
    for k in (7, 8):
        logits, past = run(IDS_BL[:, k : k + 1], ones(3, k + 1), positions(k, IDS_BL[:, k : k + 1]), past)
        np.testing.assert_allclose(logits, expected_BLV[:, k], atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("method", ["bottleneck-houlsby", "bottleneck-parallel"])
def test_an_encoder_with_bottlenecks_is_written_with_them(method: str) -> None:
    import onnxruntime

    from tests.export.test_graphs import asked_of

    model = adapted("bert-labels", method)
    session = onnxruntime.InferenceSession(graph_of(model, {}).content, providers=["CPUExecutionProvider"])
    ours = session.run(["logits"], asked_of(session, IDS_BL, ones(3, 9)))[0]
    np.testing.assert_allclose(ours, torch_logits(model, IDS_BL), atol=2e-5, rtol=1e-5)


def test_what_cannot_be_merged_goes_into_a_graph_and_is_refused_by_a_plain_format_of_the_same_bundle(
    model_folder: Callable[..., Path], tmp_path: Path
) -> None:
    base = load_model(model_folder("qwen3"), "next")
    by = METHOD(METHODS["prefix"])
    (out := tmp_path / "adapter").mkdir()
    by.save(by.apply(base, heads=()), out, base="../qwen3", tokenizer=tmp_path / "qwen3", weights={})
    (made := tmp_path / "bundle").mkdir()
    exporters = [Onnx(kind="onnx", prompts=3, tokens=6), EXPORTER("huggingface")]
    metrics = write_bundle(exporters, Job(out, open_folder(out), None, made), Log(quiet=True))
    assert metrics["refused"] == ["huggingface"]
    assert list(json.loads((made / "bundle.json").read_text(encoding="utf-8"))["formats"]) == ["onnx"]
    bundle, model = open_bundle(made), open_folder(out)
    assert bundle.facts.max_length == model.facts.max_length == 96 - 3
    prompts = [[9, 8, 7], [100, 50]]
    assert bundle.generate_many(prompts, 8) == model.generate_many(prompts, 8)
