import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pretune.base.artifact import Artifact
from pretune.base.log import Log
from pretune.base.recipe import Recipe

HEADER = "# Licensed to nobody in particular under the terms of the Zygomorphic Quixotic Xylophone License\n"
TEXTS = [
    f"{HEADER}def area_{i}(width, height):\n\t# 面积 🙂 第{i}行\n    return width * height\n\nThe height of number {i} is the height of the width. 你好，世界。\n"
    for i in range(60)
]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Artifact]]:
    """Corpus, tokenizer and tokens of sixty small documents, through a recipe; settings by dotted name."""
    monkeypatch.setenv("PRETUNE_CACHE", str(tmp_path / "cache"))
    lines = [json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in TEXTS]
    (tmp_path / "a.jsonl").write_text("".join(lines), encoding="utf-8")

    def run(work: str = "out", **settings: Any) -> dict[str, Artifact]:
        stages = {
            "corpus": {"kind": "corpus", "read": {"notes": [str(tmp_path / "a.jsonl")]}, "validation": 0.1, "test": 0},
            "tokenizer": {"kind": "tokenizer", "corpus": "$corpus", "vocab_size": 400, **settings},
            "tokens": {"kind": "tokens", "corpus": "$corpus", "tokenizer": "$tokenizer"},
        }
        return Recipe.build({"work": str(tmp_path / work), "stages": stages}).run(log=Log(quiet=True))

    return run
