"""Golden tokenisations of others: llama.cpp's own, for GPT-2 and Qwen2."""

from __future__ import annotations

from pathlib import Path

import pytest

from pretune.tokens.encode.encoding import Encoder
from pretune.tokens.encode.tokenizer import encode_text, load_tokenizer


@pytest.mark.parametrize(("vocabulary", "folder"), [("gpt-2", "gpt2"), ("qwen2", "qwen2_5")])
def test_every_golden_case_of_llama_cpp_has_its_ids(shared: Path, vocabulary: str, folder: str) -> None:
    stem = shared / "data/ggml-vocab" / f"ggml-vocab-{vocabulary}.gguf"
    texts = Path(f"{stem}.inp").read_bytes().decode().split("\n__ggml_vocab_test__\n")
    wanted = [[int(n) for n in line.split()] for line in Path(f"{stem}.out").read_text(encoding="utf-8").splitlines()]
    assert len(texts) in (len(wanted), len(wanted) + 1) and len(wanted) >= 46
    tokenizer = load_tokenizer(shared / "data/tokenizers" / folder)
    cases = list(zip(texts, wanted, strict=False))
    assert [encode_text(tokenizer, text) for text, _ in cases] == [ids for _, ids in cases]
    encoded = Encoder.open(shared / "data/tokenizers" / folder).encode([text for text, _ in cases])
    assert encoded.ids.tolist() == [number for _, ids in cases for number in ids]
