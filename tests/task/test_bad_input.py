"""What is wrong with labelled data is said in words, with a hint, before a model is loaded; or counted, and learnt around."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import pretune
from pretune.base.errors import NotSupported, PretuneError
from pretune.testing.roundtrips import write_base

GOOD = [{"text": f"a {word} film {k}", "label": word} for k in range(12) for word in ("good", "bad")]
PAIRS = [{"sentence1": f"a {k}", "sentence2": f"b {k}", "label": "yes" if k % 2 else "no"} for k in range(24)]
SCORES = [{"text": f"text {k}", "score": float(k)} for k in range(24)]
TAGS = [{"tokens": ["Ann", "sees", str(k)], "tags": ["B-PER", "O", "O"]} for k in range(24)]
QUESTIONS = [
    {"question": f"who {k}", "context": f"Ann {k} sees", "answers": [{"text": "Ann", "answer_start": 0}]}
    for k in range(24)
]
SAID = [{"prompt": f"say {k}", "completion": f"{k}"} for k in range(24)]
PREFERRED = [{"prompt": f"say {k}", "chosen": f"{k}", "rejected": "no"} for k in range(24)]

Case = tuple[str, dict[str, Any], str, str, str]
REFUSED: list[Case] = [
    (
        "one class",
        {"rows": [{**one, "label": "good"} for one in GOOD]},
        "classify",
        "bert-labels",
        "to train on have the label 'good'",
    ),
    (
        "rows without a label",
        {"rows": [{"text": one["text"], "label": ""} for one in GOOD]},
        "classify",
        "bert-labels",
        "left out: 24 no label",
    ),
    (
        *("a pair without its second", {"rows": [*PAIRS, {"sentence1": "alone", "sentence2": "", "label": "yes"}]}),
        *("classify", "bert-labels", "1 of .* examples have no second text to compare with, rows.jsonl#24"),
    ),
    (
        "all scores equal",
        {"rows": [{**one, "score": 3} for one in SCORES]},
        "regress",
        "bert-labels",
        "have the score 3",
    ),
    (
        "scores that are no numbers",
        {"rows": [{**one, "score": "much"} for one in SCORES]},
        "regress",
        "bert-labels",
        "has no column that could be the label; it has: text, score",
    ),
    (
        "all words tagged O",
        {"rows": [{**one, "tags": ["O"] * 3} for one in TAGS]},
        "tag",
        "bert-labels",
        "have no label at all",
    ),
    ("a chat without a template", {"rows": SAID}, "chat", "qwen3", "qwen3 has no chat template"),
    (
        *("every reply empty after it was cut", {"rows": SAID, "max_length": 3}),
        *("chat", "qwen3-chat", "no reply fits into max_length=3 tokens"),
    ),
    (
        *(
            "both answers of every preference equal",
            {"rows": [{**one, "rejected": one["chosen"]} for one in PREFERRED]},
        ),
        *("prefer", "qwen3-chat", "none of 17 preferences has two replies that differ"),
    ),
    ("another task's data", {"rows": SCORES}, "tag", "bert-labels", "needs tags examples, these are score"),
]


def learnt(folder: Path, base: str, task: Any, rows: Sequence[Any] = (), **settings: Any) -> Any:
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    usual: dict[str, Any] = {"steps": 1, "batch": 4, "max_length": 32, "precision": "float32"}
    return pretune.fine_tune(
        write_base(folder, base), folder / "rows.jsonl", out=folder / "out", task=task, **usual | settings
    )


@pytest.mark.parametrize(("name", "given", "task", "base", "told"), REFUSED, ids=[case[0] for case in REFUSED])
def test_refused_in_words_with_a_hint_before_a_model_is_loaded(
    tmp_path: Path, name: str, given: dict[str, Any], task: str, base: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pretune.model.folder.load_with_new", lambda *a, **k: pytest.fail("a model was loaded"))
    with pytest.raises(PretuneError, match=told) as error:
        learnt(tmp_path, base, task, **given)
    assert error.value.hint or error.value.problem.count("\n"), error.value


def test_a_task_that_the_model_cannot_do_names_those_that_it_can(tmp_path: Path) -> None:
    with pytest.raises(NotSupported, match="a bert model has no head for the next token") as error:
        learnt(tmp_path, "bert-labels-chat", "chat", SAID)
    there = "masked tokens, masked tokens and the next sentence, labels, scores, tags, spans, vectors"
    assert error.value.hint == f"it has heads for: {there}"


TOLD: list[Case] = [
    (
        *("a label in dev that train lacks", {"dev": [{"text": "a fine film", "label": "fine"}], "train": GOOD}),
        *("classify", "bert-labels", "labels that are not in train: fine"),
    ),
    ("no dev split", {"train": GOOD}, "classify", "bert-labels", r"24 examples without a split .* for validation"),
    (
        "an offset that does not match",
        {"train": QUESTIONS, "dev": [{**QUESTIONS[0], "answers": [{"text": "Ann", "answer_start": 5}]}]},
        "answer",
        "bert-labels",
        "answers put where their text stands: 1",
    ),
    (
        "one preference with equal answers",
        {"train": [*PREFERRED, {**PREFERRED[0], "rejected": "0"}], "dev": PREFERRED},
        "prefer",
        "qwen3-chat",
        "1 of 25 preferences are left out: both replies are the same",
    ),
    (
        "one reply that does not fit",
        {"train": [*SAID, {"prompt": "say " * 40, "completion": "no"}], "dev": SAID},
        "chat",
        "qwen3-chat",
        "1 of 25 dialogues are left out: no reply fits",
    ),
    (
        "words behind the model",
        {"train": [*TAGS, {"tokens": ["Ann"] * 50, "tags": ["B-PER"] * 50}], "dev": TAGS},
        "tag",
        "bert-labels",
        "words are behind max_length=32",
    ),
    (
        "a text without a score",
        {"train": [*SCORES, {"text": "none"}], "dev": SCORES},
        "regress",
        "bert-labels",
        "left out: 1 with no score",
    ),
]


@pytest.mark.parametrize(("name", "given", "task", "base", "told"), TOLD, ids=[case[0] for case in TOLD])
def test_told_and_counted_and_the_rest_is_learnt(
    tmp_path: Path,
    name: str,
    given: dict[str, Any],
    task: str,
    base: str,
    told: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for split, rows in given.items():
        (data / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    made = pretune.fine_tune(
        *(write_base(tmp_path, base), data),
        **{"out": tmp_path / "out", "task": task, "steps": 1, "batch": 4, "max_length": 32, "precision": "float32"},
    )
    assert made.metrics["steps_taken"] == 1
    err = capsys.readouterr().err
    assert re.search(told, err), err


def test_tags_that_do_not_parse_are_named_by_their_line(tmp_path: Path) -> None:
    lines = ["Ann B-PER", "sees O", "", *["Bob B-PER", "runs", ""] * 4]
    (tmp_path / "people.conll").write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(PretuneError, match=r"people\.conll.*5"):
        pretune.fine_tune(
            write_base(tmp_path, "bert-labels"), tmp_path / "people.conll", out=tmp_path / "out", task="tag"
        )
