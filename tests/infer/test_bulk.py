"""Answers to a file: in order, and after a kill at any place the bytes of a run that nothing stopped."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pytest import approx

from pretune.base.errors import Changed, NotSupported, OtherAnswers
from pretune.base.log import Log
from pretune.base.staging import Workspace
from pretune.infer import bulk
from pretune.infer.bulk import Journal, answer_file, num_characters
from pretune.infer.classify import TextClassifier
from pretune.infer.embed import Embedder
from pretune.infer.load import open_model
from pretune.infer.rank import Ranker
from pretune.testing.folders import write_model

TEXTS = [f"the {'cat and the ' * (k * 7 % 11)}hat 你好 🙂 {k}" for k in range(27)]
Kinds = dict[str, Any]


class Killed(BaseException):
    """Nothing in the house catches it."""


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> Kinds:
    """A classifier, a tagger, a writer, and what gives vectors and orders by the classifier's three numbers."""
    root = tmp_path_factory.mktemp("kinds")
    opened = {
        name: open_model(write_model(root / kind, root / f"{kind}-words", kind))
        for name, kind in (("label", "bert-labels"), ("tags", "bert-tags"), ("text", "qwen3"))
    }
    classifier = opened["label"]
    assert isinstance(classifier, TextClassifier)
    facts = replace(classifier.facts, labels=None)
    parts: tuple[Any, Any] = classifier.encoder, classifier.tokenizer
    return {
        **opened,
        "vector": Embedder(*parts, replace(facts, task="embed", answers="vector", between=())),
        "ranking": Ranker(*parts, replace(facts, task="rank", answers="ranking")),
    }


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(bulk, "WINDOW", 6)
    monkeypatch.setattr(bulk, "WRITTEN", 6)
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # 15 ms each; here a call is a place to be killed at
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(json.dumps({"text": text}) for text in TEXTS), encoding="utf-8")
    return path


def answers_in(model: Any, source: Path, output: Path, **settings: Any) -> Journal:
    return answer_file(model, "0" * 32, source, output, log=Log(silent=True), **settings)


def killing(monkeypatch: pytest.MonkeyPatch, model: Any, at: int) -> Any:
    """The model, and every call that reaches the disk, fail at the `at`-th of their calls together."""
    left = at

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **named: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                raise Killed
            return call(*args, **named)

        return run

    class Model:
        facts, gives, engine = model.facts, model.gives, model.engine
        answer = staticmethod(counted(model.answer))

    monkeypatch.setattr(os, "fsync", counted(os.fsync))
    monkeypatch.setattr(Path, "replace", counted(Path.replace))
    monkeypatch.setattr(shutil, "rmtree", counted(shutil.rmtree))
    return Model()


