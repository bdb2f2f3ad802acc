"""The notebooks of docs/notebooks run from top to bottom, in their order and in one folder, as their readers run them."""

from __future__ import annotations

import contextlib
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "docs" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
SMALL = {
    "minutes=3": "steps=2, batch=4, length=32, model={'kind': 'qwen3', 'layers': 1, 'width': 32}, tokenizer={'vocab_size': 300}",
    "epochs=3": "steps=3, batch=8, max_length=24",
    "in topics.items()": "in [*topics.items()][:20]",
    "sorted(lines)": "sorted(lines)[:60]",
}
"""What makes minutes of a cell seconds."""


def cells(path: Path, kind: str) -> list[str]:
    tree = json.loads(path.read_text(encoding="utf-8"))
    return ["".join(cell["source"]) for cell in tree["cells"] if cell["cell_type"] == kind]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("notebooks")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_top_to_bottom(path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    names: dict[str, Any] = {"__name__": "__main__"}
    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        for number, cell in enumerate(cells(path, "code")):
            for large, small in SMALL.items():
                cell = cell.replace(large, small)
            exec(compile(cell, f"{path.name}[{number}]", "exec"), names)
    said = {
        "1-first-model": r"bits per byte of text that was not read[\s\S]*The for statement is used \| ",
        "2-classifier": r"accuracy 0?\.?\d[\s\S]*tfidf_svm_accuracy 0?\.?\d",
        "3-chat-on-documents": r"islands[^\n]*seven days[\s\S]*定制的商品不能退货[\s\S]*开发票",
        "4-compress-and-serve": r"(\w+) [\d.]+ \| \1 [\d.]+[\s\S]*\['\w+', '\w+'\]",
    }[path.stem]
    assert re.search(said, told.getvalue()), told.getvalue()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_small_speaks_both_languages_and_holds_no_output(path: Path) -> None:
    tree = json.loads(path.read_text(encoding="utf-8"))
    assert (tree["nbformat"], tree["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in tree["cells"]}) == len(tree["cells"])
    for cell in tree["cells"]:
        assert cell.keys() == {"cell_type", "id", "metadata", "source"} | (
            {"execution_count", "outputs"} if cell["cell_type"] == "code" else set()
        )
        assert not cell.get("outputs")
    for text in cells(path, "markdown"):
        assert re.search(r"[一-鿿]", text) and re.search(r"[a-z]{4}", text), text
    assert path.stat().st_size < 20_000
