import sys
from pathlib import Path

import pytest

from pretune.base import artifact
from pretune.text.dataset.example import read_split
from pretune.text.read.shards import read_rows
from pretune.text.read.sources import source_name

SHELF = """
from pretune.text.read.document import Document

VERSION = 1

def files(part):
    return []

def documents(part):
    yield Document(f"A text of {part}\\r\\n", "", "shelf", f"{part}/one", {"k": 1})
    yield Document(f"Another text of {part}", "", "", f"{part}/two")

def rows(part):
    yield {"prompt": "Who?", "completion": "You 🙂", "split": "train"}
    yield {"prompt": "What?", "completion": "This", "split": "dev", "keywords": ["This"]}
"""


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scheme of a stranger's: `shelf:PART`."""
    (tmp_path / "strangers_shelf.py").write_text(SHELF, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(artifact.SCHEMES, "shelf", "strangers_shelf")
    monkeypatch.delitem(sys.modules, "strangers_shelf", raising=False)


@pytest.mark.usefixtures("shelf")
def test_documents_of_a_scheme_are_cleaned_and_keep_their_source(run_stage):
    rows = list(read_rows(run_stage("corpus", read=["shelf:fables"], validation=0, test=0).path, "train"))
    assert [(r["text"], r["source"], r["origin"]) for r in rows] == [
        ("A text of fables\n", "shelf", "fables/one"),
        ("Another text of fables", "shelf-fables", "fables/two"),
    ]
    assert len({r["id"] for r in rows}) == 2


@pytest.mark.usefixtures("shelf")
def test_the_users_name_of_a_source_wins_over_the_schemes(run_stage):
    corpus = run_stage("corpus", read={"mine": ["shelf:fables"]}, validation=0, test=0)
    assert list(corpus.card.metrics["sources"]) == ["mine"]


@pytest.mark.usefixtures("shelf")
def test_rows_of_a_scheme_fall_in_the_split_they_name(run_stage):
    path = run_stage("dataset", read=["shelf:talk"]).path
    assert [d.messages[1].content for d in read_split(path, "train")] == ["You 🙂"]
    assert [d.keywords for d in read_split(path, "validation")] == [("This",)]
    assert read_split(path, "test") == []


def test_a_source_without_a_name_is_called_like_its_folder_or_file():
    assert [source_name(p) for p in ("data/logs/*.jsonl", "docs/", "a/book.txt", "python:docs", "*.txt")] == [
        "logs",
        "docs",
        "book",
        "python-docs",
        "text",
    ]
