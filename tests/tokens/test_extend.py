"""New words in a tokenizer: texts come back as they did, or the tokenizer is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from pretune.base.artifact import Artifact, Card
from pretune.base.errors import NotSupported
from pretune.tokens.encode.tokenizer import encode_text
from pretune.tokens.learn.algorithm import ALGORITHM, Learning
from tests.spaced import llama2, metaspace

TEXTS = ["the quagga sat, the quagga ran: quagga!"] * 3


def extended(base: Tokenizer, folder: Path, texts: list[str] = TEXTS) -> Any:
    base.save(str(folder / "tokenizer.json"))
    given = Artifact(folder, Card("tokenizer", key="", id="0", stage="tokenizer"))
    algorithm = ALGORITHM({"kind": "extend", "base": "base", "words": 5})
    return algorithm.learn(Learning(lambda: iter(texts), 400, inputs={"base": given}))


@pytest.mark.parametrize("base", [llama2, lambda: metaspace("always")], ids=["llama2", "metaspace"])
def test_a_tokenizer_that_begins_every_piece_with_a_space_is_refused(base: Any, tmp_path: Path) -> None:
    with pytest.raises(NotSupported, match=r"cannot be extended by words: with 'quagga' as one.*'the quagga  ?is"):
        extended(base(), tmp_path)


def test_chinese_words_would_get_spaces_there_too(tmp_path: Path) -> None:
    pytest.importorskip("rjieba")
    with pytest.raises(NotSupported, match="cannot be extended"):
        extended(llama2(), tmp_path, ["我们在学习自然语言处理。"] * 3)


def test_a_tokenizer_that_begins_only_a_whole_text_with_a_space_is_extended(tmp_path: Path) -> None:
    found = extended(metaspace("first"), tmp_path)
    for text in (*TEXTS, "quagga", " quagga", "a quagga  b"):
        ids = encode_text(found, text)
        assert found.token_to_id("quagga") in ids
        assert found.decode(ids) == metaspace("first").decode(encode_text(metaspace("first"), text)) == text.lstrip()
