"""Our words and merges are those of `tokenizers`, on every kind of text."""

from __future__ import annotations

import itertools
import random
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, pre_tokenizers

from pretune.tokens.learn import bpe, counting
from pretune.tokens.learn.algorithm import SPECIALS, Learning
from pretune.tokens.learn.bpe import Bpe
from pretune.tokens.learn.counting import Held, count_words, most_frequent
from pretune.tokens.learn.splitting import Digits, classes, pattern, word_starts
from tests.tokens.worlds import by_tokenizers

FEW = " \n\r\t'aZ1你,.<|e\u0301\u3000ſsdmtlvreLVR٣_-\x85\u2028"
QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def split(text: str, digits: Digits) -> list[str]:
    codes = np.frombuffer(text.encode("utf-32-le"), "<u4")
    at = [*np.flatnonzero(word_starts(codes, digits)).tolist(), len(text)]
    return [text[a:b] for a, b in itertools.pairwise(at)]


def words_of(text: str, digits: Digits) -> list[str]:
    words = pre_tokenizers.Split(Regex(pattern(digits)), behavior="isolated")
    return [word for word, _ in words.pre_tokenize_str(text)]


def drawn(count: int) -> list[str]:
    rng = random.Random(3)
    texts = ["".join(rng.choices(FEW, k=rng.randrange(1, 30))) for _ in range(count)]
    texts += ["".join(rng.choices(" \n\t'.a1s", k=rng.randrange(1, 12))) for _ in range(count)]
    wild = [[rng.randrange(0x110000) for _ in range(30)] for _ in range(count)]
    return texts + ["".join(chr(c) for c in row if not 0xD800 <= c < 0xE000) for row in wild]


def english(count: int, seed: int = 0) -> list[str]:
    rng = random.Random(seed)
    parts = ["the", "width", "height", "ing", "er", "un", "quick", "ly", "tion", "s", "re", "over"]
    return [
        " ".join("".join(rng.choices(parts, k=rng.randrange(1, 4))) for _ in range(40)) + ".\n" for _ in range(count)
    ]


def chinese(count: int) -> list[str]:
    rng = random.Random(1)
    few = "的一是不了人我在有他这中大来上国个到说们为子和你地出道也时年得就那要下以生会自着去之过家学对可"
    return ["".join(rng.choices(few, k=rng.randrange(2, 14))) + rng.choice("，。！\n") for _ in range(count)]


CODE = [f"def area_{k}(self, x):\n\treturn self.x[{k}] ** 2  # {k * 37}\n\n" for k in range(300)]
RUNS = ["a" * n + " " * (n % 7) + "=" * n + "aab" * (n % 5) for n in range(1, 120)]
MIXED = [a + b + c for a, b, c in zip(english(200, 5), chinese(200), CODE[:200], strict=True)]
TEXTS = {"english": english(400), "chinese": chinese(3000), "code": CODE, "runs": RUNS, "mixed": MIXED}


def test_the_default_pattern_is_qwen2s_to_the_letter() -> None:
    assert pattern() == QWEN2


@pytest.mark.parametrize("digits", ["one", "three", "free"])
def test_words_are_those_of_the_regular_expression(digits: Digits) -> None:
    texts = [*drawn(1200), *CODE, *RUNS, "", "'", "x'", "'ſ", "12345678", "\x00a"]
    assert [split(text, digits) for text in texts] == [words_of(text, digits) for text in texts]


@settings(max_examples=300, deadline=None)
@given(st.text(FEW) | st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_has_the_words_of_the_regular_expression(text: str) -> None:
    assert split(text, "one") == words_of(text, "one")


def test_every_character_of_unicode_is_in_the_class_that_tokenizers_puts_it_in() -> None:
    codes = np.array([c for c in range(0x110000) if not 0xD800 <= c < 0xE000], np.uint32)
    text = codes.tobytes().decode("utf-32-le")
    found = []
    for expression in (r"\p{L}+", r"\p{N}+", r"[^\S\r\n]+", r"[\r\n]+"):
        split = pre_tokenizers.Split(Regex(expression), behavior="removed", invert=True)
        found.append({c for piece, _ in split.pre_tokenize_str(text) for c in piece})
    expected = [next((k for k, members in enumerate(found) if c in members), 4) for c in text]
    assert classes(codes).tolist() == expected


def learning(texts: list[str], vocab_size: int, min_frequency: int = 2) -> Learning:
    return Learning(lambda: iter(texts), vocab_size, min_frequency)


@pytest.mark.parametrize("name", sorted(TEXTS))
@pytest.mark.parametrize(("vocab_size", "min_frequency"), [(300, 2), (700, 2), (2000, 1), (1200, 5)])
def test_our_trainer_writes_the_bytes_of_the_librarys(name: str, vocab_size: int, min_frequency: int) -> None:
    asked = learning(TEXTS[name], vocab_size, min_frequency)
    assert Bpe().learn(asked).to_str() == by_tokenizers(asked).to_str()


@given(
    st.lists(st.tuples(st.text("abc", min_size=2, max_size=24), st.integers(1, 9)), min_size=1, max_size=30),
    st.integers(1, 4),
    st.integers(3, 30),
)
@settings(max_examples=300, deadline=None)
def test_merges_of_many_at_once_are_those_of_the_library_one_by_one(
    drawn: list[tuple[str, int]], least: int, longest: int
) -> None:
    asked = learning(["\n".join([word] * count) for word, count in drawn], 330, least)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bpe, "MAX_TOKEN_BYTES", longest)
        assert Bpe().learn(asked).to_str() == by_tokenizers(asked, longest).to_str()


