"""Small real runs, healthy ones and ones with a trouble planted, for the rules of `pretune show --compare`."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pretune.base.log import Log
from pretune.base.recipe import Recipe

SHAPE = {"kind": "qwen3", "layers": 1, "width": 64, "heads": 2, "kv_heads": 1, "head_width": 32, "hidden": 176}
RUN: dict[str, Any] = {
    "kind": "pretrain",
    "model": SHAPE,
    "length": 64,
    "batch": 16,
    "micro_batch": 16,
    "precision": "float32",
    "prompts": [],
}


def english(shared: Path, *, number: int, size: int) -> list[str]:
    """Passages of novels, none overlapping another."""
    texts = [p.read_text(encoding="utf-8") for p in sorted((shared / "data/gutenberg-en").glob("*.md"))]
    whole = "".join(text[2000:] for text in texts)
    step = len(whole) // number
    return [whole[k * step : k * step + size] for k in range(number)]


def chinese(shared: Path, *, number: int) -> list[str]:
    """Tang poems, several in a document."""
    with gzip.open(shared / "data/chinese-poetry/tang.jsonl.gz", "rt", encoding="utf-8") as file:
        poems = [" ".join(map(str, json.loads(next(file)).values())) for _ in range(number)]
    return ["\n".join(poems[k : k + 10]) for k in range(0, number, 10)]


def trained(
    folder: Path, documents: Iterable[str], *, stages: Mapping[str, Any] | None = None, **settings: Any
) -> Path:
    """The folder of a model that was trained on these documents; `stages` changes what comes before it."""
    source = folder / "text.jsonl"
    folder.mkdir(parents=True, exist_ok=True)
    source.write_text("".join(json.dumps({"text": d}) + "\n" for d in documents), encoding="utf-8")
    before: dict[str, Any] = {
        "corpus": {"kind": "corpus", "read": [str(source)], "validation": 0.1, "test": 0.0, "filters": []},
        "tokenizer": {"kind": "tokenizer", "corpus": "$corpus", "vocab_size": 1000},
        "tokens": {"kind": "tokens", "corpus": "$corpus", "tokenizer": "$tokenizer"},
    }
    for name, changes in (stages or {}).items():
        before[name] = before.get(name, {}) | changes
    made = {"work": str(folder / "runs"), "stages": before | {"base": RUN | {"tokens": "$tokens"} | settings}}
    return Recipe.build(made).run(log=Log(quiet=True))["base"].path
