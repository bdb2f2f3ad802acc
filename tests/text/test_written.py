"""Lists that stand written out in the cells of a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pretune.text.dataset.example import read_split
from pretune.text.dataset.shapes.written import read_back
from tests.strangers.judging import example_read


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("['joy', 'love']", ["joy", "love"]),
        ('["joy", "你好 🙂"]', ["joy", "你好 🙂"]),
        ("['joy' 'love']", ["joy", "love"]),
        ("[ 2  7\n 27]", [2, 7, 27]),
        ("[27]", [27]),
        ("[]", []),
        ("[null, true]", [None, True]),
        ("{'text': ['a'], 'answer_start': [3]}", {"text": ["a"], "answer_start": [3]}),
        ("[deleted]", "[deleted]"),
        ("[1] and [2]", "[1] and [2]"),
        ("[__import__('os')]", "[__import__('os')]"),
        ("[" * 5000 + "]" * 5000, "[" * 5000 + "]" * 5000),
        ("joy", "joy"),
        (7, 7),
    ],
)
def test_what_a_cell_writes_out_is_read_back_and_nothing_is_run(cell: Any, value: Any) -> None:
    assert read_back(cell) == value


def read(place: Path, run_stage: Any, text: str, **settings: Any) -> list[Any]:
    (place / "a.csv").write_text(text, encoding="utf-8")
    made = run_stage("dataset", read=str(place / "a.csv"), validation=0, test=0, **settings)
    return [example_read(example) for example in read_split(made.path, "train")]


def test_labels_that_are_lists_are_several_labels(tmp_path: Path, run_stage: Any) -> None:
    text = "text,labels\nA,\"['joy', 'love']\"\nB,['joy']\nC,[]\n"
    assert read(tmp_path, run_stage, text) == [("A", ("joy", "love")), ("B", ("joy",)), ("C", ())]


def test_words_and_tags_that_are_lists_are_no_brackets_and_commas(tmp_path: Path, run_stage: Any) -> None:
    text = "tokens,tags\n\"['Ann', 'smiles']\",\"['B-PER', 'O']\"\n['Rome'],['B-LOC']\n"
    assert read(tmp_path, run_stage, text) == [(("Ann", "smiles"), ("B-PER", "O")), (("Rome",), ("B-LOC",))]


def test_texts_in_brackets_stay_texts(tmp_path: Path, run_stage: Any) -> None:
    assert read(tmp_path, run_stage, 'text,label\n[1],a\n"[2, 3]",b\n') == [("[1]", "a"), ("[2, 3]", "b")]


def test_a_column_that_is_named_is_read_back_too(tmp_path: Path, run_stage: Any) -> None:
    text = "text,feelings\nA,\"['joy', 'love']\"\nB,['joy']\n"
    found = read(tmp_path, run_stage, text, columns={"label": "feelings"})
    assert found == [("A", ("joy", "love")), ("B", ("joy",))]


def test_a_column_in_which_only_some_cells_are_lists_is_left_as_it_is(tmp_path: Path, run_stage: Any) -> None:
    assert read(tmp_path, run_stage, "text,label\nA,['joy']\nB,joy\n") == [("A", "['joy']"), ("B", "joy")]
