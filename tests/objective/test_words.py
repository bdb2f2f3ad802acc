"""What is hidden together: whole words, whatever the tokenizer, and spans."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pretune.objective.objective import OBJECTIVE
from pretune.objective.pretraining.hiding import chosen_spans, chosen_units
from pretune.tokens.encode.tokenizer import encode_with_places
from pretune.tokens.encode.words import Words
from pretune.tokens.rows import IGNORE, Vocabulary, vocabulary_of

TEXTS = [
    "The unbelievable foxes don't jump; naïve cafés re-open in 2024, isn't it?\nÀ bientôt!",
    "我们在上海学习自然语言处理，iPhone15手机很贵。自来水 🙂 あの",
    "हिन्दी में लिखना мир и война x_1 = f(y) # ok 👩‍👩‍👧",
] * 4
SPACED = re.compile(r"[a-zA-Zа-яÀ-ÿ0-9_]+(?:'[a-z]+)?|[\u0900-\u0963\u0966-\u097f]+")
BETWEEN_MARKS = re.compile(r"[a-zA-Zа-яÀ-ÿ0-9]+|[\u0900-\u0963\u0966-\u097f]+")
HAN = re.compile(r"[\u4e00-\u9fff]+")
VOCABULARY = Vocabulary(size=40, pad=0, mask=1, cls=2, specials=(0, 1, 2, 3))


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Vocabulary]:
    from pretune.tokens.learn.algorithm import ALGORITHM, Learning
    from pretune.tokens.learn.stage import save_tokenizer

    def made(kind: str) -> Vocabulary:
        folder: Path = tmp_path_factory.mktemp(kind)
        save_tokenizer(ALGORITHM({"kind": kind}).learn(Learning(lambda: iter(TEXTS), 420)), folder)
        return vocabulary_of(folder)

    return made


def words_in(text: str, kind: str) -> list[tuple[int, int]]:
    """The words of a text, by the characters that they are: those with spaces, and rjieba's."""
    import rjieba

    spaced = BETWEEN_MARKS if kind == "wordpiece" else SPACED  # BERT's words end at each mark
    found = [match.span() for match in spaced.finditer(text)]
    for match in HAN.finditer(text):
        found += pairwise(np.cumsum([match.start(), *map(len, rjieba.cut(match[0]))]).tolist())
    return found


@pytest.mark.parametrize("kind", ["bpe", "wordpiece", "unigram", "character", "word", "byte"])
@pytest.mark.parametrize("text", TEXTS[:3])
def test_tokens_go_on_with_a_word_where_its_text_does_and_nowhere_else(
    kind: str, text: str, learnt: Callable[[str], Vocabulary]
) -> None:
    """By the characters that the tokenizer says its tokens stand for; our words know their bytes alone."""
    pytest.importorskip("rjieba")
    vocabulary = learnt(kind)
    ((ids, places),) = encode_with_places(vocabulary.tokenizer, [text])
    begins = vocabulary.words.begins(np.array(ids))
    borders = {border for word in words_in(text, kind) for border in word}
    inside = {place for a, b in words_in(text, kind) for place in range(a + 1, b)} - borders
    assert begins[0]
    for k in range(1, len(ids)):
        if vocabulary.tokenizer.id_to_token(ids[k]) in ("[UNK]", "<|unknown|>") or ids[k - 1] in vocabulary.specials:
            continue  # nobody knows what it stood for
        same = places[k - 1][1] > places[k][0]  # bytes of one character
        assert begins[k] == (not same and places[k][0] not in inside), (k, text[slice(*places[k])])


def test_without_a_segmenter_chinese_characters_are_words_and_a_token_of_two_stays_whole() -> None:
    pieces = ["上海".encode(), "自".encode(), "来水".encode(), b" the", b"re", "é".encode()[:1], "é".encode()[1:]]
    alone = Words(pieces, list)
    assert alone.begins(np.array([0, 1, 2, 3, 4, 5, 6])).tolist() == [True, True, True, True, False, False, False]
    joined = Words(pieces, lambda text: ["上", "海自", "来水"])
    assert joined.begins(np.array([0, 1, 2, 0])).tolist() == [True, False, True, True]


def test_what_is_no_character_is_by_itself() -> None:
    words = Words([b"\xff", b"a", b"\xe4\xb8", b"b"], list)
    assert words.begins(np.array([0, 1, 3, 2, 1])).tolist() == [True, True, False, True, True]