def test_digit_groups_give_tokens_of_several_figures() -> None:
    texts = [f"{k % 40:03d}{k % 40:03d} " for k in range(4000)]
    for digits, longest in (("one", 1), ("three", 3), ("free", 6)):
        vocabulary = Bpe(digits=digits).learn(learning(texts, 1000)).get_vocab()
        assert max(len(token) for token in vocabulary if token.isdigit()) == longest


@pytest.mark.parametrize(
    "texts", [["x" * 20_000 + "yz"], ["\x00\x00\x00\x01"] * 9, ["same line\n"] * 5000, ["🙂👩‍👧𝔘"] * 9, [""]]
)
def test_odd_texts_are_learnt_from_as_the_library_does(texts: list[str]) -> None:
    asked = learning(texts, 400)
    assert Bpe().learn(asked).to_str() == by_tokenizers(asked).to_str()


def test_a_lone_surrogate_counts_as_the_replacement_character() -> None:
    assert count_words(["a\ud800b"]).to_pylist() == count_words(["a\ufffdb"]).to_pylist()


def test_a_special_token_in_the_text_is_learnt_as_text() -> None:
    asked = learning(["<|endoftext|> and <|im_end|> again\n"] * 50, 400)
    tokenizer = Bpe().learn(asked)
    assert tokenizer.to_str() == by_tokenizers(asked).to_str()
    assert tokenizer.token_to_id("<|endoftext|>") == 0 and list(SPECIALS) == [
        tokenizer.id_to_token(k) for k in range(7)
    ]


def test_counts_are_exact_whether_they_fit_into_memory_or_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pretune.tokens.learn import counting

    monkeypatch.setattr(counting, "BLOCK_CHARACTERS", 4000)
    texts = [*TEXTS["english"], *TEXTS["chinese"], *TEXTS["code"]]
    expected = Counter(word for text in texts for word in words_of(text, "one"))
    for memory, scratch in ((1e9, None), (20_000, tmp_path)):
        held = Held(memory, scratch)
        held.least = 2000
        for table in counting._counted(counting._blocks(texts), "one"):
            held.add(table)
        assert len(held._runs) == 0 if scratch is None else len(held._runs) > 3
        rows = held.close().to_pylist()
        assert len(rows) == len(expected) and {r["word"].decode(): r["count"] for r in rows} == expected
    assert not list(tmp_path.iterdir())


def test_what_is_dropped_while_runs_are_merged_would_have_been_dropped_at_the_end(tmp_path: Path) -> None:
    rng = random.Random(3)
    texts = [" ".join("".join(rng.choices("abcdefgh", k=rng.randint(2, 6))) for _ in range(400)) for _ in range(40)]
    most = 3000

    def found(held: Held, close: int | None) -> tuple[dict[bytes, int], int]:
        for text in texts:
            held.add(counting.count_block(text))
        (data, ends), counts, left_out = most_frequent(held.close(close), most)
        words = [bytes(data[a:b]) for a, b in itertools.pairwise(ends)]
        return dict(zip(words, counts.tolist(), strict=True)), left_out

    small = Held(20_000, tmp_path)
    small.least = 1000
    kept, left_out = found(small, most)
    assert len(small._runs) > 3 and left_out > 5000
    assert (kept, left_out) == found(Held(1e9, None), None)


def test_the_rarest_words_are_left_out_by_count_and_then_by_their_bytes() -> None:
    table = count_words(["aa aa bb cc cc cc"])  # aa 1, _aa 1, _bb 1, _cc 3
    (data, ends), counts, left_out = most_frequent(table, 8)
    kept = [bytes(data[a:b]) for a, b in itertools.pairwise(ends)]
    assert (kept, counts.tolist(), left_out) == ([b" cc", b" aa"], [3, 1], 2)


def test_training_imports_no_torch() -> None:
    import subprocess

    code = "import sys, pretune.tokens.learn.bpe, pretune.tokens.learn.merging, pretune.tokens.learn.counting; print('torch' in sys.modules)"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, encoding="utf-8"
        ).stdout.strip()
        == "False"
    )
