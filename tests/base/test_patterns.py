"""Paths with the signs of patterns in them: what is there is that file."""

from __future__ import annotations

from pathlib import Path

import pytest

from pretune.base.artifact import Artifact
from pretune.base.errors import EmptyInput
from pretune.text.read.sources import named_files, source_name


@pytest.mark.parametrize("name", ["data [1].csv", "what?.csv", "a*b.csv", "[x].csv"])
def test_a_file_that_is_there_is_that_file_and_no_pattern(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("text\na\n", encoding="utf-8")
    (tmp_path / "data 1.csv").write_text("text\nb\n", encoding="utf-8")
    assert named_files(Artifact.open(path)) == [(name, path)]
    assert source_name(path) == name.partition(".")[0]


def test_a_folder_with_brackets_in_its_name_is_that_folder(tmp_path: Path) -> None:
    inner = tmp_path / "runs [old]"
    inner.mkdir()
    (inner / "a.txt").write_text("a", encoding="utf-8")
    assert named_files(Artifact.open(inner)) == [("a.txt", inner / "a.txt")]


def test_a_pattern_is_still_one(tmp_path: Path) -> None:
    (tmp_path / "a1.txt").write_text("a", encoding="utf-8")
    assert [name for name, _ in named_files(Artifact.open(tmp_path / "a[12].txt"))] == ["a1.txt"]
    with pytest.raises(EmptyInput):
        Artifact.open(tmp_path / "a[34].txt")
