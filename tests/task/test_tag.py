"""Tagging end to end on a tiny world: what is trained is what is saved, answers, is judged, exported and served."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoModelForTokenClassification, AutoTokenizer

import pretune
from pretune.api import Loaded
from pretune.base.errors import BadFile, NoTarget, NotSupported, OneClass, WrongKind
from pretune.infer.answers import Tags
from pretune.task.tag import Tag
from pretune.testing.folders import write_model

WORDS = ["Ada", "met", "Bob", "near", "北京", "and", "Eve", "🙂"]
TAGS = {"Ada": "B-PER", "Bob": "B-PER", "Eve": "B-PER", "北京": "B-LOC"}
TEXTS = [[WORDS[(i * k) % 8] for k in range(1, 4 + i % 5)] for i in range(1, 60)]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny encoder and a tiny decoder, and sentences with names."""
    folder = tmp_path_factory.mktemp("tags")
    write_model(folder / "encoder", folder / "words", "bert-labels")
    write_model(folder / "decoder", folder / "words", "qwen3")
    rows = [{"tokens": words, "tags": [TAGS.get(word, "O") for word in words]} for words in TEXTS]
    (folder / "names.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return folder


def tuned(world: Path, base: str, name: str, data: str = "names.jsonl", **settings: Any) -> Loaded:
    usual: dict[str, Any] = {"task": "tag", "optim": {"kind": "adamw", "learning_rate": 3e-3}, "batch": 8}
    usual |= {"epochs": 15, "max_length": 48, "precision": "float32", "quiet": True}
    return pretune.fine_tune(world / base, world / data, out=world / name, **usual | settings)


@pytest.fixture(scope="module", params=["encoder", "decoder"])
def tagger(world: Path, request: pytest.FixtureRequest) -> Loaded:
    return tuned(world, request.param, f"tagger-{request.param}")


def test_a_head_of_tags_begins_at_how_often_each_occurs(world: Path) -> None:
    from pretune.text.dataset.example import Tagged

    texts = [Tagged(("a", "b", "c", "d"), ("O", "B-PER", "O", "O"), "")]
    model, _ = Tag(kind="tag").fitted(texts).load(world / "encoder", ["PER"], seed=0)
    assert model.classifier.bias.exp().tolist() == pytest.approx([3 / 4, 1 / 4, 1 / 8])


def by_transformers(folder: Path, texts: list[list[str]]) -> list[list[str]]:
    """The likeliest tag of each word by transformers alone, one text at a time."""
    model = AutoModelForTokenClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    is_encoder, found = model.config.model_type == "bert", []
    for words in texts:
        pieces = [tokenizer(word, add_special_tokens=False)["input_ids"] for word in words]
        ids = [token for word in pieces for token in word]
        ends = np.cumsum([len(word) for word in pieces])
        places = 1 + ends - [len(word) for word in pieces] if is_encoder else ends - 1
        ids = [tokenizer.cls_token_id, *ids, tokenizer.sep_token_id] if is_encoder else [*ids, tokenizer.eos_token_id]
        with torch.no_grad():
            best = model(input_ids=torch.tensor([ids])).logits[0].argmax(-1)
        found.append([model.config.id2label[int(best[k])] for k in places])
    return found


def test_a_tagger_learns_names_and_its_folder_gives_the_tags_of_plain_transformers(tagger: Loaded) -> None:
    assert tagger.metrics["validation_f1"] >= 0.9
    answers = tagger.predict(TEXTS)
    assert [list(a.tags) for a in answers if isinstance(a, Tags)] == by_transformers(tagger.path, TEXTS)
    (answer,) = tagger.predict("Ada met Bob near  Eve 🙂")
    assert isinstance(answer, Tags)
    assert [e.text for e in answer.entities] == ["Ada", "Bob", "Eve"]


def test_the_report_counts_what_the_predictions_say_and_marks_entities(tagger: Loaded, world: Path) -> None:
    found = tagger.evaluate(f"{tagger.path}.dataset", out=f"{tagger.path}.report")
    report = json.loads((found.path / "report.json").read_text(encoding="utf-8"))
    rows = pq.read_table(found.path / "predictions.parquet").to_pylist()
    hits = sum(place in row["wanted"] for row in rows for place in row["said"])
    said, wanted = (sum(len(row[name]) for row in rows) for name in ("said", "wanted"))
    assert report["metrics"]["f1"] == pytest.approx(2 * hits / (said + wanted), abs=1e-6)
    group = report["groups"]["all"]
    assert group["baselines"][0]["name"] == "word_tags"
    assert group["main"] == "f1" and group["baselines"][0]["margin"] == pytest.approx(
        group["metrics"]["f1"] - group["baselines"][0]["metrics"]["f1"], abs=1e-6
    )
    page = (found.path / "report.html").read_text(encoding="utf-8")
    assert "<mark>Ada <small>PER</small></mark>" in page


def test_a_bundle_gives_the_tags_of_its_model(tagger: Loaded, world: Path) -> None:
    bundle = tagger.export(out=f"{tagger.path}.bundle", data=f"{tagger.path}.dataset")
    parity = json.loads((bundle.path / "parity.json").read_text(encoding="utf-8"))["onnx"]
    assert parity["compared"] == "tags" and parity["is_same"] and parity["longest"] == 48
    texts = [*TEXTS, "Ada met Bob " * 40]
    assert bundle.predict(texts) == tagger.predict(texts)


@pytest.mark.parametrize("base", ["encoder", "decoder"])
@pytest.mark.parametrize("method", ["head", "lora"])
def test_an_adapter_and_a_head_answer_after_they_were_saved_as_they_were_scored(
    world: Path, base: str, method: str
) -> None:
    found = tuned(world, base, f"{method}-{base}", method=method, epochs=4)
    report = found.evaluate(f"{found.path}.dataset", split="validation")
    for name in ("f1", "accuracy"):
        assert report.metrics[name] == pytest.approx(found.metrics[f"validation_{name}"], abs=1e-6)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_crf_travels_in_the_folder_and_in_the_bundle_and_plain_transformers_read_the_rest(
    world: Path, method: str
) -> None:
    found = tuned(world, "encoder", f"crf-{method}", task={"kind": "tag", "crf": True}, method=method, epochs=4)
    report = found.evaluate(f"{found.path}.dataset", split="validation")
    assert report.metrics["f1"] == pytest.approx(found.metrics["validation_f1"], abs=1e-6)
    kept = json.loads((found.path / ("config.json" if method == "full" else "head.json")).read_text(encoding="utf-8"))
    assert np.shape(kept["pretune"]["crf"]["pairs"]) == (5, 5)
    answers = found.predict(TEXTS)
    assert found.export(out=f"{found.path}.bundle").predict(TEXTS) == answers
    if method == "full":
        assert by_transformers(found.path, TEXTS) != [list(a.tags) for a in answers if isinstance(a, Tags)]


def test_words_behind_max_length_are_counted_and_a_row_without_any_is_left_out(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (world / "long").mkdir()
    for split, words in {"train": ["Ada", "met", "Bob", "and"], "dev": ["and" * 20]}.items():
        rows = [{"tokens": words, "tags": ["B-PER", *["O"] * (len(words) - 1)]}]
        (world / "long" / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    tuned(world, "decoder", "cut", "long", max_length=9, steps=1, epochs=None, quiet=False)
    told = capsys.readouterr().err
    # Ada 3, met 3 and Bob 3 tokens, and one that ends the row: Bob's last token is the ninth.
    assert "warning: 2 of 4 words are behind max_length=9 or have no token: they are not learnt" in told
    assert "nothing of the validation split can be scored, so the last weights are kept: no word is within" in told


def test_no_word_within_max_length_is_refused(world: Path) -> None:
    with pytest.raises(NoTarget, match="max_length=2"):
        tuned(world, "encoder", "short", max_length=2)


def test_what_cannot_be_learnt_from_is_refused_with_words(world: Path) -> None:
    plain = [{"tokens": words, "tags": ["O"] * len(words)} for words in TEXTS[:9]]
    (world / "plain.jsonl").write_text("\n".join(map(json.dumps, plain)), encoding="utf-8")
    with pytest.raises(OneClass, match="no label at all"):
        tuned(world, "encoder", "plain", "plain.jsonl")
    with pytest.raises(OneClass, match="every word is tagged O"):
        Tag(kind="tag").check((), [])
    (world / "uneven.jsonl").write_text('{"tokens": ["a", "b"], "tags": ["O", "O"]}\n{"tokens": ["a"], "tags": ["O", "O"]}\n' * 4, encoding="utf-8")  # fmt: skip
    with pytest.raises(BadFile, match=r"uneven\.jsonl:2.*2 tags for 1 words"):
        tuned(world, "encoder", "uneven", "uneven.jsonl")
    (world / "labels.csv").write_text("text,label\n" + "".join(f"text {k},{'ab'[k % 2]}\n" for k in range(20)), encoding="utf-8")  # fmt: skip
    with pytest.raises(WrongKind, match="task=tag needs tags examples"):
        tuned(world, "encoder", "labels", "labels.csv")
    with pytest.raises(NotSupported, match="does not weigh labels"):
        tuned(world, "encoder", "weights", dataset={"balance": "weights"})


def test_a_classifier_is_not_judged_by_tags(world: Path, tagger: Loaded) -> None:
    with pytest.raises(NotSupported, match="gives labels, the data holds tags"):
        pretune.load(world / "encoder").evaluate(f"{tagger.path}.dataset", out=world / "no-report")


def test_a_rounded_tagger_is_measured_by_f1(world: Path, run: Callable[..., Any]) -> None:
    full = tuned(world, "encoder", "whole", epochs=2)
    small = run(it={"kind": "compress", "model": str(full.path), "data": f"{full.path}.dataset"})["it"]
    before = small.card.metrics["quality_before"]
    assert before["f1"] == pytest.approx(full.metrics["validation_f1"], abs=1e-6)


def test_an_adapter_is_exported_with_its_own_answers(world: Path) -> None:
    found = tuned(world, "encoder", "adapted", method="lora", epochs=2)
    bundle = found.export(out=world / "adapted.bundle", data=f"{found.path}.dataset")
    assert bundle.predict(TEXTS) == found.predict(TEXTS)


def test_a_report_without_any_entity_found_is_still_a_report(world: Path) -> None:
    found = tuned(world, "encoder", "untaught", epochs=None, steps=1, optim={"kind": "adamw", "learning_rate": 1e-12})
    rows = [{"tokens": ["met", "near"], "tags": ["O", "O"]}, {"tokens": ["and", "🙂"], "tags": ["O", "O"]}]
    rows += [{"tokens": ["Ada"], "tags": ["B-PER"]}]
    (world / "none").mkdir()
    for split in ("train", "test"):
        lines = "\n".join(map(json.dumps, rows if split == "train" else rows[:2]))
        (world / "none" / f"{split}.jsonl").write_text(lines.replace("near", split), encoding="utf-8")
    report = found.evaluate(world / "none", out=world / "none.report")
    assert {*pq.read_table(report.path / "predictions.parquet").column_names} >= {"wanted", "said", "f1_of_text"}
