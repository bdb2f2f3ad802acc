"""What is no string in the place of a text: unfolded, refused by name, or nothing; never JSON in the training text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pretune.base.errors import BadFile, EmptyInput
from pretune.text.dataset.example import read_split
from pretune.text.read.formats.columnwise import rows_of
from pretune.text.read.formats.record import Repairs
from pretune.text.read.plain import JOINED, plain_text
from pretune.text.read.readers import read_records
from pretune.text.read.shards import read_rows

ROWS = [{"text": "A lovely film", "label": "good"}, {"text": "Sleep came soon", "label": "bad"}]
BY_COLUMN = {name: [row[name] for row in ROWS] for name in ROWS[0]}
BY_INDEX = {name: {str(k): row[name] for k, row in enumerate(ROWS)} for name in ROWS[0]}
SPLIT = {"columns": ["text", "label"], "index": [0, 1], "data": [list(row.values()) for row in ROWS]}


def put(path: Path, value: Any) -> str:
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return str(path)


def corpus_of(run_stage: Any, path: str) -> tuple[list[str], dict[str, Any]]:
    artifact = run_stage("corpus", read=path, validation=0, test=0, filters=[])
    return [row["text"] for row in read_rows(artifact.path, "train")], artifact.card.metrics


# ---- nothing ------------------------------------------------------------------------------------


@pytest.mark.parametrize("nothing", ["NaN", "Infinity", "-Infinity", "1e999", "null"])
@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_a_number_that_is_none_is_neither_a_label_nor_a_text(
    tmp_path: Path, run_stage: Any, name: str, nothing: str
) -> None:
    lines = [
        *map(json.dumps, ROWS),
        f'{{"text": "no word", "label": {nothing}}}',
        f'{{"text": {nothing}, "label": "a"}}',
    ]
    path = put(tmp_path / name, "\n".join(lines) if name == "a.jsonl" else f"[{','.join(lines)}]")
    card = run_stage("dataset", read=path, validation=0, test=0).card.metrics
    assert (sorted(card["labels"]), card["dropped"]) == (["bad", "good"], {"empty text": 1, "no label": 1})
    texts, facts = corpus_of(run_stage, path)
    assert texts == ["A lovely film", "Sleep came soon", "no word"]
    assert facts["dropped"] == {"empty": 1}


def test_what_a_corpus_keeps_beside_a_text_is_json_whatever_stood_there(tmp_path: Path, run_stage: Any) -> None:
    path = put(tmp_path / "a.jsonl", '{"text": "words", "score": NaN, "more": {"of": [1e999, 2.5]}}')
    artifact = run_stage("corpus", read=path, validation=0, test=0, filters=[])
    (row,) = read_rows(artifact.path, "train")
    assert json.loads(row["meta"], parse_constant=pytest.fail) == {"score": None, "more": {"of": [None, 2.5]}}


# ---- tables by their columns --------------------------------------------------------------------


@pytest.mark.parametrize("tree", [BY_COLUMN, BY_INDEX, SPLIT], ids=["lists", "by index", "split"])
def test_a_table_written_column_by_column_gives_its_rows(tmp_path: Path, run_stage: Any, tree: Any) -> None:
    path = put(tmp_path / "a.json", json.dumps(tree, indent=1))
    assert list(read_records(Path(path))) == ROWS
    assert corpus_of(run_stage, path)[0] == [row["text"] for row in ROWS]
    found = read_split(run_stage("dataset", read=path, validation=0, test=0).path, "train")
    assert [(e.text, e.label) for e in found] == [tuple(row.values()) for row in ROWS]


def test_lines_of_columns_are_labelled_texts_and_no_sentences_with_tags(tmp_path: Path, run_stage: Any) -> None:
    batches = [{"text": ["bad", "good"], "label": ["n", "p"]}, {"text": ["So so."], "label": ["n"]}]
    path = put(tmp_path / "a.jsonl", "\n".join(map(json.dumps, batches)))
    found = read_split(run_stage("dataset", read=path, validation=0, test=0).path, "train")
    assert [(e.text, e.label) for e in found] == [("bad", "n"), ("good", "p"), ("So so.", "n")]


def test_columns_may_be_called_with_a_word_in_front(tmp_path: Path, run_stage: Any) -> None:
    assert rows_of({"text": ["bad", 7]}) == [{"text": "bad"}, {"text": 7}]
    tree = {"my_text": ["bad", None, "很好"], "my_label": ["n", "p", "p"]}
    assert rows_of(tree) == [dict(zip(tree, row, strict=True)) for row in zip(*tree.values(), strict=True)]
    path = put(tmp_path / "a.json", json.dumps(tree))
    assert corpus_of(run_stage, path)[0] == ["bad", "很好"], "not one document of all texts"


@pytest.mark.parametrize(
    "record",
    [
        {"tokens": ["Ann", "smiles"], "tags": ["B-PER", "O"]},
        {"text": ["Ann", "smiles"], "labels": ["B-PER", "O"]},
        {"text": ["I", "go"], "pos_tags": ["PRP", "VB"]},
        {"messages": [{"role": "user", "content": "hi"}]},
        {"dialog": ["How are you?", "I am fine."]},
        {"text": "one text", "labels": ["a", "b"]},
        {"text": ["one sentence.", "another"], "label": "a"},
        {"text": ["a", "b"], "label": ["x"]},
        {"text": []},
        {"11290": {"messages": []}, "11291": {"messages": []}},
        {"data": [{"text": "a"}]},
        [],
        "text",
    ],
)
def test_a_single_record_with_lists_in_it_stays_one(record: Any) -> None:
    assert rows_of(record) is None


# ---- lists and objects --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("as it is", "as it is"),
        (None, ""),
        (float("nan"), ""),
        (5, "5"),
        (True, "true"),
        ([], ""),
        (["one"], "one"),
        (["One sentence.", "And another"], "One sentence.\nAnd another"),
        (["今天天气很好。", "我们出去玩吧！"], "今天天气很好。\n我们出去玩吧！"),
        (["Title", "A paragraph of words.", "", "The end of it"], "Title\nA paragraph of words.\n\nThe end of it"),
    ],
)
def test_pieces_of_a_text_are_joined_and_numbers_written_out(value: Any, text: str) -> None:
    repairs = Repairs()
    assert plain_text(value, "text", "a.jsonl#3", repairs) == text
    assert repairs.mended == ({JOINED: 1} if isinstance(value, list) and len(value) > 1 else {})


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (["The", "tea", "is", "hot", "."], "is a list of words, not a text"),
        (["今天", "天气", "很", "好", "。"], "is a list of words"),
        ({"en": "Tea", "zh": "茶"}, "is an object with 'en', 'zh', not a text"),
        ({}, "is an empty object"),
        ([{"type": "text", "text": "x"}], "is a list that holds an object"),
        (["x", 3], "is a list that holds a number"),
        ([["a b c"]], "is a list that holds a list"),
        (b"\xff\0", "is bytes that are no text"),
    ],
)
def test_what_is_no_text_is_refused_by_its_place_its_column_and_what_it_is(value: Any, told: str) -> None:
    with pytest.raises(BadFile, match=f"a.jsonl#3: column 'body' {told}"):
        plain_text(value, "body", "a.jsonl#3", Repairs())


def test_a_corpus_joins_sentences_and_sets_the_rest_aside_with_its_reason(tmp_path: Path, run_stage: Any) -> None:
    values = ["plain", ["One sentence.", "Another one."], {"en": "Tea"}, ["a", "b", "c"], "the end"]
    path = put(tmp_path / "a.jsonl", "\n".join(json.dumps({"text": v}) for v in values))
    texts, facts = corpus_of(run_stage, path)
    assert texts == ["plain", "One sentence.\nAnother one.", "the end"]
    assert (facts["quarantined"], facts["mended"]) == (2, {JOINED: 1})
    assert facts["quarantine"][0].endswith("a.jsonl#2: column 'text' is an object with 'en', not a text")
    only = put(tmp_path / "b.jsonl", json.dumps({"text": {"en": "Tea"}}))
    with pytest.raises(EmptyInput, match="column 'text' is an object with 'en'"):
        run_stage("corpus", read=only)


@pytest.mark.parametrize("value", [["One sentence.", "Another one."], {"en": "Tea"}])
def test_a_dataset_refuses_a_text_that_is_a_list_or_an_object(tmp_path: Path, run_stage: Any, value: Any) -> None:
    rows = [*ROWS, {"text": value, "label": "good"}]
    path = put(tmp_path / "a.jsonl", "\n".join(map(json.dumps, rows)))
    with pytest.raises(BadFile, match=r"a\.jsonl:3: column 'text' must be text, not (a list|an object)"):
        run_stage("dataset", read=path)
