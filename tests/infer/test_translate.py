"""Back-translation: through two folders, by our own engine, with the same rows each time."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pretune.base.artifact import Artifact
from pretune.base.errors import NotSupported, SettingsError
from pretune.infer.load import open_model
from pretune.infer.translate import _answers, translator
from pretune.testing.folders import build
from pretune.text.dataset.example import read_split

WAY = {"kind": "back-translation", "ask_there": "zh {text}", "ask_back": "en {text}", "max_tokens": 8}


def test_a_translation_is_the_greedy_reply_to_what_is_asked(model_folder: Callable[..., Path]) -> None:
    folder = model_folder("qwen3", chat=True)
    model: Any = open_model(folder)
    texts = ["the cat", "", "and the hat. 你好", "x" * 500]
    found = translator(Artifact.open(folder), "zh {text}", 8)(texts)
    for text, answer in zip(texts[:3:2], found[:3:2], strict=True):
        ids = model.generate_many([model.chat_prompt([{"role": "user", "content": f"zh {text}"}])], 8)[0]
        assert answer == ("" if len(ids) == 8 else model.tokenizer.decode(ids).strip())
    assert (found[1], found[3]) == ("", ""), "nothing to translate; longer than the model reads"


def test_an_answer_that_does_not_end_is_left_out(model_folder: Callable[..., Path]) -> None:
    model: Any = open_model(model_folder("qwen3", chat=True))
    prompt = model.chat_prompt([{"role": "user", "content": "the cat"}])
    (ids,) = model.generate_many([prompt], 60)
    whole = _answers(model, ["the cat"], 60)
    assert whole == ([model.tokenizer.decode(ids).strip()] if len(ids) < 60 else [""])
    assert _answers(model, ["the cat"], min(len(ids), 60)) == [""]


def ending(kind: str) -> Any:
    """A random model that often says its end token."""
    model = build(kind)
    with torch.no_grad():
        model.lm_head.weight[1] *= 20
    return model


def test_rows_go_through_both_models_and_come_out_the_same_twice(
    tmp_path: Path, model_folder: Callable[..., Path], run: Callable[..., Any]
) -> None:
    there, back = (model_folder(kind, chat=True, model=ending(kind)) for kind in ("qwen3", "llama"))
    rows = [{"text": f"the cat and hat {k}", "label": "ab"[k % 2]} for k in range(12)]
    (tmp_path / "a.json").write_text(json.dumps(rows), encoding="utf-8")
    settings = {"kind": "dataset", "read": str(tmp_path / "a.json"), "validation": 0, "test": 0}
    way = {**WAY, "there": str(there), "back": str(back), "max_tokens": 30}
    made = run(one={**settings, "augment": [way]}, two={**settings, "augment": [way]})
    one = made["one"]
    assert one.card.inputs["augment.0.there"]["kind"] == one.card.inputs["augment.0.back"]["kind"] == "model"
    counts = one.card.metrics["train_rows"]
    assert counts["as read"] == 12
    assert counts["back-translation"] >= 3, "or nothing is shown"
    assert counts["back-translation"] + counts.get("nothing new", 0) == 12
    train = read_split(one.path, "train")
    between = translator(Artifact.open(there), WAY["ask_there"], 30)([r["text"] for r in rows])
    after = dict(
        zip((r["text"] for r in rows), translator(Artifact.open(back), WAY["ask_back"], 30)(between), strict=True)
    )
    new = {row.origin.partition("/")[0]: row for row in train if "/back-translation " in row.origin}
    for row in train[:12]:
        if row.origin in new:
            assert new[row.origin].text == after[row.text]
            assert new[row.origin].label == row.label
    assert one.card.id == made["two"].card.id


def test_a_model_that_does_not_chat_and_a_question_without_the_text_are_refused(
    tmp_path: Path, model_folder: Callable[..., Path], run_one: Callable[..., Any]
) -> None:
    folder = str(model_folder("qwen3"))
    with pytest.raises(NotSupported, match="does not chat"):
        run_one(tmp_path, [{**WAY, "there": folder, "back": folder}])
    with pytest.raises(SettingsError, match=r"must hold \{text\}"):
        run_one(tmp_path, [{**WAY, "there": folder, "back": folder, "ask_there": "translate"}])


@pytest.fixture
def run_one(run: Callable[..., Any]) -> Callable[..., Any]:
    def made(folder: Path, ways: list[Any]) -> Any:
        rows = [{"text": f"the cat {k}", "label": "ab"[k % 2]} for k in range(8)]
        (folder / "a.json").write_text(json.dumps(rows), encoding="utf-8")
        return run(one={"kind": "dataset", "read": str(folder / "a.json"), "augment": ways})

    return made