def test_whole_words_share_a_fate_and_never_lose_a_part(learnt: Callable[[str], Vocabulary]) -> None:
    vocabulary, objective = learnt("bpe"), OBJECTIVE({"kind": "masked", "words": "whole", "rate": 0.3})
    ids = np.concatenate([ids for ids, _ in encode_with_places(vocabulary.tokenizer, TEXTS[:3])])
    word = np.cumsum(vocabulary.words.begins(ids))
    fates = np.zeros(3)
    for seed in range(300):
        row = objective.prepare(
            {"ids": ids, "segments": np.zeros(len(ids), int)}, vocabulary, np.random.default_rng(seed)
        )
        chosen = row["labels"] != IGNORE
        for number in np.unique(word[chosen]):
            mine = word == number
            assert chosen[mine].all()
            hidden, kept = row["ids"][mine] == vocabulary.mask, row["ids"][mine] == ids[mine]
            assert hidden.all() or not hidden.any()
            fates += np.array([hidden.all(), kept.all(), not hidden.any() and not kept.all()])
    assert abs(fates / fates.sum() - [0.8, 0.1, 0.1]).max() < 0.02


def documents(number: int) -> list[int]:
    return np.random.default_rng(0).integers(40, 200, number).tolist()


def test_whole_words_of_ten_thousand_documents_are_15_percent_of_their_tokens() -> None:
    rng, chosen, there = np.random.default_rng(1), 0, 0
    for length in documents(10_000):
        ends = np.cumsum(rng.geometric(0.6, length))
        sizes = np.diff(np.minimum(np.append(0, ends[ends < length]), length), append=length)
        sizes = sizes[sizes > 0]
        there += length
        chosen += sizes[chosen_units(sizes, max(1, round(0.15 * length)), rng)].sum()
    assert abs(chosen / there - 0.15) < 0.002


def runs_of(hidden: Any) -> list[int]:
    """Lengths of the runs of true."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], hidden.astype(int), [0]])))
    return (edges[1::2] - edges[::2]).tolist()


@pytest.mark.parametrize("mean", [3.0, 3.8])
def test_spans_of_ten_thousand_documents_are_15_percent_and_as_long_as_asked(mean: float) -> None:
    objective, lengths, there = OBJECTIVE({"kind": "masked", "spans": mean}), [], 0
    for k, length in enumerate(documents(10_000)):
        row = {"ids": np.full(length, 9), "segments": np.zeros(length, int)}
        found = objective.prepare(row, VOCABULARY, np.random.default_rng(k))
        lengths += runs_of(found["labels"] != IGNORE)
        there += length
    assert abs(sum(lengths) / there - 0.15) < 0.002
    assert abs(np.mean(lengths) - mean) < 0.05
    assert max(lengths) <= 10
    assert (np.diff(np.bincount(lengths)[1:10]) < 0).all(), "short ones are more frequent than long ones"


def test_spans_lie_anywhere_alike_and_fill_a_row_where_they_must() -> None:
    rng = np.random.default_rng(0)
    often = np.mean([chosen_spans(20, 6, 3, rng) >= 0 for _ in range(20_000)], axis=0)
    assert abs(often[5:15] - often[5:15].mean()).max() < 0.02
    assert (chosen_spans(4, 4, 1, rng) >= 0).all()
    assert sorted(chosen_spans(1, 1, 3, rng).tolist()) == [0]


def test_a_control_token_is_in_no_span_and_a_word_ends_with_its_document(learnt: Callable[[str], Vocabulary]) -> None:
    vocabulary = learnt("bpe")
    ids = np.array(encode_with_places(vocabulary.tokenizer, ["wxyz" * 8])[0][0])
    half = len(ids) // 2
    ids = ids[: 2 * half]
    rows = {"ids": ids, "segments": np.repeat([0, 1], half)}
    objective = OBJECTIVE({"kind": "masked", "words": "whole", "rate": 0.5})
    seen = {
        tuple(np.flatnonzero(objective.prepare(rows, vocabulary, np.random.default_rng(k))["labels"] >= 0))
        for k in range(40)
    }
    assert seen == {tuple(range(half)), tuple(range(half, 2 * half))}
    spans = OBJECTIVE({"kind": "masked", "spans": 4, "rate": 0.9})
    row = {"ids": np.array([2, 5, 6, 3, 7, 8, 3]), "segments": np.zeros(7, int)}
    assert set(np.flatnonzero(spans.prepare(row, VOCABULARY, np.random.default_rng(0))["labels"] >= 0)) == {1, 2, 4, 5}


def test_a_line_says_that_chinese_words_need_rjieba(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pretune.objective.pretraining.masked.has_segmenter", lambda: False)
    both = {"a": {"kind": "masked", "words": "whole"}, "b": "masked"}
    assert OBJECTIVE(both).remark() == OBJECTIVE(both["a"]).remark() != ""
    assert "pretune[words]" in OBJECTIVE(both).remark()
    assert OBJECTIVE("masked").remark() == ""
