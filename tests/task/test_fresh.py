"""Fine-tuning that begins with random weights: the same architecture, or a baseline of the textbooks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import pretune
from pretune.base.errors import NotSupported, SettingsError, UnknownKind, WrongValue
from pretune.export.graph import graph_of
from pretune.model.build import build_model
from pretune.model.families import family_named
from pretune.model.folder import load_model
from pretune.model.pooling import pooled
from pretune.model.shape import SHAPE
from pretune.objective.objective import OBJECTIVE
from pretune.task.fresh import Same, write_fresh
from pretune.testing.folders import write_model, write_tokenizer
from pretune.testing.worlds import SPECIALS, tiny_shape
from pretune.train.run.settings import PretrainSettings, resolved_shape

BASELINES = ["bag", "cnn", "lstm"]
WORDS = {"good": ["lovely", "warm", "fine", "好"], "bad": ["dull", "cold", "poor", "坏"]}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer, a small BERT, and texts whose label is told by one word."""
    folder = tmp_path_factory.mktemp("fresh")
    (folder / "words").mkdir()
    write_tokenizer(folder / "words")
    write_model(folder / "bert", folder / "words2", "bert-labels")
    rows = [
        {"text": f"the {words[k % 4]} film of {k} {k * 7} 🙂", "label": label}
        for k in range(40)
        for label, words in WORDS.items()
    ]
    (folder / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


def tuned(world: Path, base: str, name: str, **settings: Any) -> Any:
    settings = {"task": "classify", "max_length": 48, "batch": 16, "precision": "float32", "quiet": True, **settings}
    return pretune.fine_tune(world / base, world / "labels.jsonl", out=world / name, **settings)


@pytest.fixture(scope="module", params=BASELINES)
def baseline(world: Path, request: pytest.FixtureRequest) -> Any:
    kind = request.param
    sizes = {"bag": {}, "cnn": {"filters": 8}, "lstm": {"hidden": 16}}[kind]
    shape = {"kind": kind, "width": 16, "dropout": 0.0, **sizes}
    return tuned(world, "words", kind, fresh=shape, epochs=20, optim={"kind": "adamw", "learning_rate": 2e-2})


def test_a_baseline_learns_from_a_tokenizer_alone_and_its_folder_is_like_any_other(baseline: Any, world: Path) -> None:
    again = pretune.load(baseline.path)
    assert [answer.name for answer in again.predict(["a warm film", "a cold film 🙂"])] == ["good", "bad"]
    report = again.evaluate(world / "labels.jsonl")
    assert report.metrics["accuracy"] >= 0.9
    bundle = again.export(out=world / f"{baseline.path.name}.bundle")
    assert bundle.metrics["onnx"]["max_logit_difference"] < 1e-5


@pytest.mark.parametrize("kind", BASELINES)
def test_the_graph_of_a_baseline_gives_its_vectors_too(kind: str) -> None:
    import onnxruntime

    shape = tiny_shape(kind)
    model = build_model(shape, "vector", vocab_size=40, max_length=32, specials=SPECIALS, seed=3).eval()
    model.config.pretune = {"pooling": "mean", "normalize": True}
    ids = np.random.default_rng(1).integers(4, 40, (3, 9))
    mask = (np.arange(9) < np.array([[9], [4], [1]])).astype(np.int64)
    session = onnxruntime.InferenceSession(graph_of(model, {}).content, providers=["CPUExecutionProvider"])
    (ours,) = session.run(None, {"input_ids": ids, "attention_mask": mask})
    with torch.inference_mode():
        theirs = pooled(
            model(torch.from_numpy(ids), torch.from_numpy(mask)).last_hidden_state,
            torch.from_numpy(mask),
            pooling="mean",
            normalize=True,
        )
    np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-6)


def test_the_same_model_with_new_weights_has_its_config_and_none_of_its_weights(world: Path) -> None:
    out = world / "same"
    write_fresh(Same(kind="same"), world / "bert", out, max_length=48, seed=1)
    old, new = (json.loads((path / "config.json").read_text("utf-8")) for path in (world / "bert", out))
    of_head = {"id2label", "label2id", "architectures", "problem_type", "dtype"}
    assert {k: v for k, v in new.items() if k not in of_head} == {k: v for k, v in old.items() if k not in of_head}
    assert (out / "tokenizer.json").read_bytes() == (world / "bert" / "tokenizer.json").read_bytes()
    trained, fresh = (load_model(path, "vector").state_dict() for path in (world / "bert", out))
    tables = [name for name in trained if trained[name].dim() > 1]
    assert tables and not any(torch.equal(trained[name], fresh[name]) for name in tables)
    write_fresh(Same(kind="same"), world / "bert", world / "again", max_length=48, seed=1)
    assert (world / "again" / "model.safetensors").read_bytes() == (out / "model.safetensors").read_bytes()


def test_fine_tuning_from_new_weights_begins_with_those_of_the_seed(world: Path) -> None:
    """One step at a rate of almost nothing leaves them as they were drawn; the pretrained ones are elsewhere."""
    small = {"kind": "adamw", "learning_rate": 1e-9}
    found = tuned(world, "bert", "one-step", fresh="same", steps=1, optim=small)
    name = "bert.encoder.layer.0.attention.self.query.weight"
    begun, pretrained = (load_model(path, "label").state_dict()[name] for path in (found.path, world / "bert"))
    assert (begun - pretrained).abs().max() > 0.05
    assert begun.std() == pytest.approx(0.02, rel=0.1)  # what BERT draws from


def test_what_cannot_begin_fresh_is_refused_with_what_to_do(world: Path) -> None:
    with pytest.raises(NotSupported, match=r"(?s)is a tokenizer: it has no weights.*fresh=cnn"):
        tuned(world, "words", "x1")
    with pytest.raises(NotSupported, match="is a tokenizer: it has no weights"):
        tuned(world, "words", "x2", fresh="same")
    with pytest.raises(SettingsError, match="fresh weights must all train, and method=lora"):
        tuned(world, "bert", "x3", fresh="same", method="lora")
    with pytest.raises(SettingsError, match="did you mean 'lstm'"):
        tuned(world, "bert", "x4", fresh="lstn")
    with pytest.raises(SettingsError, match="a window has one token at least, not 0"):
        tuned(world, "bert", "x5", fresh={"kind": "cnn", "windows": [0, 3]})
    with pytest.raises(NotSupported, match=r"(?s)a pretune-bag model has no head for tags.*labels, scores, vectors"):
        family_named("pretune-bag").class_for("tags", "pretune-bag")


def test_pretraining_a_baseline_is_refused_before_anything_is_built() -> None:
    for objective in ("causal", "masked"):
        settings = PretrainSettings(tokens="-", model=SHAPE("bag"), objective=OBJECTIVE(objective))
        with pytest.raises(WrongValue, match=r"does not suit a bag: a pretune-bag model has no head for"):
            resolved_shape(settings, tokens=1000, vocab_size=40, flops=1e9)


def test_a_model_type_that_nobody_knows_has_a_nearest_name(world: Path, tmp_path: Path) -> None:
    write_model(tmp_path / "bert", tmp_path / "words", "bert-labels")
    config = json.loads((tmp_path / "bert" / "config.json").read_text("utf-8")) | {"model_type": "modernbrt"}
    (tmp_path / "bert" / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(UnknownKind, match=r"(?s)no model of type 'modernbrt'.*did you mean 'modernbert'"):
        load_model(tmp_path / "bert", "label")
