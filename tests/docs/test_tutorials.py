"""The code of docs/*/tutorials.md runs as it stands, from top to bottom, on small data under the names that it uses."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from pretune.base.artifact import Artifact
from pretune.report.view import artifact_text
from pretune.testing.folders import build, write_model
from tests.docs.test_docs import fences

TAGS = {"Ada": "B-PER", "Bob": "B-PER", "Paris": "B-LOC"}


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the tutorials' user has lying about."""
    rng = random.Random(0)
    write_model(tmp_path / "bert", tmp_path / "words", "bert-labels", model=build("bert-labels", spread=False))
    rows = [f"a {word} film {k},{name}" for k in range(20) for word, name in [("lovely", "good"), ("dull", "bad")]]
    (tmp_path / "reviews.csv").write_text("\n".join(["text,label", *rows]), encoding="utf-8")
    sentences = [[rng.choice([*TAGS, "met", "in", "and"]) for _ in range(6)] for _ in range(40)]
    blocks = ["\n".join(f"{word} {TAGS.get(word, 'O')}" for word in words) for words in sentences]
    (tmp_path / "people.conll").write_text("\n\n".join(blocks) + "\n", encoding="utf-8")
    (tmp_path / "books").mkdir()
    for k in range(8):
        text = " ".join(rng.choice(["we", "sell", "tea", "and", "books", str(k)]) for _ in range(200))
        (tmp_path / "books" / f"{k}.txt").write_text(text, encoding="utf-8")
    said = [{"prompt": f"What do you sell, {k}?", "completion": f"Tea {k}.", "keywords": ["tea"]} for k in range(30)]
    (tmp_path / "dialogues.jsonl").write_text("\n".join(map(json.dumps, said)), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_walk_runs_and_both_languages_have_the_same_code(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    walks = fences("docs/en/tutorials.md", "python")
    assert walks == fences("docs/zh/tutorials.md", "python")
    for walk in walks:
        small = "steps=2, batch=4, length=32, model={'kind': 'qwen3', 'layers': 1, 'width': 32}, tokenizer={'vocab_size': 300}"
        exec(walk.replace("minutes=5", small), {"__name__": "walk"})
    told = capsys.readouterr().out
    assert "precision    recall  f1-score   support" in told and "weighted F1" in told
    assert (desk / "runs" / "chat.report" / "report.html").is_file()
    shown = artifact_text(Artifact.open("runs/reviews.report"))
    assert "precision    recall  f1-score   support" in shown, "`pretune show` prints it too"
