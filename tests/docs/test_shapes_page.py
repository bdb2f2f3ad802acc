"""Every example on the page of shapes is written to a file, read, and gives what the page says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from pretune.text.dataset.example import SHAPES, read_split

ROOT = Path(__file__).parents[2]
SECTION = re.compile(r"^## (\w+)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
SAMPLE = re.compile(r"^`([\w.]+)`\n\n```\w+\n(.*?)^```\n\n```\npretune dataset (\S+) --out \S+\n```\n\n```json\n(.*?)^```", re.M | re.S)  # fmt: skip
PAGES = ("docs/en/shapes.md", "docs/zh/shapes.md")


def samples(page: str) -> dict[str, tuple[str, str, str, str]]:
    """Shape -> (file, its text, the input of the command, what comes out), of each section named after a shape."""
    found = {}
    for shape, body in SECTION.findall((ROOT / page).read_text(encoding="utf-8")):
        if shape in SHAPES:
            match = SAMPLE.search(body)
            assert match, f"{page}: the section {shape!r} shows no file, command and outcome"
            found[shape] = match.groups()
    return found


def test_both_languages_show_the_same_examples_of_all_shapes() -> None:
    english, chinese = map(samples, PAGES)
    assert english == chinese
    assert list(english) == list(SHAPES)


@pytest.mark.parametrize("shape", SHAPES)
def test_an_example_of_the_page_is_read_as_the_page_says(
    tmp_path: Path, stage_run: Any, monkeypatch: pytest.MonkeyPatch, shape: str
) -> None:
    name, text, given, outcome = samples(PAGES[0])[shape]
    assert name == given
    monkeypatch.chdir(tmp_path)
    Path(name).write_text(text, encoding="utf-8", newline="")
    artifact = stage_run("dataset", read=given)
    assert artifact.card.metrics["shape"] == shape
    found = [e for split in ("train", "validation", "test") for e in read_split(artifact.path, split)]
    first = next(e for e in found if e.origin == f"{name}#0")
    (row,) = SHAPES[shape].to_table([first]).to_pylist()
    del row["origin"]
    assert row == json.loads(outcome)
