"""The compiled encoder gives the ids of `tokenizers`, whatever the merges are, or says that it cannot."""

from __future__ import annotations

import json
import os
import random
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from pretune.base.errors import BadFile
from pretune.tokens.encode.encoding import Encoder
from pretune.tokens.encode.tokenizer import encode_text
from pretune.tokens.learn.algorithm import SPECIALS, Learning
from pretune.tokens.learn.bpe import NAMES, Bpe, byte_level, start
from pretune.tokens.learn.splitting import Digits

pytest.importorskip("numba")
from pretune.tokens.encode import encode_loop, pieces
from pretune.tokens.encode.pieces import Border, Pieces, Tables

SHARED = Path(os.environ.get("PRETUNE_SHARED", Path(__file__).parents[3] / "shared"))
TEXTS = [
    "春眠不覺曉，處處聞啼鳥。夜來風雨聲，花落知多少。",
    "我们在江南，我们的江南好，风景旧曾谙；日出江花红胜火。“你好”，他说：「再见」……",
    "I'm here, they'LL go; it'ſ 3.14159 or 2024年12月. Don’t!  \n\n  def f(x):\n\treturn x**2\r\n",
    "e\u0301a\u0300 ÄÖÜ ĳ ŉ Ωμέγα тест テスト ﾃｽﾄ 시험 ภาษาไทย العَرَبِيَّة 👩‍👩‍👧‍👦👍🏽 𠀀𠀁𠮷野家 \U0003fffd\U0010fffd\x00\x7f",
]
ALPHABET = "".join(dict.fromkeys("".join(TEXTS)))
FEW = st.text(ALPHABET, max_size=40)
WILD = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


def column(texts: list[str]) -> Any:
    return pa.array(texts, pa.large_string())


@cache
def tables_of(tokenizer: Tokenizer) -> Tables:
    """Made once: making them takes a tenth of a second, and hypothesis asks 300 times."""
    tables = Tables.of(tokenizer)
    assert tables is not None
    return tables


def encoded(tokenizer: Tokenizer, texts: list[str], threads: int = 1) -> list[list[int]]:
    ids, ends = Pieces(tables_of(tokenizer), threads).encode(column(texts))
    return [part.tolist() for part in np.split(ids, ends)[:-1]]


def learnt(digits: Digits = "one", size: int = 700) -> Tokenizer:
    return Bpe(digits=digits).learn(Learning(lambda: iter(TEXTS * 3), size))


def with_drawn_merges(seed: int, count: int = 250) -> Tokenizer:
    """Merges of neighbours drawn from texts, most of them across characters and in the middle of them."""
    rng = random.Random(seed)
    tokens, ids = start()
    merges: list[tuple[int, int]] = []
    known = {token: number for number, token in enumerate(tokens)}
    text = [int(ids[byte]) for byte in "".join(rng.choices(ALPHABET, k=400)).encode() + "".join(TEXTS).encode()]
    while len(merges) < count:
        at = rng.randrange(len(text) - 1)
        left, right = text[at], text[at + 1]
        made = tokens[left] + tokens[right]
        if made in known or len(made) > 20:
            continue
        known[made] = len(tokens)
        tokens.append(made)
        merges.append((left, right))
        text = merged(text, left, right, known[made])
    names = [t.decode() if t.decode("utf-8", "replace") in SPECIALS else "".join(NAMES[b] for b in t) for t in tokens]
    return byte_level(names, merges)


def merged(ids: list[int], left: int, right: int, made: int) -> list[int]:
    out: list[int] = []
    for one in ids:
        if out and out[-1] == left and one == right:
            out[-1] = made
        else:
            out.append(one)
    return out


