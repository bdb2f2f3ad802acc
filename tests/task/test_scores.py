"""Numbers, several labels, and two texts at a time: learnt, kept in the folder, judged and answered alike everywhere."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import pretune
from pretune.api import Loaded
from pretune.base.errors import NotSupported, OneClass, WrongValue
from pretune.infer.answers import Labels, Score
from pretune.infer.load import open_model
from pretune.testing.folders import build, write_model

WORDS = ("red", "green", "blue", "cat", "hat", "好", "世界")
PAIRS = [(f"the {a} hat", f"the {b} cat 🙂") for a in WORDS for b in WORDS]
SCORED = [{"sentence1": a, "sentence2": b, "score": 40.0 + 20 * (a[4:7] == b[4:7])} for a, b in PAIRS]
TOPICS = [{"text": f"{a} and {b}", "labels": sorted({a, b} & {"red", "cat", "好"})} for a in WORDS for b in WORDS]


def tuned(folder: Path, base: str, rows: Sequence[dict[str, Any]], task: Any, **settings: Any) -> Loaded:
    if not (folder / base).is_dir():
        write_model(folder / base, folder / f"{base}-words", base)
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    settings = {"optim": {"kind": "adamw", "learning_rate": 3e-3}, "max_length": 32, "batch": 8, **settings}
    settings.setdefault("precision", "float32")
    return pretune.fine_tune(
        folder / base, folder / "rows.jsonl", out=folder / "tuned", task=task, quiet=True, **settings
    )


@pytest.mark.parametrize("base", ["bert-labels", "qwen3-labels"])
@pytest.mark.parametrize("method", ["full", "lora"])
def test_scores_come_back_in_their_own_unit_from_every_way_to_the_folder(
    tmp_path: Path, base: str, method: str
) -> None:
    found = tuned(tmp_path, base, SCORED, "regress", method=method, steps=4)
    inputs = [*PAIRS[:5], "one text alone"]
    ours = [answer.to_json()["score"] for answer in found.predict(inputs)]
    assert min(ours) > 20 and max(ours) < 80, "around 43, the mean, whatever the head says"
    bundle = open_model(found.export(out=tmp_path / "bundle").path)
    assert [a.value for a in bundle.answer(inputs) if isinstance(a, Score)] == pytest.approx(ours, abs=1e-3)


def test_a_folder_of_scores_says_so_to_plain_transformers_and_the_scale_survives_it(tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    found = tuned(tmp_path, "bert-labels", SCORED, "regress", steps=2, dataset={"validation": 0, "test": 0})
    model = AutoModelForSequenceClassification.from_pretrained(found.path)
    assert (model.config.problem_type, model.config.num_labels) == ("regression", 1)
    scores = [row["score"] for row in SCORED]
    assert model.config.pretune["scale"] == pytest.approx([np.mean(scores), np.std(scores)], rel=1e-12)
    model.save_pretrained(tmp_path / "again")
    assert json.loads((tmp_path / "again/config.json").read_text(encoding="utf-8"))["pretune"] == model.config.pretune


@pytest.mark.parametrize("base", ["bert-labels", "qwen3-labels", "roberta-labels"])
def test_two_texts_are_read_as_transformers_reads_a_pair(tmp_path: Path, base: str) -> None:
    from transformers import AutoTokenizer

    folder = write_model(tmp_path / "model", tmp_path / "words", base)
    tokenizer, model = AutoTokenizer.from_pretrained(folder), build(base)
    cls, sep, eos = tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.eos_token_id
    a, b = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in ("the cat", "你好 🙂"))
    rows = {
        "bert-labels": ([cls, *a, sep, *b, sep], [0] * (len(a) + 2) + [1] * (len(b) + 1)),
        "roberta-labels": ([cls, *a, sep, sep, *b, sep], None),
        "qwen3-labels": ([*a, eos, *b, eos], None),
    }
    ids, types = rows[base]
    given = {"input_ids": torch.tensor([ids])} | ({"token_type_ids": torch.tensor([types])} if types else {})
    with torch.no_grad():
        theirs = model(**given).logits.softmax(-1)[0]
    (ours,) = open_model(folder).answer([("the cat", "你好 🙂")])
    assert list(ours.scores.values()) == pytest.approx(theirs.tolist(), abs=1e-6)  # type: ignore[attr-defined]


def test_of_two_long_texts_the_longer_loses_its_end_first() -> None:
    from pretune.infer.classify import Frame

    frame = Frame((1,), (2,), (2,))
    assert frame.pair([5] * 9, [6] * 9, 11) == [1, *[5] * 4, 2, *[6] * 4, 2]
    assert frame.pair([5] * 2, [6] * 9, 11) == [1, *[5] * 2, 2, *[6] * 6, 2]
    assert frame.pair([5] * 9, [6] * 2, 11) == [1, *[5] * 6, 2, *[6] * 2, 2]


def test_a_classifier_learns_in_which_of_two_texts_a_word_stands_and_trains_on_the_rows_it_serves(
    tmp_path: Path,
) -> None:
    texts = [(f"the red {a}", f"a blue {b} 🙂") for a in WORDS for b in WORDS]
    rows = [{"premise": a, "hypothesis": b, "label": "first"} for a, b in texts]
    rows += [{"premise": b, "hypothesis": a, "label": "second"} for a, b in texts]
    found = tuned(tmp_path, "bert-labels", rows, "classify", epochs=30)
    assert found.metrics["validation_accuracy"] >= 0.8
    report = found.evaluate(tmp_path / "tuned.dataset", out=tmp_path / "report", split="validation")
    assert report.metrics["accuracy"] == pytest.approx(found.metrics["validation_accuracy"], abs=1e-6)
    page = (tmp_path / "report/report.html").read_text(encoding="utf-8")
    assert 'data-name="second"' in page and "🙂" in page


@pytest.mark.parametrize("method", ["full", "lora"])
def test_several_labels_are_learnt_each_with_a_threshold_that_is_served(tmp_path: Path, method: str) -> None:
    found = tuned(tmp_path, "bert-labels", TOPICS, "classify", method=method, epochs=20)
    assert found.metrics["validation_macro_f1"] >= 0.8
    texts = [row["text"] for row in TOPICS[::5]]
    answers = [answer for answer in found.predict(texts) if isinstance(answer, Labels)]
    thresholds = found.model.facts.more["thresholds"]
    assert found.model.facts.labels is not None and len(thresholds) == 3
    for answer in answers:
        chances = [answer.scores[name] for name in found.model.facts.labels]
        holds = [n for n, p, least in zip(found.model.facts.labels, chances, thresholds, strict=True) if p >= least]
        assert list(answer.names) == holds
    bundle = open_model(found.export(out=tmp_path / "bundle").path)
    assert [a.names for a in bundle.answer(texts) if isinstance(a, Labels)] == [a.names for a in answers]
    report = found.evaluate(tmp_path / "tuned.dataset", out=tmp_path / "report", split="validation")
    assert report.metrics["macro_f1"] == pytest.approx(found.metrics["validation_macro_f1"], abs=1e-6)
    assert {"majority_macro_f1", "tfidf_svm_macro_f1", "subset_accuracy", "micro_f1"} <= report.metrics.keys()


@pytest.mark.parametrize(("base", "bias"), [("bert-labels", "classifier"), ("roberta-labels", "classifier.out_proj")])
def test_a_head_of_several_labels_begins_at_how_often_each_occurs(tmp_path: Path, base: str, bias: str) -> None:
    from pretune.task.multilabel import MultiLabel
    from pretune.text.dataset.example import MultiLabelled

    texts = [MultiLabelled("a", held, "") for held in (("x",), ("x",), ("x", "y"))]
    folder = write_model(tmp_path / "model", tmp_path / "words", base)
    model, _ = MultiLabel(kind="multilabel").fitted(texts).load(folder, ["x", "y", "nowhere"], seed=0)
    chances = model.get_submodule(bias).bias.sigmoid()
    assert chances.tolist() == pytest.approx([3.5 / 4, 1.5 / 4, 1e-6], rel=1e-5)


def test_a_report_on_scores_ranks_the_model_next_to_the_mean_and_ridge_regression(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    found = tuned(tmp_path, "bert-labels", SCORED, "regress", epochs=10)
    report = found.evaluate(tmp_path / "tuned.dataset", out=tmp_path / "report", split="validation")
    rows = pq.read_table(report.path / "predictions.parquet").to_pylist()
    errors = np.array([row["said"] - row["score"] for row in rows])
    assert report.metrics["mae"] == pytest.approx(np.abs(errors).mean(), abs=1e-5)
    assert report.metrics["rmse"] == pytest.approx(np.sqrt((errors**2).mean()), abs=1e-5)
    assert report.metrics["mean_spearman"] == 0.0
    assert "Spearman correlation" in (report.path / "report.html").read_text(encoding="utf-8")


def test_a_base_that_gave_scores_becomes_a_classifier_again(tmp_path: Path) -> None:
    base = tuned(tmp_path, "bert-labels", SCORED, "regress", steps=1)
    (tmp_path / "labels.csv").write_text("text,label\n" + "".join(f"{w} {k},{k % 2}\n" for k in range(9) for w in WORDS), encoding="utf-8")  # fmt: skip
    found = pretune.fine_tune(base, tmp_path / "labels.csv", out=tmp_path / "clf", task="classify", steps=1, quiet=True)
    assert found.model.facts.answers == "label" and found.model.facts.more.keys() == {"temperature"}


Bad = tuple[list[dict[str, Any]], str, type[Exception], str]
BAD: list[Bad] = [
    ([{**row, "score": 3} for row in SCORED], "regress", OneClass, "have the score 3: there is nothing to learn"),
    ([*SCORED, {"sentence1": "a", "sentence2": "", "score": 1}], "regress", NotSupported, "1 of 50 examples have no second text"),
    ([{**row, "labels": ["red"]} for row in TOPICS], "classify", OneClass, "all examples carry the labels 'red'"),
    ([{**row, "labels": []} for row in TOPICS], "classify", OneClass, "have no label at all"),
]  # fmt: skip


@pytest.mark.parametrize(("rows", "task", "kind", "problem"), BAD)
def test_bad_examples_are_refused_before_a_model_is_loaded(
    tmp_path: Path, rows: list[dict[str, Any]], task: str, kind: type[Exception], problem: str
) -> None:
    whole: dict[str, Any] = {"validation": 0, "test": 0}
    with pytest.raises(kind, match=problem):
        tuned(tmp_path, "bert-labels", rows, task, steps=1, dataset=whole)


def test_a_setting_for_one_label_a_text_is_refused_where_there_are_several(tmp_path: Path) -> None:
    with pytest.raises(WrongValue, match="are for examples of shape label"):
        tuned(tmp_path, "bert-labels", TOPICS, {"kind": "classify", "reject": 0.9}, steps=1)


def test_pairs_of_a_file_are_answered_two_at_a_time_in_the_terminal_and_as_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from pretune.cli import main

    found = tuned(tmp_path, "bert-labels", SCORED, "regress", steps=1)
    monkeypatch.chdir(tmp_path)
    Path("pairs.csv").write_text("text,second\nthe cat,the hat\n你好,世界\n", encoding="utf-8")
    assert run(main, "predict", "tuned", "--input", "pairs.csv", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    wanted = [answer.to_json() for answer in found.predict([("the cat", "the hat"), ("你好", "世界")])]
    assert rows == [
        {"text": "the cat", "second": "the hat", **wanted[0]},
        {"text": "你好", "second": "世界", **wanted[1]},
    ]
    assert run(main, "predict", "tuned", "--input", "pairs.csv", "--quiet") == 0
    assert capsys.readouterr().out.splitlines()[1].endswith("\t你好\t世界")


def run(main: Callable[..., Any], *words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    return int(ended.value.code or 0)
