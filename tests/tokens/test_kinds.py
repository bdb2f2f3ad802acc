"""Every kind of tokenizer: what it promises, and that plain transformers load it with equal ids."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from pretune.base.artifact import Artifact, Card
from pretune.base.errors import EmptyInput, PretuneError
from pretune.tokens.encode.tokenizer import encode_text, load_tokenizer, special_ids
from pretune.tokens.learn.algorithm import ALGORITHM, SPECIALS, UNKNOWN, Learning
from pretune.tokens.learn.stage import TokenizerStage, save_tokenizer
from tests.tokens.test_tokenizer import TORTURE

KINDS: dict[str, dict[str, Any]] = {
    "bpe": {},
    "bpe-three": {"kind": "bpe", "digits": "three"},
    "unigram": {},
    "byte": {},
    "character": {},
    "word": {},
    "wordpiece": {},
    "character-unknown": {"kind": "character", "byte_fallback": False},
}
EXACT = [name for name in KINDS if name not in ("wordpiece", "character-unknown")]
TEXTS = [
    f"The height of number {k} is the width of 第{k}行 面积。我们在学习自然语言处理，你好世界。\n" for k in range(200)
]


def learnt(name: str, vocab_size: int = 600) -> Tokenizer:
    if name == "word":
        pytest.importorskip("rjieba")
    algorithm = ALGORITHM({"kind": name, **KINDS[name]})
    return algorithm.learn(Learning(lambda: iter(TEXTS), vocab_size))


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folders = {}
    for name in KINDS:
        folders[name] = tmp_path_factory.mktemp(name)
        save_tokenizer(learnt(name), folders[name])
    return folders


@pytest.mark.parametrize("name", KINDS)
def test_transformers_load_the_folder_with_equal_ids_specials_and_template(kinds: dict[str, Path], name: str) -> None:
    import transformers

    theirs, ours = transformers.AutoTokenizer.from_pretrained(kinds[name]), load_tokenizer(kinds[name])
    alone = Tokenizer.from_file(str(kinds[name] / "tokenizer.json"))
    for text in [*TORTURE, "a <|im_end|> b"]:
        ids = theirs(text, add_special_tokens=False).input_ids
        assert (
            ids == ours.encode(text, add_special_tokens=False).ids == alone.encode(text, add_special_tokens=False).ids
        )
    assert (theirs.eos_token, theirs.pad_token, theirs.mask_token) == ("<|endoftext|>", "<|pad|>", "<|mask|>")
    told = theirs.apply_chat_template([{"role": "user", "content": "hi"}], tokenize=False)
    assert told == "<|im_start|>user\nhi<|im_end|>\n"
    assert special_ids(kinds[name]).eos == 0


def test_ten_thousand_texts_come_back_in_every_kind_that_promises_it(kinds: dict[str, Path]) -> None:
    tokenizers = {name: load_tokenizer(kinds[name]) for name in EXACT}
    hard = [*TORTURE, "▁ under ▁▁", "<0x41> <0xE7><0xBD>", "raw <|endoftext|> <|unk|>", "\x00\r\n \r", "##ing ##"]

    def comes_back(text: str) -> None:
        for name, tokenizer in tokenizers.items():
            assert tokenizer.decode(encode_text(tokenizer, text), skip_special_tokens=False) == text, name

    @settings(max_examples=10_000, deadline=None)
    @given(st.text(st.characters(exclude_categories=["Cs"])) | st.text(" \n\t'aZ1你,.<|0x>▁#e\u0301", max_size=30))
    def all_come_back(text: str) -> None:
        comes_back(text)

    for text in hard:
        comes_back(text)
    all_come_back()


@pytest.mark.parametrize("name", KINDS)
def test_no_raw_text_gives_a_special_id(kinds: dict[str, Path], name: str) -> None:
    tokenizer = load_tokenizer(kinds[name])
    forbidden = {tokenizer.token_to_id(token) for token in SPECIALS}
    for token in (*SPECIALS, UNKNOWN, "<0x41>"):
        for text in (token, f"a {token} b{token}", token * 3, f"\n{token}\n"):
            assert not forbidden & set(encode_text(tokenizer, text))


def test_chinese_words_are_those_of_jieba_and_need_no_jieba(kinds: dict[str, Path]) -> None:
    tokenizer = load_tokenizer(kinds["word"])
    assert tokenizer.encode("我们在学习自然语言处理", add_special_tokens=False).tokens == [
        "我们",
        "在",
        "学习",
        "自然语言",
        "处理",
    ]


def test_wordpiece_marks_what_continues_a_word_and_knows_what_is_unknown(kinds: dict[str, Path]) -> None:
    tokenizer = load_tokenizer(kinds["wordpiece"])
    assert tokenizer.encode("heights 𝔘", add_special_tokens=False).tokens == ["height", "##s", UNKNOWN]
    assert special_ids(kinds["wordpiece"]).unk == len(SPECIALS)


@pytest.mark.parametrize("name", KINDS)
def test_the_same_text_gives_the_same_tokenizer(kinds: dict[str, Path], name: str) -> None:
    assert learnt(name).to_str() == load_tokenizer(kinds[name]).to_str()


@pytest.mark.parametrize("name", ["bpe", "unigram", "word"])
def test_the_memory_changes_no_byte(kinds: dict[str, Path], tmp_path: Path, name: str) -> None:
    if name == "word":
        pytest.importorskip("rjieba")
    algorithm = ALGORITHM({"kind": name, **KINDS[name]})
    made = {
        memory: algorithm.learn(Learning(lambda: iter(TEXTS), 600, memory=memory, scratch=tmp_path, word_bytes=60))
        for memory in (1e9, 2000.0)
    }
    assert made[1e9].to_str() == made[2000.0].to_str()


def test_the_card_tells_the_figures_by_language_beside_another_tokenizer(
    make: Callable[..., dict[str, Artifact]],
) -> None:
    first = make()
    second = make("two", beside=[str(first["tokenizer"].path)], algorithm="byte")
    told, other = second["tokenizer"].card.metrics, first["tokenizer"].card.metrics
    (language,) = told["languages"]
    assert list(told["beside"].values()) == [other["languages"]]
    assert told["round_trip"] == told["coverage"] == 1 and told["unknown"] == 0
    assert told["languages"][language]["characters_per_token"] < other["languages"][language]["characters_per_token"]
    assert told["vocab_size"] == 263


def test_a_corpus_without_text_is_told(tmp_path: Path) -> None:
    """A corpus of another program: the stage of ours refuses to make one."""
    (tmp_path / "corpus").mkdir()
    empty = Artifact(tmp_path / "corpus", Card("corpus", key="", id="0", stage="corpus"))
    with pytest.raises(EmptyInput, match="no documents"):
        TokenizerStage(corpus="corpus").run({"corpus": empty}, tmp_path, None)  # type: ignore[arg-type]


def test_a_misspelt_kind_is_told_with_the_kinds_there_are(make: Callable[..., dict[str, Artifact]]) -> None:
    with pytest.raises(PretuneError, match="unigram"):
        make(algorithm="unigramm")