@pytest.fixture(scope="module", params=["one", "three", "free"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return learnt(request.param)


@settings(max_examples=300, deadline=None)
@given(texts=st.lists(FEW | WILD, max_size=5))
def test_ids_are_those_of_tokenizers(tokenizer: Tokenizer, texts: list[str]) -> None:
    assert encoded(tokenizer, texts) == [encode_text(tokenizer, text) for text in texts]


@pytest.mark.parametrize("seed", range(12))
def test_merges_that_cross_characters_anywhere_change_nothing(seed: int) -> None:
    tokenizer, rng = with_drawn_merges(seed), random.Random(-seed)
    texts = [*TEXTS, *("".join(rng.choices(ALPHABET, k=rng.randrange(1, 60))) for _ in range(400))]
    assert encoded(tokenizer, texts) == [encode_text(tokenizer, text) for text in texts]


def test_drawn_merges_do_cross_characters() -> None:
    tables = tables_of(with_drawn_merges(0))
    assert np.count_nonzero(tables.characters >> encode_loop.RIGHT_SHIFT) > 1000  # parts of characters in many a merge
    assert np.unpackbits(tables.joined).sum() > 5


def test_threads_and_what_is_remembered_change_nothing(tokenizer: Tokenizer) -> None:
    texts = [*TEXTS * 20, "", "a", *TEXTS]
    alone = encoded(tokenizer, texts)
    assert alone == encoded(tokenizer, texts, threads=3) == [encode_text(tokenizer, text) for text in texts]
    assert encoded(tokenizer, ["一"], threads=4) == [encode_text(tokenizer, "一")]
    assert encoded(tokenizer, [], threads=2) == []


def test_a_slice_of_a_column_is_encoded_from_where_it_begins(tokenizer: Tokenizer) -> None:
    ids, ends = Pieces(tables_of(tokenizer), 2).encode(column(["before", *TEXTS, "behind"]).slice(1, len(TEXTS)))
    assert [part.tolist() for part in np.split(ids, ends)[:-1]] == [encode_text(tokenizer, text) for text in TEXTS]


@pytest.mark.parametrize("run", ["a", "ab", " ", "\n", "'", "7", "好", "你好", "，", "，我", "𠀀", "é", "aé"])
def test_long_words(tokenizer: Tokenizer, run: str) -> None:
    texts = [run * count for count in (1, 2, 5, 6, 7, 8, 9, 15, 16, 17, 63, 64, 65, 1000)]
    assert encoded(tokenizer, texts) == [encode_text(tokenizer, text) for text in texts]


def test_long_words_of_many_letters(tokenizer: Tokenizer) -> None:
    rng = random.Random(0)
    texts = [
        "".join(rng.choices(letters, k=size)) for size in (60, 66, 200, 3000) for letters in ("theroadinf", ALPHABET)
    ]
    assert encoded(tokenizer, texts) == [encode_text(tokenizer, text) for text in texts]


def test_a_second_call_reads_nothing_of_the_first(tokenizer: Tokenizer) -> None:
    both = Pieces(tables_of(tokenizer), 1)
    for texts in ([*TEXTS, "the end"], ["the"], ["the e", "好"], TEXTS * 9):
        ids, ends = both.encode(column(texts))
        assert [part.tolist() for part in np.split(ids, ends)[:-1]] == [encode_text(tokenizer, text) for text in texts]


def test_what_only_looks_like_a_character_is_none_of_them() -> None:
    """E0 81 A1 reads like an `a` that was written too long; no text has it."""
    tokens, ids = start()
    e0, x81, xa1 = (int(ids[byte]) for byte in b"\xe0\x81\xa1")
    names = [t.decode() if t.decode("utf-8", "replace") in SPECIALS else "".join(NAMES[b] for b in t) for t in tokens]
    made = [names[e0] + names[x81], names[e0] + names[x81] + names[xa1]]
    tokenizer = byte_level([*names, *made], [(e0, x81), (len(names), xa1)])
    assert encoded(tokenizer, ["好a好", "a"]) == [encode_text(tokenizer, text) for text in ("好a好", "a")]


def test_bytes_that_are_no_text_are_refused(tokenizer: Tokenizer) -> None:
    cut = pa.array([b"\xe4\xb8", b"a"], pa.large_binary()).view(pa.large_string())
    with pytest.raises(BadFile, match="UTF-8"):
        Pieces(tables_of(tokenizer)).encode(cut)


def test_every_character_of_unicode(tokenizer: Tokenizer) -> None:
    texts = [
        "".join(f"{chr(code)}a{chr(code)}" for code in range(at, at + 64) if not 0xD800 <= code < 0xE000)
        for at in range(0, 0x110000, 64)
    ]
    assert encoded(tokenizer, texts) == [encode_text(tokenizer, text) for text in texts]


def test_borders_by_hand() -> None:
    comma, we = "，".encode(), "我".encode()  # EF BC 8C, E6 88 91
    assert list(pieces._borders(comma + we)) == [Border(comma, True, we, True)]
    assert list(pieces._borders(comma + we[:2])) == [Border(comma, True, we[:2], False)]
    assert list(pieces._borders(comma[1:] + we)) == [Border(comma[1:], False, we, True)]
    assert list(pieces._borders(comma[2:] + we[:1])) == [Border(comma[2:], False, we[:1], False)]
    assert list(pieces._borders(b"a" + we + b"b")) == [Border(b"a", True, we, True), Border(we, True, b"b", True)]
    assert list(pieces._borders(we)) == list(pieces._borders(we[1:])) == []
    assert list(pieces._borders(we[:2] + b"a")) == []  # no UTF-8 has E6 88 61


def test_a_part_stands_for_every_character_that_has_it() -> None:
    places = np.zeros(pieces.KNOWN, bool)
    for codes in pieces._beginning(b"\xe6\x88", False):
        places[codes] = True
    assert "".join(map(chr, np.flatnonzero(places))) == "".join(map(chr, range(0x6200, 0x6240)))
    places[:] = False
    for codes in pieces._ending(b"\x88\x91", False):
        places[codes] = True
    assert places[ord("我")]
    assert set(np.flatnonzero(places) & 0xFFF) == {0x211, 0xFFF}  # U+3FFFF stands for all planes beyond


def told(tokenizer: Tokenizer, **changes: Any) -> Tokenizer:
    state = json.loads(tokenizer.to_str())
    state["model"] |= changes.pop("model", {})
    return Tokenizer.from_str(json.dumps(state | changes))


def test_other_tokenizers_are_left_to_others() -> None:
    mine = learnt()
    assert Tables.of(mine) is not None
    assert Tables.of(told(mine, normalizer={"type": "NFC"})) is None
    assert Tables.of(told(mine, model={"ignore_merges": True})) is None
    assert Tables.of(told(mine, model={"dropout": 0.1})) is None
    assert Tables.of(told(mine, pre_tokenizer=None)) is None
    merges = json.loads(mine.to_str())["model"]["merges"]
    assert Tables.of(told(mine, model={"merges": merges[::-1]})) is None  # a merge before those that make its parts
    added = {"id": 5, "content": "春", "single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    ours = json.loads(mine.to_str())["added_tokens"]
    assert Tables.of(told(mine, added_tokens=[*ours, {**added, "id": 800, "special": False}])) is None


def test_it_is_used_when_it_is_worth_loading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pretune.tokens.encode import encoding

    learnt().save(str(tmp_path / "tokenizer.json"))
    monkeypatch.setattr(encoding, "pays", lambda seconds: seconds > 1)
    assert Encoder.open(tmp_path, text_bytes=1e6).backend != "loop"
    encoder = Encoder.open(tmp_path, text_bytes=1e9)
    assert encoder.backend == "loop"
    assert encoder.encode([*TEXTS, "\ud83d!"]).ids.tolist() == [
        one for text in [*TEXTS, "\ufffd!"] for one in encode_text(encoder.tokenizer, text)
    ]
