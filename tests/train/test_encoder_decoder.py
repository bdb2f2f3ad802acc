"""Encoder-decoders from raw text: what their folders do in plain transformers, and what pretune does with them."""

from __future__ import annotations

import json
from itertools import product

import numpy as np
import pytest

from pretune.base.artifact import Artifact
from pretune.base.errors import NotSupported
from pretune.base.log import Log
from pretune.base.recipe import Recipe
from pretune.infer.load import open_model
from pretune.model.families.t5 import T5Shape
from pretune.objective.objective import OBJECTIVE

EATS = {"cat": "fish", "dog": "meat", "cow": "grass", "mouse": "cheese"}
SHAPE = {"kind": "t5", "layers": 1, "width": 32, "heads": 2, "head_width": 16, "hidden": 64}
RUN = {"kind": "pretrain", "model": SHAPE, "length": 64, "batch": 8, "micro_batch": 8, "precision": "float32"}
CORPUS = {"kind": "corpus", "filters": [], "dedup": "none", "max_overlap": None, "validation": 0.1, "test": 0}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    """A model that fills holes, one that goes on with texts, and one that was fine-tuned."""
    root = tmp_path_factory.mktemp("encoder-decoder")
    whole = product(["today", "now", "here", "soon"], EATS.items(), ["sleeps", "rests", "plays", "walks"])
    texts = [{"text": f"{when} the {a} eats {b} and {then}"} for when, (a, b), then in whole]
    pairs = [{"source": f"what does the {a} eat?", "target": b} for a, b in EATS.items()] * 4
    for name, rows in {"text": texts, "pairs": pairs}.items():
        (root / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    stages = {
        "text": {**CORPUS, "read": [str(root / "text.jsonl")]},
        "words": {"kind": "tokenizer", "corpus": "$text", "vocab_size": 300},
        "tokens": {"kind": "tokens", "corpus": "$text", "tokenizer": "$words"},
        "span": {**RUN, "tokens": "$tokens", "steps": 250, "objective": {"kind": "span", "rate": 0.3, "sentinels": 30}},
        "prefix": {**RUN, "tokens": "$tokens", "steps": 150, "objective": "prefix"},
        "pairs": {"kind": "dataset", "read": [str(root / "pairs.jsonl")]},
        "tuned": {"kind": "finetune", "model": "$span", "data": "$pairs", "task": "seq2seq", "steps": 4},
    }
    return Recipe.build({"work": str(root / "out"), "stages": stages}).run(log=Log(quiet=True))


def test_plain_transformers_fill_a_hole(made: dict[str, Artifact]) -> None:
    from transformers import AutoTokenizer, T5ForConditionalGeneration

    print(made["span"].card.metrics)
    folder = made["span"].path
    tokenizer, model = AutoTokenizer.from_pretrained(folder), T5ForConditionalGeneration.from_pretrained(folder)
    for animal, food in EATS.items():
        text = f"now the {animal} eats<extra_id_0> and rests{tokenizer.eos_token}"
        written = model.generate(tokenizer(text, return_tensors="pt").input_ids, max_new_tokens=12)[0]
        print(text, tokenizer.decode(written), food)
    print(made["prefix"].card.metrics)
    ready = open_model(made["prefix"].path)
    print(ready.answer([f"now the {animal} eats" for animal in EATS]))
    print(made["tuned"].card.metrics)
