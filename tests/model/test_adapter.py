"""Adapter folders are opened as they were trained, and a plain model folder holds a plain model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from pretune.base.errors import NotSupported
from pretune.infer.classify import TextClassifier
from pretune.model.folder import load_labelled, save_model
from pretune.model.generate import from_objects, open_folder
from pretune.model.methods.method import METHOD
from pretune.testing.folders import build, write_model

TEXTS = ["the cat", "你好 🙂", "and the hat and the cat"]


def test_an_adapter_of_a_tokenizer_without_padding_is_opened_with_the_padding_that_it_was_trained_with(
    tmp_path: Path,
) -> None:
    model = build("qwen3")
    model.config.pad_token_id = None
    base = write_model(tmp_path / "base", tmp_path / "words", "qwen3", model=model)
    path = base / "tokenizer_config.json"
    config = {name: v for name, v in json.loads(path.read_text(encoding="utf-8")).items() if name != "pad_token"}
    path.write_text(json.dumps(config), encoding="utf-8")
    torch.manual_seed(0)
    plain, heads = load_labelled(base, "label", ["a", "b", "坏"])
    lora = METHOD({"kind": "lora", "rank": 2})
    trained = lora.apply(plain, heads=heads)
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter) if parameter.requires_grad else 0)
    out = tmp_path / "adapter"
    out.mkdir()
    lora.save(trained, out, base="../base", tokenizer=base, weights={})
    opened, memory = open_folder(out), from_objects(lora.merge(trained), base)
    assert isinstance(opened, TextClassifier) and isinstance(memory, TextClassifier)
    rows = memory.rows(TEXTS)
    assert np.allclose(opened.encoder.logits(rows), memory.encoder.logits(rows), atol=1e-5)
    assert opened.facts == memory.facts


def test_a_model_with_weights_that_its_class_has_not_is_not_saved_as_a_plain_one(tmp_path: Path) -> None:
    base = write_model(tmp_path / "base", tmp_path / "words", "bert-labels")
    model = build("bert-labels")
    model.bert.encoder.layer[0].more = nn.Linear(32, 4)
    with pytest.raises(NotSupported, match=r"has no bert.encoder.layer.0.more.weight: its adapter cannot be merged"):
        save_model(model, tmp_path, tokenizer=base)
