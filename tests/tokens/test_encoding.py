"""Ids in bulk are those of the folder's own tokenizer, one text at a time."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pretune.base.errors import NotSupported
from pretune.base.log import Log
from pretune.base.recipe import Recipe
from pretune.tokens.encode import encoding
from pretune.tokens.encode.encoding import Encoded, Encoder
from pretune.tokens.encode.tokenizer import encode_text

SHARED = Path(os.environ.get("PRETUNE_SHARED", Path(__file__).parents[3] / "shared"))
OTHERS = ["data/tokenizers/gpt2", "data/tokenizers/qwen2_5", "models/minimind2-small"]
WILD = st.lists(
    st.text(st.characters(exclude_categories=["Cs"])) | st.text(" \n\r\t'aZ1你,.<|e\u0301\u3000ſsdmtlvre", max_size=40),
    max_size=5,
)


def split(encoded: Encoded) -> list[list[int]]:
    return [part.tolist() for part in np.split(encoded.ids, encoded.ends)[:-1]]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer of ours, with its special tokens."""
    root = tmp_path_factory.mktemp("encoding")
    rows = [
        f"The height of number {k} is the width of 第{k}行 面积。\n\tdef area_{k}(x): return x\n" for k in range(99)
    ]
    lines = "".join(json.dumps({"text": row}, ensure_ascii=False) + "\n" for row in rows)
    (root / "a.jsonl").write_text(lines, encoding="utf-8")
    stages = {
        "corpus": {"kind": "corpus", "read": [str(root / "a.jsonl")], "filters": [], "max_overlap": None},
        "tokenizer": {"kind": "tokenizer", "corpus": "$corpus", "vocab_size": 400},
    }
    return Recipe.build({"work": str(root / "out"), "stages": stages}).run(log=Log(quiet=True))["tokenizer"].path


@pytest.fixture(scope="module", params=["trained", *OTHERS])
def encoder(request: pytest.FixtureRequest, trained: Path) -> Encoder:
    folder = trained if request.param == "trained" else SHARED / request.param
    if not folder.is_dir():
        pytest.skip(f"../shared/{request.param} is not here")
    return Encoder.open(folder)


@pytest.fixture
def asked_again() -> Iterator[None]:
    """What the process remembers of fast tokenizers is forgotten, before and after."""
    encoding._fast.cache_clear()
    yield
    encoding._fast.cache_clear()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(WILD)
def test_any_text_has_the_ids_that_the_tokenizer_gives_it_alone(encoder: Encoder, texts: list[str]) -> None:
    assert split(encoder.encode(texts)) == [encode_text(encoder.tokenizer, text) for text in texts]


def test_byte_level_bpe_is_encoded_by_fastokens_here(trained: Path) -> None:
    pytest.importorskip("fastokens")
    folders = [trained, *(SHARED / name for name in OTHERS)]
    assert {Encoder.open(folder).backend for folder in folders if folder.is_dir()} == {"fastokens"}


def test_control_tokens_in_a_text_are_text_in_bulk_too(encoder: Encoder) -> None:
    added = encoder.tokenizer.get_added_tokens_decoder()
    special = {number for number, token in added.items() if token.special}
    texts = [f"x{added[number].content} y {added[number].content}" for number in sorted(special)]
    encoded = encoder.encode(texts)
    assert special and not special & set(encoded.ids.tolist())
    assert split(encoded) == [encode_text(encoder.tokenizer, text) for text in texts]


def test_long_runs_no_texts_and_lone_surrogates(encoder: Encoder) -> None:
    texts = ["a" * 100_000, " " * 20_000 + "x", "你好" * 20_000, "\n" * 9_999, "1" * 5_000, "", "\ud83d\ude42 \ud83d!"]
    encoded = encoder.encode(texts)
    assert encoded.ids.dtype == np.uint32 and encoded.ends.dtype == np.int64
    assert split(encoded) == [encode_text(encoder.tokenizer, text) for text in texts]
    assert split(encoder.encode(["🙂 \ufffd!"])) == split(encoded)[-1:]
    assert split(encoder.encode([])) == []


def test_a_tokenizer_that_fastokens_does_not_know_is_encoded_by_its_own() -> None:
    folder = SHARED / "models/all-MiniLM-L6-v2"
    if not folder.is_dir():
        pytest.skip("../shared/models/all-MiniLM-L6-v2 is not here")
    encoder = Encoder.open(folder)
    texts = ["Hello [SEP] world, 你好", "", "unaffable"]
    assert encoder.backend == "tokenizers"
    assert split(encoder.encode(texts)) == [encode_text(encoder.tokenizer, text) for text in texts]


@pytest.mark.usefixtures("asked_again")
def test_fastokens_of_another_opinion_is_not_used(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = encoding._by_fastokens

    def wrong(fast: object, texts: list[str]) -> Encoded:
        found = right(fast, texts)
        return Encoded(np.where(found.ids == found.ids[-1], found.ids[0], found.ids), found.ends)

    pytest.importorskip("fastokens")
    monkeypatch.setattr(encoding, "_by_fastokens", wrong)
    encoder = Encoder.open(trained)
    assert encoder.backend == "tokenizers"
    assert split(encoder.encode(["abc 你好"])) == [encode_text(encoder.tokenizer, "abc 你好")]


@pytest.mark.usefixtures("asked_again")
def test_without_fastokens_nothing_changes(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_it = Encoder.open(trained).encode(["abc 你好", "<|im_end|>"])
    encoding._fast.cache_clear()
    monkeypatch.setitem(sys.modules, "fastokens._native", None)
    encoder = Encoder.open(trained)
    assert encoder.backend == "tokenizers"
    assert split(encoder.encode(["abc 你好", "<|im_end|>"])) == split(with_it)


@pytest.mark.usefixtures("asked_again")
def test_a_tokenizer_is_checked_once_in_a_process(trained: Path) -> None:
    assert Encoder.open(trained).fast is Encoder.open(trained).fast
    assert encoding._fast.cache_info().misses == 1


def test_a_folder_without_a_tokenizer_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotSupported, match=r"tokenizer\.json"):
        Encoder.open(tmp_path)
