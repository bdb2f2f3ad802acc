"""The stage: a plain folder, and quality before and after."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from pretune.base.errors import NotSupported
from pretune.model.generate import open_folder
from pretune.testing.folders import build


def write_rows(folder: Path, rows: list[dict[str, Any]]) -> str:
    """The same rows as train, dev and test."""
    folder.mkdir()
    for k, name in enumerate(("train", "dev", "test")):
        text = "".join(json.dumps({**row, "n": f"{name}{k}"}, ensure_ascii=False) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    return str(folder)


def test_the_folder_loads_in_plain_transformers_with_the_rounded_weights(
    model_folder: Callable[..., Path], run: Callable[..., Any]
) -> None:
    from transformers import AutoModelForCausalLM

    made = run(small={"kind": "compress", "model": str(model_folder("qwen3"))})["small"]
    model = AutoModelForCausalLM.from_pretrained(made.path)
    with safe_open(made.path / "int8-scales.safetensors", framework="pt") as file:
        assert file.metadata() == {"format": "pt"}
        for name in file.keys():  # noqa: SIM118
            whole = model.get_parameter(name) / file.get_tensor(name)
            assert torch.equal(whole, whole.round()), name


def test_compressing_a_compressed_model_changes_nothing(
    model_folder: Callable[..., Path], run: Callable[..., Any]
) -> None:
    made = run(
        once={"kind": "compress", "model": str(model_folder("gpt2"))}, twice={"kind": "compress", "model": "$once"}
    )
    assert made["once"].card.id == made["twice"].card.id


def test_a_classifier_tells_its_accuracy_before_and_after(
    model_folder: Callable[..., Path], run: Callable[..., Any], tmp_path: Path
) -> None:
    rows = [{"text": f"number {i} the cat", "label": "坏" if i % 3 else "good"} for i in range(12)]
    folder = model_folder("bert-labels")
    made = run(
        data={"kind": "dataset", "read": [write_rows(tmp_path / "data", rows)]},
        small={"kind": "compress", "model": str(folder), "data": "$data"},
    )
    from pretune.text.dataset.example import read_split

    examples: Any = read_split(made["data"].path, "validation") or read_split(made["data"].path, "test")
    for place, path in (("quality_before", folder), ("quality_after", made["small"].path)):
        answers: Any = open_folder(path)
        right = sum(
            a.name == e.label for a, e in zip(answers.answer([e.text for e in examples]), examples, strict=True)
        )
        assert made["small"].card.metrics[place] == {"accuracy": right / len(examples), "examples": len(examples)}


def test_a_chat_model_tells_the_loss_of_its_replies(
    model_folder: Callable[..., Path], run: Callable[..., Any], tmp_path: Path
) -> None:
    rows = [
        {"messages": [{"role": "user", "content": f"{i} the cat"}, {"role": "assistant", "content": f"你好 {i}"}]}
        for i in range(6)
    ]
    folder = model_folder("qwen3", chat=True, model=build("qwen3", spread=False))
    made = run(
        data={"kind": "dataset", "read": [write_rows(tmp_path / "data", rows)]},
        small={"kind": "compress", "model": str(folder), "data": "$data"},
    )["small"]
    # Weights of 0.02 leave all 300 tokens about equally likely.
    before, after = made.card.metrics["quality_before"], made.card.metrics["quality_after"]
    assert before["loss"] == pytest.approx(math.log(300), rel=0.1)
    assert after["loss"] == pytest.approx(before["loss"], rel=1e-2)
    assert before["targets"] == after["targets"] > 0


def test_a_classifier_measured_on_dialogues_is_refused(
    model_folder: Callable[..., Path], run: Callable[..., Any], tmp_path: Path
) -> None:
    rows = [
        {"messages": [{"role": "user", "content": f"{i}"}, {"role": "assistant", "content": f"a{i}"}]} for i in range(6)
    ]
    with pytest.raises(NotSupported, match="gives labels, the data holds dialogues"):
        run(
            data={"kind": "dataset", "read": [write_rows(tmp_path / "data", rows)]},
            small={"kind": "compress", "model": str(model_folder("bert-labels")), "data": "$data"},
        )


def test_labels_that_the_model_does_not_know_are_named(
    model_folder: Callable[..., Path], run: Callable[..., Any], tmp_path: Path
) -> None:
    rows = [{"text": f"number {i} the cat", "label": "坏" if i % 3 else "bad"} for i in range(12)]
    with pytest.raises(NotSupported, match="does not know: 'bad'"):
        run(
            data={"kind": "dataset", "read": [write_rows(tmp_path / "data", rows)]},
            small={"kind": "compress", "model": str(model_folder("bert-labels")), "data": "$data"},
        )


def test_bits_per_byte_are_nats_per_token_times_tokens_per_byte(
    model_folder: Callable[..., Path], run: Callable[..., Any], tmp_path: Path
) -> None:
    folder = model_folder("gpt2", model=build("gpt2", spread=False))
    lines = "".join(
        json.dumps({"text": f"the cat number {i} and the hat 你好 {i * i}"}, ensure_ascii=False) + "\n"
        for i in range(60)
    )
    (tmp_path / "a.jsonl").write_text(lines, encoding="utf-8")
    made = run(
        corpus={"kind": "corpus", "read": {"a": [str(tmp_path / "a.jsonl")]}, "validation": 0.2, "test": 0},
        tokens={"kind": "tokens", "corpus": "$corpus", "tokenizer": str(folder)},
        small={"kind": "compress", "model": str(folder), "data": "$tokens"},
    )
    from pretune.tokens.store.store import Store

    store, told = Store.open(made["tokens"].path, "validation"), made["small"].card.metrics["quality_before"]
    per_byte = (store.num_tokens - store.num_documents) / store.num_bytes
    assert told["targets"] == store.num_tokens - store.num_documents
    assert told["bits_per_byte"] == pytest.approx(told["loss"] * per_byte / math.log(2))
    assert told["loss"] == pytest.approx(math.log(300), rel=0.1)
