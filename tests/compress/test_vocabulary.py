"""More words for a pretrained model, and fewer: what must stay the same does."""

from __future__ import annotations

import gzip
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pretune.model.folder import load_model
from pretune.tokens.encode.tokenizer import encode_text, load_tokenizer

SIMPLE = [
    f"The quick brown fox number {k} jumps over the lazy dog, and the hat of the cat stays on. 你好，今天天气很好。\n"
    for k in range(40)
]
DOMAIN = [
    f"Backpropagation through hyperparameters {k}: 梯度下降 and 卷积神经网络 of {k} layers.\n" for k in range(120)
]


def corpus(folder: Path, texts: list[str]) -> dict[str, Any]:
    lines = "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts)
    (folder / "texts.jsonl").write_text(lines, encoding="utf-8")
    return {
        "kind": "corpus",
        "read": [str(folder / "texts.jsonl")],
        "filters": [],
        "dedup": "none",
        "max_overlap": None,
        "validation": 0,
        "test": 0,
    }


def logits(folder: Path, ids: list[int]) -> torch.Tensor:

    with torch.no_grad():
        return load_model(folder, "next")(torch.tensor([ids])).logits[0]


def adapted(run: Callable[..., Any], tmp_path: Path, model: Path, texts: list[str], algorithm: dict[str, Any]) -> Any:
    return run(
        corpus=corpus(tmp_path, texts),
        tokenizer={"kind": "tokenizer", "corpus": "$corpus", "algorithm": {"base": str(model), **algorithm}},
        made={"kind": "compress", "model": str(model), "method": {"kind": "vocabulary", "tokenizer": "$tokenizer"}},
    )


def test_new_words_shorten_the_domain_and_leave_other_texts_as_they_are(
    run: Callable[..., Any], tmp_path: Path, model_folder: Callable[..., Path]
) -> None:
    model = model_folder("llama")  # its head is not tied
    made = adapted(run, tmp_path, model, DOMAIN, {"kind": "extend", "words": 8})
    old, new = load_tokenizer(model), load_tokenizer(made["made"].path)
    assert new.token_to_id("Backpropagation") is not None
    domain = "\n".join(DOMAIN)
    assert len(encode_text(new, domain)) < 0.8 * len(encode_text(old, domain))
    assert new.decode(encode_text(new, domain)) == domain
    for text in [*SIMPLE, "Backpropagationist hyperparametersize layersome"]:  # new words inside of longer ones
        assert encode_text(new, text) == encode_text(old, text)
    ids = encode_text(old, SIMPLE[0])[:90]
    size = old.get_vocab_size()
    torch.testing.assert_close(
        logits(made["made"].path, ids)[:, :size], logits(model, ids)[:, :size], rtol=1e-6, atol=1e-6
    )


def test_a_new_word_has_the_mean_of_its_pieces_in_embeddings_and_head(
    run: Callable[..., Any], tmp_path: Path, model_folder: Callable[..., Path]
) -> None:

    source = model_folder("llama")
    made = adapted(run, tmp_path, source, DOMAIN, {"kind": "extend", "words": 3})["made"].path
    before, after = load_model(source, "next"), load_model(made, "next")
    old, new = load_tokenizer(source), load_tokenizer(made)
    number = new.token_to_id("hyperparameters")
    pieces = encode_text(old, "hyperparameters")
    for rows, row in (
        (before.get_input_embeddings().weight, after.get_input_embeddings().weight[number]),
        (before.get_output_embeddings().weight, after.get_output_embeddings().weight[number]),
    ):
        torch.testing.assert_close(row, rows[pieces].mean(0), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_a_cut_tokenizer_gives_the_texts_of_its_corpus_the_same_logits(
    run: Callable[..., Any], tmp_path: Path, model_folder: Callable[..., Path], kind: str
) -> None:
    source = model_folder(kind)
    texts = ["the cat the cat\n"] * 60
    made = adapted(run, tmp_path, source, [f"{t}{k}" for k, t in enumerate(texts)], {"kind": "cut"})["made"].path
    old, new = load_tokenizer(source), load_tokenizer(made)
    assert new.get_vocab_size() < old.get_vocab_size()
    ids, theirs = encode_text(new, texts[0]), encode_text(old, texts[0])
    assert [new.id_to_token(i) for i in ids] == [old.id_to_token(i) for i in theirs]
    kept = [old.token_to_id(new.id_to_token(i)) for i in range(new.get_vocab_size())]
    torch.testing.assert_close(logits(made, ids), logits(source, theirs)[:, kept], rtol=1e-5, atol=1e-5)
    for text in ("你好 🙂", "\x00\n unseen Words"):
        assert new.decode(encode_text(new, text)) == text


def test_minimind_learns_500_words_of_a_manual_and_keeps_its_logits(
    run: Callable[..., Any], tmp_path: Path, shared: Path
) -> None:
    pytest.importorskip("rjieba")
    model = shared / "models/minimind2-small"
    manual = [path.read_text(encoding="utf-8") for path in sorted((shared / "data/d2l-zh").glob("*.md"))[:40]]
    made = adapted(run, tmp_path, model, manual, {"kind": "extend", "words": 500})
    old, new = load_tokenizer(model), load_tokenizer(made["made"].path)
    added = [token.content for n, token in new.get_added_tokens_decoder().items() if n >= old.get_vocab_size()]
    assert len(added) == 500
    domain = "\n".join(manual)
    assert len(encode_text(new, domain)) < 0.92 * len(encode_text(old, domain))
    plain = [text for text in texts_of_others(shared) if not any(word in text for word in added)]
    assert len(plain) > 800
    rows = [encode_text(new, text) for text in plain]
    assert rows == [encode_text(old, text) for text in plain]
    ids, size = [number for row in rows[:4] + rows[-4:] for number in row][:400], old.get_vocab_size()
    assert torch.equal(logits(made["made"].path, ids)[:, :size], logits(model, ids)[:, :size])


def texts_of_others(shared: Path) -> list[str]:
    """Poems and film reviews."""
    with gzip.open(shared / "data/chinese-poetry/tang.jsonl.gz", "rt", encoding="utf-8") as file:
        poems = [json.loads(line)["text"] for line in itertools.islice(file, 1000)]
    lines = (shared / "data/sst2/dev.jsonl").read_text(encoding="utf-8").splitlines()
    return [*poems, *(json.loads(line)["text"] for line in lines)]


def test_minimind_cut_to_a_manual_gives_it_the_same_logits(
    run: Callable[..., Any], tmp_path: Path, shared: Path
) -> None:
    model = shared / "models/minimind2-small"
    manual = [path.read_text(encoding="utf-8") for path in sorted((shared / "data/d2l-zh").glob("*.md"))[:12]]
    made = adapted(run, tmp_path, model, manual, {"kind": "cut"})["made"].path
    old, new = load_tokenizer(model), load_tokenizer(made)
    assert new.get_vocab_size() < 0.95 * old.get_vocab_size()
    for text in manual:
        names = [old.id_to_token(i) for i in encode_text(old, text)]
        assert [new.id_to_token(i) for i in encode_text(new, text)] == names
    ids, theirs = encode_text(new, manual[0])[:64], encode_text(old, manual[0])[:64]
    kept = [old.token_to_id(new.id_to_token(i)) for i in range(new.get_vocab_size())]
    torch.testing.assert_close(logits(made, ids), logits(model, theirs)[:, kept], rtol=1e-4, atol=1e-4)