def test_what_another_process_answers_before_the_lock_is_taken_is_not_answered_again(
    kinds: Kinds, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both look at the same moment; the other one begins, ends and goes before this one opens its scratch folder."""
    output, real, asked = tmp_path / "out.jsonl", Workspace.opened, []

    class Model:
        facts, gives, engine = kinds["label"].facts, kinds["label"].gives, kinds["label"].engine
        answer = asked.append

    def late(self: Workspace) -> Any:
        monkeypatch.setattr(Workspace, "opened", real)
        answers_in(kinds["label"], source, output)
        return real(self)

    monkeypatch.setattr(Workspace, "opened", late)
    assert answers_in(Model(), source, output).rows == len(TEXTS)
    assert not asked
    assert sorted(path.name for path in tmp_path.glob("out*")) == ["out.jsonl", "out.jsonl.journal"]


@pytest.mark.parametrize(("suffix", "step"), [(".jsonl", 1), (".csv", 7)])
def test_killed_anywhere_the_same_call_gives_the_bytes_of_an_uninterrupted_run(
    kinds: Kinds, source: Path, tmp_path: Path, suffix: str, step: int
) -> None:
    whole = tmp_path / f"whole{suffix}"
    answers_in(kinds["label"], source, whole)
    for place in range(1, 100, step):
        output = tmp_path / f"{place}{suffix}"
        with pytest.MonkeyPatch.context() as patch:
            model = killing(patch, kinds["label"], place)
            try:
                answers_in(model, source, output)
            except Killed:
                pass
            else:
                break
        made = answers_in(kinds["label"], source, output)
        assert output.read_bytes() == whole.read_bytes()
        assert (made.rows, made.failed) == (len(TEXTS), 0)
        assert not (tmp_path / f"{output.name}.scratch").exists()
    assert place > 20


def test_a_run_that_goes_on_answers_no_safe_window_again(kinds: Kinds, source: Path, tmp_path: Path) -> None:
    asked: list[int] = []

    class Model:
        facts, gives, engine = kinds["label"].facts, kinds["label"].gives, kinds["label"].engine

        def answer(self, inputs: list[str], **settings: Any) -> Any:
            asked.append(len(inputs))
            if len(asked) == 3:
                raise Killed
            return kinds["label"].answer(inputs, **settings)

    model: Any = Model()
    with pytest.raises(Killed):
        answers_in(model, source, tmp_path / "b.jsonl")
    answers_in(model, source, tmp_path / "b.jsonl")
    answers_in(model, source, tmp_path / "b.jsonl")
    assert asked == [6, 6, 6, 6, 6, 3]


@pytest.mark.parametrize("kind", ["label", "tags", "text", "vector", "ranking"])
def test_rows_stand_in_the_order_of_the_file_though_short_texts_are_answered_first(
    kinds: Kinds, source: Path, tmp_path: Path, kind: str
) -> None:
    model = kinds[kind]
    asked: list[Any] = list(TEXTS)
    if kind == "ranking":
        asked = [{"query": text, "candidates": [text[:9], text[3:]]} for text in TEXTS]
        source.write_text("\n".join(map(json.dumps, asked)), encoding="utf-8")
    answers_in(model, source, tmp_path / "b.jsonl", max_tokens=4)
    found = [json.loads(line) for line in (tmp_path / "b.jsonl").read_text(encoding="utf-8").splitlines()]
    for row, one in zip(found, asked, strict=True):
        (alone,) = model.answer([one], max_tokens=4)
        wanted = {**(one if isinstance(one, dict) else {"text": one}), **alone.to_json()}
        assert row == _near(wanted)


def _near(tree: Any) -> Any:
    """Numbers to 1e-5: rows that run together are padded."""
    if isinstance(tree, dict):
        return {name: _near(value) for name, value in tree.items()}
    return (
        [*map(_near, tree)] if isinstance(tree, list) else approx(tree, abs=1e-5) if isinstance(tree, float) else tree
    )


def test_other_inputs_models_and_settings_are_refused_by_name(kinds: Kinds, source: Path, tmp_path: Path) -> None:
    model, output, log = kinds["text"], tmp_path / "b.jsonl", Log(silent=True)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        answers_in(killing(patch, model, 12), source, output, max_tokens=3)
    for was in ("was begun", "was made"):
        with pytest.raises(OtherAnswers, match=f"{was} with another max_tokens=3"):
            answers_in(model, source, output, max_tokens=4)
        with pytest.raises(OtherAnswers, match=f"{was} with another model, max_tokens=3"):
            answer_file(model, "1" * 32, source, output, log=log)
        source.write_text(source.read_text(encoding="utf-8") + "\n", encoding="utf-8")
        with pytest.raises(OtherAnswers, match=f"{was} with another input  "):
            answers_in(model, source, output, max_tokens=3)
        source.write_text(source.read_text(encoding="utf-8")[:-1], encoding="utf-8")
        answers_in(model, source, output, max_tokens=3)


def test_a_run_that_was_stopped_before_its_first_window_was_safe_binds_nobody(
    kinds: Kinds, source: Path, tmp_path: Path
) -> None:
    output, whole = tmp_path / "b.jsonl", tmp_path / "whole.jsonl"
    with pytest.raises(NotSupported):
        answers_in(kinds["text"], source, output, explained=True)
    answers_in(kinds["text"], source, output, max_tokens=3)
    answers_in(kinds["text"], source, whole, max_tokens=3)
    assert output.read_bytes() == whole.read_bytes()


def test_answers_that_were_touched_are_refused(kinds: Kinds, source: Path, tmp_path: Path) -> None:
    output, begun = tmp_path / "b.jsonl", tmp_path / "c.jsonl"
    answers_in(kinds["label"], source, output)
    output.write_bytes(output.read_bytes() + b"x")
    with pytest.raises(Changed, match="was changed after it was made"):
        answers_in(kinds["label"], source, output)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        answers_in(killing(patch, kinds["label"], 12), source, begun)
    safe = tmp_path / "c.jsonl.scratch" / "answers"
    safe.write_bytes(safe.read_bytes().replace(b"the", b"thx", 1))
    with pytest.raises(Changed, match="is not as it was left"):
        answers_in(kinds["label"], source, begun)
    output.unlink()
    assert answers_in(kinds["label"], source, output).rows == len(TEXTS)


def test_a_csv_holds_what_the_lines_of_json_hold(kinds: Kinds, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": 'the "cat",\nand\r\nthe 你好'}), encoding="utf-8")
    for name in ("b.jsonl", "b.csv"):
        answers_in(kinds["label"], tmp_path / "a.jsonl", tmp_path / name)
    row = json.loads((tmp_path / "b.jsonl").read_text(encoding="utf-8"))
    with (tmp_path / "b.csv").open(encoding="utf-8", newline="") as file:
        (found,) = csv.DictReader(file)
    assert found == {
        "text": row["text"],
        "label": row["label"],
        "score": json.dumps(row["score"]),
        "scores": json.dumps(row["scores"], ensure_ascii=False),
        "more": "",
    }


def test_a_csv_keeps_a_carriage_return_within_its_cell(kinds: Kinds, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "the cat\rthe hat"}), encoding="utf-8")
    answers_in(kinds["label"], tmp_path / "a.jsonl", tmp_path / "b.csv")
    with (tmp_path / "b.csv").open(encoding="utf-8", newline="") as file:
        (found,) = csv.DictReader(file)
    assert found["text"] == "the cat\rthe hat"


def test_what_only_a_later_row_has_stands_in_the_last_column_of_a_csv(
    kinds: Kinds, source: Path, tmp_path: Path
) -> None:
    rows = [*TEXTS[:6], "the hat " * 90]
    source.write_text("\n".join(json.dumps({"text": text}) for text in rows), encoding="utf-8")
    made = answers_in(kinds["text"], source, tmp_path / "b.csv", max_tokens=3)
    with (tmp_path / "b.csv").open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    assert [row["more"] for row in found] == [""] * 6 + ['{"error": "too-long"}']
    assert (made.rows, made.failed) == (7, 1)


def test_the_size_of_an_input_is_that_of_all_its_texts() -> None:
    assert num_characters("你好") == 2
    assert num_characters(("ab", "c")) == 3
    assert num_characters({"query": "ab", "candidates": ["c", "def"]}) == 6
    assert num_characters({"messages": [{"role": "user", "content": "你好"}], "tools": None}) == 6
