"""Texts that belong to no label: the threshold is chosen on the validation split, kept, served, exported and judged."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pretune
from pretune.api import Loaded
from pretune.base.errors import NoTarget, WrongValue
from pretune.infer.answers import Label, line
from pretune.infer.load import open_model
from pretune.task.classify import Classify
from pretune.testing.folders import write_model
from pretune.text.dataset.example import Labelled, read_split

INTENTS = {"colour": ("red", "green", "blue"), "animal": ("cat", "dog", "hat"), "none_of_these": ("好", "世界", "🙂")}
ROWS = [
    {"text": f"the {word} {filler} {k}", "label": label}
    for label, words in INTENTS.items()
    for word in words
    for filler in ("and", "or", "with", "to")
    for k in range(8)
]
for wrong in ROWS[: len(ROWS) * 2 // 3 : 7]:  # no model is right about these, so there is a temperature to choose
    wrong["label"] = "animal" if wrong["label"] == "colour" else "colour"


def tuned(folder: Path, name: str, reject: Any, method: str = "full", **settings: Any) -> Loaded:
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, ROWS)), encoding="utf-8")
    settings = {"optim": {"kind": "adamw", "learning_rate": 3e-3}, "precision": "float32", "steps": 40, **settings}
    task = {"kind": "classify", "reject": reject}
    data = folder / "rows.jsonl"
    return pretune.fine_tune(
        folder / "model", data, out=folder / name, task=task, method=method, max_length=32, quiet=True, **settings
    )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny encoder, and a classifier that has learnt when to say none of these."""
    folder = tmp_path_factory.mktemp("reject")
    write_model(folder / "model", folder / "words", "bert-labels")
    tuned(folder, "named", "none_of_these")
    return folder


def test_the_label_of_texts_out_of_scope_is_not_learnt_but_given_below_the_threshold(world: Path) -> None:
    found = pretune.load(world / "named")
    facts = found.model.facts
    assert facts.labels == ("animal", "colour") and facts.said == ("animal", "colour", "none_of_these")
    answers = [answer for answer in found.predict([row["text"] for row in ROWS]) if isinstance(answer, Label)]
    for answer in answers:
        below = answer.score < facts.more["reject"]
        assert answer.rejected == below == (answer.name == "none_of_these")
        assert answer.score == max(answer.scores.values()) and set(answer.scores) == {"animal", "colour"}
        assert ("rejected" in answer.to_json()) == below
    train = read_split(world / "named.dataset", "train")
    assert found.metrics["examples_left_out"] == sum(
        e.label == "none_of_these" for e in train if isinstance(e, Labelled)
    )
    assert json.loads((world / "named/config.json").read_text(encoding="utf-8"))["pretune"] == facts.more


def test_a_bundle_rejects_the_same_texts_and_the_report_says_how_well(world: Path) -> None:
    found, texts = pretune.load(world / "named"), [row["text"] for row in ROWS]
    bundle = open_model(found.export(out=world / "bundle").path)
    ours, theirs = found.predict(texts), bundle.answer(texts)
    assert [a.to_json()["label"] for a in theirs] == [a.to_json()["label"] for a in ours]
    assert bundle.facts.more == found.model.facts.more
    report = found.evaluate(world / "named.dataset", out=world / "report", split="validation")
    assert {"ece", "nll", "brier", "rejected", "in_scope_accuracy", "auroc"} <= report.metrics.keys()
    tree = json.loads((report.path / "report.json").read_text(encoding="utf-8"))
    assert "none_of_these" in tree["confusion"]["labels"]
    assert tree["calibration"]["before"]["nll"] >= report.metrics["nll"] - 1e-6, "the temperature was chosen here"
    page = (report.path / "report.html").read_text(encoding="utf-8")
    assert "Are its probabilities true?" in page and "share rejected" in page and '<mark class="' in page


def test_a_share_of_texts_that_must_get_a_label_is_kept_in_an_adapter_too(world: Path) -> None:
    found = tuned(world, "share", 0.75, "lora", steps=12)
    texts = [row["text"] for row in ROWS]
    more = found.model.facts.more
    assert (
        more["rejected"] == "" and json.loads((found.path / "head.json").read_text(encoding="utf-8"))["pretune"] == more
    )
    rejected = [a for a in found.predict(texts) if isinstance(a, Label) and a.rejected]
    assert all(a.name == "" and a.score < more["reject"] for a in rejected)
    report = found.evaluate(world / "share.dataset", out=world / "share-report", split="validation")
    assert report.metrics["rejected"] <= 0.25 + 1e-9
    assert line(Label("", 0.2, {}, rejected=True), "hm") == "(rejected)\t0.200\thm"


def test_the_temperature_is_that_of_the_validation_split_and_changes_no_label(world: Path) -> None:
    found = pretune.load(world / "named")
    assert found.model.facts.more["temperature"] not in (1.0, 50.0)
    plain = {**found.model.facts.more, "temperature": 1.0, "reject": 0.0}
    texts = [row["text"] for row in ROWS]
    model: Any = found.model
    bare = replace(model, facts=replace(model.facts, more=plain)).answer(texts)
    for one, other in zip(found.predict(texts), bare, strict=True):
        ours, theirs = (np.array([*a.to_json()["scores"].values()]) for a in (one, other))
        assert ours.argmax() == theirs.argmax()


def examples(*labels: str) -> list[Labelled]:
    return [Labelled("a", label, "x") for label in labels]


def test_a_label_that_is_none_or_a_validation_split_that_cannot_choose_is_refused() -> None:
    task = Classify(kind="classify", reject="none_of_these")
    with pytest.raises(WrongValue, match="is no label of the dataset"):
        task.learnt(["a", "b"])
    assert task.learnt(["a", "none_of_these"]) == ["a"]
    with pytest.raises(NoTarget, match="and there is none"):
        task.check_validation([])
    with pytest.raises(NoTarget, match="no text of the validation split is 'none_of_these'"):
        task.check_validation(examples("a", "b"))
    task.check_validation(examples("a", "none_of_these"))
    with pytest.raises(ValueError, match="less than 1"):
        Classify(kind="classify", reject=1.5)


def test_without_a_validation_split_there_is_no_temperature_and_no_rejecting(world: Path) -> None:
    none = {"dataset": {"validation": 0, "test": 0}, "steps": 1}
    assert tuned(world, "uncalibrated", None, **none).model.facts.more == {}
    with pytest.raises(NoTarget, match="and there is none"):
        tuned(world, "unchosen", 0.9, **none)
