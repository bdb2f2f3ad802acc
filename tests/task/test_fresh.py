"""Fine-tuning that begins with random weights: the same architecture, or a baseline of the textbooks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import pretune
from tests.folders import write_model, write_tokenizer

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
