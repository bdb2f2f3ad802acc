"""Graphs next to the torch models they were written from. B rows, L positions, P in the cache, V vocabulary."""

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from pretune.base.errors import NotSupported
from pretune.export.graph import Graph, graph_of
from pretune.testing.folders import build

DECODERS = ["qwen3", "qwen2", "llama", "gemma3", "gpt2", "qwen3-moe", "mistral", "qwen3-windows"]
CLASSIFIERS = ["qwen3-labels", "gemma3-labels", "gpt2-labels", "bert-labels"]
TAGGERS = ["qwen3-tags", "gpt2-tags", "bert-tags", "roberta-tags"]
IDS_BL = np.random.default_rng(3).integers(6, 300, (3, 9)).astype(np.int64)


class Runner:
    """A decoder's graph on plain onnxruntime."""

    def __init__(self, graph: Graph):
        self.session = onnxruntime.InferenceSession(graph.content, providers=["CPUExecutionProvider"])
        self.facts = graph.facts

    def __call__(self, ids: Any, mask: Any, positions: Any, past: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        facts = self.facts
        empty = np.zeros((len(ids), facts["num_kv_heads"], 0, facts["head_dim"]), np.float32)
        names = [n for n in facts["inputs"] if n.startswith("past")]
        inputs = {
            "input_ids": ids,
            "attention_mask": mask,
            "position_ids": positions,
            **(past or dict.fromkeys(names, empty)),
        }
        found = dict(zip(facts["outputs"], self.session.run(facts["outputs"], inputs), strict=True))
        return found.pop("logits")[:, 0], {n.replace("present", "past_key_values"): v for n, v in found.items()}


def torch_logits(model: Any, ids_BL: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return np.asarray(model(input_ids=torch.from_numpy(ids_BL)).logits.numpy())


def positions(num_past: int, ids_BL: np.ndarray) -> np.ndarray:
    return np.tile(np.arange(num_past, num_past + ids_BL.shape[1], dtype=np.int64), (len(ids_BL), 1))


def ones(rows: int, length: int) -> np.ndarray:
    return np.ones((rows, length), np.int64)


@pytest.mark.parametrize("kind", DECODERS)
def test_a_prompt_in_one_pass_gives_the_logits_of_torch(kind: str) -> None:
    model = build(kind)
    ours, _ = Runner(graph_of(model, {}))(IDS_BL, ones(3, 9), positions(0, IDS_BL))
    np.testing.assert_allclose(ours, torch_logits(model, IDS_BL)[:, -1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", DECODERS)
def test_a_prompt_and_then_token_by_token_gives_the_logits_of_one_pass(kind: str) -> None:
    model = build(kind)
    expected_BLV, run = torch_logits(model, IDS_BL), Runner(graph_of(model, {}))
    logits, past = run(IDS_BL[:, :4], ones(3, 4), positions(0, IDS_BL[:, :4]))
    np.testing.assert_allclose(logits, expected_BLV[:, 3], atol=1e-5, rtol=1e-5)
    for k in range(4, 9):
        logits, past = run(IDS_BL[:, k : k + 1], ones(3, k + 1), positions(k, IDS_BL[:, k : k + 1]), past)
        np.testing.assert_allclose(logits, expected_BLV[:, k], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", DECODERS)
def test_a_row_padded_on_the_left_gives_the_logits_it_gives_alone(kind: str) -> None:
    model = build(kind)
    run, short = Runner(graph_of(model, {})), IDS_BL[:1, :5]
    ids = np.concatenate([np.concatenate([np.full((1, 4), 42), short], axis=1), IDS_BL[1:2]])
    mask = np.array([[0] * 4 + [1] * 5, [1] * 9])
    logits, past = run(ids, mask, np.maximum(mask.cumsum(1) - 1, 0))
    alone, past_alone = run(short, ones(1, 5), positions(0, short))
    np.testing.assert_allclose(logits[:1], alone, atol=1e-5, rtol=1e-5)
    following = np.array([[9], [9]], dtype=np.int64)
    logits, _ = run(following, np.concatenate([mask, ones(2, 1)], axis=1), np.array([[5], [9]]), past)
    alone, _ = run(following[:1], ones(1, 6), np.array([[5]]), past_alone)
    np.testing.assert_allclose(logits[:1], alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", DECODERS)
def test_one_token_with_an_empty_cache_is_not_baked_in(kind: str) -> None:
    model, one = build(kind), IDS_BL[:1, :1]
    ours, _ = Runner(graph_of(model, {}))(one, ones(1, 1), positions(0, one))
    np.testing.assert_allclose(ours, torch_logits(model, one)[:, -1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_padded_rows_of_a_classifier_give_the_logits_each_gives_alone_in_torch(kind: str) -> None:
    model = build(kind)
    rows = [IDS_BL[0, :n] for n in (9, 3, 1, 6)]
    ids, mask = np.zeros((4, 9), np.int64), np.zeros((4, 9), np.int64)
    for k, row in enumerate(rows):
        ids[k, : len(row)], mask[k, : len(row)] = row, 1
    session = onnxruntime.InferenceSession(graph_of(model, {}).content, providers=["CPUExecutionProvider"])
    given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
    ours = session.run(["logits"], {i.name: given[i.name] for i in session.get_inputs()})[0]
    alone = np.concatenate([torch_logits(model, row[None]) for row in rows])
    np.testing.assert_allclose(ours, alone, atol=1e-5, rtol=1e-5)


def asked_of(session: Any, ids: np.ndarray, mask: np.ndarray) -> dict[str, np.ndarray]:
    """What the graph reads; of one text all token types are 0."""
    usual = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
    return {one.name: usual[one.name] for one in session.get_inputs()}


@pytest.mark.parametrize("kind", TAGGERS)
def test_padded_rows_of_a_tagger_give_every_token_the_logits_it_has_alone_in_torch(kind: str) -> None:
    model = build(kind)
    rows = [IDS_BL[0, :n] for n in (9, 3, 1, 6)]
    ids, mask = np.zeros((4, 9), np.int64), np.zeros((4, 9), np.int64)
    for k, row in enumerate(rows):
        ids[k, : len(row)], mask[k, : len(row)] = row, 1
    session = onnxruntime.InferenceSession(graph_of(model, {}).content, providers=["CPUExecutionProvider"])
    ours = session.run(["logits"], asked_of(session, ids, mask))[0]
    assert ours.shape == (4, 9, 3)
    for logits, row in zip(ours, rows, strict=True):
        np.testing.assert_allclose(logits[: len(row)], torch_logits(model, row[None])[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["bert-spans", "roberta-spans", "qwen3-spans", "gpt2-spans"])
def test_starts_and_ends_of_padded_rows_are_those_that_each_row_gives_alone_in_torch(kind: str) -> None:
    model = build(kind)
    ids, mask = IDS_BL[:2].copy(), np.ones((2, 9), np.int64)
    ids[1, 6:], mask[1, 6:] = model.config.pad_token_id, 0
    session = onnxruntime.InferenceSession(graph_of(model, {}).content, providers=["CPUExecutionProvider"])
    ours = session.run(["logits"], asked_of(session, ids, mask))[0]
    for k, length in enumerate((9, 6)):
        with torch.inference_mode():
            alone = model(input_ids=torch.from_numpy(IDS_BL[k : k + 1, :length]))
        theirs = np.stack([alone.start_logits[0], alone.end_logits[0]], -1)
        np.testing.assert_allclose(ours[k, :length], theirs, atol=1e-5, rtol=1e-5)


def test_a_tied_head_and_its_embedding_are_stored_once() -> None:
    model = build("qwen3")
    graph = onnx.load_from_string(graph_of(model, {}).content)
    assert sum(list(t.dims) in ([300, 32], [32, 300]) for t in graph.graph.initializer) == 1


@pytest.mark.parametrize("kind", DECODERS + CLASSIFIERS + TAGGERS)
def test_a_graph_passes_the_checker_and_is_written_twice_with_the_same_bytes(kind: str) -> None:
    model = build(kind)
    content = graph_of(model, {}).content
    onnx.checker.check_model(onnx.load_from_string(content), full_check=True)
    assert content == graph_of(model, {}).content


@pytest.mark.parametrize("kind", ["qwen3", "mistral"])
def test_a_graph_that_is_asked_for_more_logits_gives_those_of_as_many_last_positions(kind: str) -> None:
    model = build(kind)
    run = Runner(graph_of(model, {}))
    sides = run.facts["num_kv_heads"], 0, run.facts["head_dim"]
    given = {n: np.zeros((3, *sides), np.float32) for n in run.facts["inputs"] if n.startswith("past")}
    given |= {"input_ids": IDS_BL, "attention_mask": ones(3, 9), "position_ids": positions(0, IDS_BL)}
    (logits,) = run.session.run(["logits"], {**given, "num_logits": np.array([5])})
    np.testing.assert_allclose(logits, torch_logits(model, IDS_BL)[:, -5:], atol=1e-5, rtol=1e-5)


def test_kinds_of_layers_dynamic_rope_and_families_that_are_unknown_are_refused_by_name() -> None:
    model = build("qwen3")
    model.config.layer_types = ["full_attention", "chunked_attention"]
    with pytest.raises(NotSupported, match="'chunked_attention'"):
        graph_of(model, {})
    model = build("llama")
    model.config.rope_parameters = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}
    with pytest.raises(NotSupported, match="'dynamic'"):
        graph_of(model, {})
    model = build("gpt2")
    model.config.model_type = "mamba"
    with pytest.raises(NotSupported, match="a mamba decoder"):
        graph_of(model, {})
