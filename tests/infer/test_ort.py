"""The onnxruntime engine on graphs made by hand: their answers can be worked out with a pencil."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="extra export is not installed")
pytest.importorskip("onnxruntime", reason="extra export is not installed")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from pretune.base.errors import BadFile, NotSupported  # noqa: E402
from pretune.infer.classify import TextClassifier  # noqa: E402
from pretune.infer.language import LanguageModel  # noqa: E402
from pretune.infer.load import open_model  # noqa: E402

V = 340


def constant(name: str, value: Any) -> Any:
    return numpy_helper.from_array(np.asarray(value), name)


def save(nodes: list[Any], inputs: list[Any], outputs: list[Any], constants: list[Any], path: Path) -> None:
    graph = helper.make_graph(nodes, "g", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    path.parent.mkdir(parents=True)
    onnx.save(model, str(path))


def counting_decoder(path: Path) -> None:
    """Keys are the ids, values the positions plus the mask's length; the next token is the sum of all keys, modulo V."""
    f, i = TensorProto.FLOAT, TensorProto.INT64
    nodes = [
        helper.make_node("Cast", ["input_ids"], ["ids"], to=f),
        helper.make_node("Unsqueeze", ["ids", "sides"], ["key"]),
        helper.make_node("Concat", ["past_key_values.0.key", "key"], ["present.0.key"], axis=2),
        helper.make_node("Cast", ["position_ids"], ["places"], to=f),
        helper.make_node("Unsqueeze", ["places", "sides"], ["value"]),
        helper.make_node("Concat", ["past_key_values.0.value", "value"], ["present.0.value"], axis=2),
        helper.make_node("ReduceSum", ["present.0.key", "all"], ["sum"], keepdims=0),
        helper.make_node("ReduceMax", ["present.0.value"], ["last"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=f),
        helper.make_node("ReduceSum", ["mask", "one"], ["seen"], keepdims=0),
        helper.make_node("Sub", ["seen", "last"], ["is_one"]),
        helper.make_node("Mul", ["sum", "is_one"], ["checked"]),
        helper.make_node("Mod", ["checked", "v"], ["next"], fmod=1),
        helper.make_node("Unsqueeze", ["next", "side"], ["column"]),
        helper.make_node("Sub", ["range", "column"], ["off"]),
        helper.make_node("Abs", ["off"], ["away"]),
        helper.make_node("Neg", ["away"], ["near"]),
        helper.make_node("Unsqueeze", ["near", "one"], ["logits"]),
    ]
    constants = [
        constant("sides", np.array([1, 3])),
        constant("all", np.array([1, 2, 3])),
        constant("one", np.array([1])),
        constant("side", np.array([1])),
        constant("v", np.float32(V)),
        constant("range", np.arange(V, dtype=np.float32)[None]),
    ]
    cache = ["B", 1, "P", 1]
    inputs = [helper.make_tensor_value_info(n, i, ["B", "L"]) for n in ("input_ids", "position_ids")]
    inputs += [helper.make_tensor_value_info("attention_mask", i, ["B", "T"])]
    inputs += [helper.make_tensor_value_info(f"past_key_values.0.{n}", f, cache) for n in ("key", "value")]
    outputs = [helper.make_tensor_value_info("logits", f, ["B", 1, V])]
    outputs += [helper.make_tensor_value_info(f"present.0.{n}", f, ["B", 1, "T", 1]) for n in ("key", "value")]
    save(nodes, inputs, outputs, constants, path)


def counting_encoder(path: Path) -> None:
    """Two logits: the sum of the ids under the mask, and 1000."""
    f, i = TensorProto.FLOAT, TensorProto.INT64
    nodes = [
        helper.make_node("Mul", ["input_ids", "attention_mask"], ["seen"]),
        helper.make_node("Cast", ["seen"], ["ids"], to=f),
        helper.make_node("ReduceSum", ["ids", "one"], ["sum"], keepdims=1),
        helper.make_node("Mul", ["sum", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "thousand"], ["other"]),
        helper.make_node("Concat", ["sum", "other"], ["logits"], axis=1),
    ]
    constants = [
        constant("one", np.array([1])),
        constant("zero", np.float32(0)),
        constant("thousand", np.float32(1000)),
    ]
    inputs = [helper.make_tensor_value_info(n, i, ["B", "L"]) for n in ("input_ids", "attention_mask")]
    save(nodes, inputs, [helper.make_tensor_value_info("logits", f, ["B", 2])], constants, path)


def bundle(folder: Path, tokenizer: Path, **settings: Any) -> Path:
    folder.mkdir(exist_ok=True)
    for path in tokenizer.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    facts = {
        "task": "chat",
        "answers": "text",
        "labels": None,
        "max_length": 40,
        "eos_ids": [],
        "before": [],
        "after": [],
    }
    onnx = {"graph": "model.onnx", "num_layers": 1, "num_kv_heads": 1, "head_dim": 1, "inputs": [], "outputs": []}
    about = {"format": 2, **facts, "pad_id": 1, "formats": {"onnx": onnx}, **settings}
    (folder / "bundle.json").write_text(json.dumps(about), encoding="utf-8")
    return folder


@pytest.fixture
def decoder(tmp_path: Path, folder: Path) -> Path:
    counting_decoder(tmp_path / "b" / "onnx" / "model.onnx")
    return bundle(tmp_path / "b", folder)


def test_decoder_bundle_keeps_its_cache_positions_and_mask_from_token_to_token(decoder: Path) -> None:
    model = open_model(decoder)
    assert isinstance(model, LanguageModel)
    assert model.decoder.vocab_size == V and model.chat is not None
    ids, answer = [100, 7, 3], []
    for _ in range(5):
        token = sum(ids + answer) % V
        if token in model.eos_ids:
            break
        answer.append(token)
    assert model.generate_many([ids, ids], 5) == [answer, answer]


def test_encoder_bundle_labels_do_not_depend_on_the_other_rows(tmp_path: Path, folder: Path) -> None:
    counting_encoder(tmp_path / "b" / "onnx" / "model.onnx")
    labels = {"task": "classify", "answers": "label", "labels": ["sum", "thousand"], "before": [5], "after": [6]}
    path = bundle(tmp_path / "b", folder, **labels, formats={"onnx": {"graph": "model.onnx"}})
    model = open_model(path)
    assert isinstance(model, TextClassifier)
    texts = ["a", "one two three Numbers", "你好", *["dog"] * 70]
    together = np.stack(model.encoder.logits(model.rows(texts)))
    assert together[:, 0].tolist() == [sum(row) for row in model.rows(texts)]
    assert model.answer(["Numbers: 1 2 3.14"])[0].name in (model.facts.labels or ())


def test_graph_outside_the_bundle_is_not_read(decoder: Path, folder: Path) -> None:
    bundle(decoder, folder, formats={"onnx": {"graph": "../elsewhere.onnx"}})
    with pytest.raises(BadFile, match=r"\.\./elsewhere\.onnx"):
        open_model(decoder)


def test_damaged_graph_is_named(decoder: Path) -> None:
    (decoder / "onnx" / "model.onnx").write_bytes(b"not a graph")
    with pytest.raises(BadFile, match=r"model\.onnx is no graph"):
        open_model(decoder)


def test_a_bundle_of_another_format_number_says_what_to_do(decoder: Path, folder: Path) -> None:
    bundle(decoder, folder, format=3)
    with pytest.raises(NotSupported, match=r"format 3, not 2.*\n.*upgrade pretune"):
        open_model(decoder)
    bundle(decoder, folder, format=1)
    with pytest.raises(NotSupported, match=r"format 1, not 2.*\n.*export the model again"):
        open_model(decoder)


def test_a_bundle_in_no_format_that_runs_here_is_refused(decoder: Path, folder: Path) -> None:
    bundle(decoder, folder, formats={"gguf": {}})
    with pytest.raises(NotSupported, match=r"no format that runs here \(onnx\)"):
        open_model(decoder)


def test_the_logits_of_the_last_positions_are_those_of_each_step(decoder: Path) -> None:
    engine = open_model(decoder).engine
    best = engine.whole(np.array([[100, 7, 3, 50], [1, 2, 3, 4]]), 3).argmax(axis=2)
    assert best.tolist() == [[107 % V, 110 % V, 160 % V], [3, 6, 10]]
