"""Tags of words: which token says them, which words are not in the row, and where entities are in the user's text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from pretune.base.errors import NotFinite, NotSupported
from pretune.infer.answers import Entity, Tags, line
from pretune.infer.classify import Frame
from pretune.infer.predictor import Facts
from pretune.infer.tag import Tagger, of_facts, word_rows
from pretune.tokens.encode.tokenizer import encode_text

WORDS = {"[UNK]": 0, "ann": 1, "lives": 2, "in": 3, "wash": 4, "##ing": 5, "##ton": 6, "[CLS]": 7, "[SEP]": 8}
WASHINGTON = ["Ann", "lives", "in", "Washington"]
TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")


@pytest.fixture
def pieces() -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(WORDS, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


@dataclass(frozen=True)
class Said:
    """Scores by a table: the tag of each token by its id."""

    by_id: dict[int, int]
    max_length: int = 64

    def logits(self, rows: Sequence[Sequence[int]]) -> list[np.ndarray]:
        return [np.eye(len(TAGS), dtype=np.float32)[[self.by_id.get(k, 0) for k in row]] for row in rows]


def tagger(tokenizer: Tokenizer, by_id: dict[int, int], max_length: int = 64) -> Tagger:
    return Tagger(Said(by_id), tokenizer, Facts("tag", "tags", max_length, TAGS, before=(7,), after=(8,)))


def test_an_encoder_tags_a_word_at_its_first_piece_and_a_decoder_at_its_last(pieces: Tokenizer) -> None:
    (encoder,) = word_rows(pieces, [WASHINGTON], Frame((7,), (8,)), 20)
    assert (encoder.ids, encoder.places) == ([7, 1, 2, 3, 4, 5, 6, 8], [1, 2, 3, 4])
    (decoder,) = word_rows(pieces, [WASHINGTON], Frame((), (8,)), 20)
    assert (decoder.ids, decoder.places) == ([1, 2, 3, 4, 5, 6, 8], [0, 1, 2, 5])


@pytest.mark.parametrize(
    ("before", "length", "unread"), [((7,), 6, 0), ((7,), 5, 1), ((), 7, 0), ((), 6, 1), ((7,), 2, 4)]
)
def test_words_behind_the_longest_row_are_in_none_and_counted(
    pieces: Tokenizer, before: tuple[int, ...], length: int, unread: int
) -> None:
    (row,) = word_rows(pieces, [WASHINGTON], Frame(before, (8,)), length)
    assert len(row.ids) <= length and row.ids[-1] == 8
    assert [place is None for place in row.places] == [False] * (4 - unread) + [True] * unread
    assert row.num_unread == unread


def test_a_word_without_a_token_takes_nobody_elses_place(pieces: Tokenizer) -> None:
    (row,) = word_rows(pieces, [["Ann", "\u200b", "in"]], Frame((7,), (8,)), 20)
    assert (row.ids, row.places, row.num_unread) == ([7, 1, 3, 8], [1, None, 2], 1)


def test_a_blank_in_front_of_a_word_is_read_with_it_unless_it_would_be_a_token_of_its_own(tokenizer: Tokenizer) -> None:
    from tokenizers import trainers

    joining = Tokenizer(models.BPE())
    joining.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    joining.train_from_iterator(["a a a one two"] * 9, trainers.BpeTrainer(vocab_size=300, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))  # fmt: skip
    (row,) = word_rows(joining, [["one", "two", "北"]], Frame(), 50)
    assert row.ids == encode_text(joining, "one two北")
    assert len(encode_text(tokenizer, " a")) == 2
    (row,) = word_rows(tokenizer, [["one", "a"]], Frame(), 50)
    assert row.ids == [*encode_text(tokenizer, "one"), *encode_text(tokenizer, "a")]


def test_entities_are_at_their_places_in_the_users_own_text(pieces: Tokenizer) -> None:
    text = "  🙂 Ann \n lives in  Washington, in"
    (answer,) = tagger(pieces, {1: 1, 4: 3, 3: 4}).answer([text])
    assert isinstance(answer, Tags)
    # `in` is said to be inside a place: behind O it begins one, behind the place and a comma another
    assert answer.words == ("🙂", "Ann", "lives", "in", "Washington", ",", "in")
    assert answer.tags == ("O", "B-PER", "O", "B-LOC", "B-LOC", "O", "B-LOC")
    assert [e.text for e in answer.entities] == ["Ann", "in", "Washington", "in"]
    assert all(text[e.start : e.end] == e.text for e in answer.entities)


def test_a_list_of_words_gives_the_tags_of_its_text_and_chinese_is_joined_without_blanks(pieces: Tokenizer) -> None:
    model = tagger(pieces, {1: 1, 4: 3})
    one, other = model.answer(["Ann lives in Washington", WASHINGTON])
    assert one == other
    (han,) = tagger(pieces, {0: 3}).answer([["北", "京"]])
    assert isinstance(han, Tags)
    assert han.entities == (Entity("北", 0, 1, "LOC"), Entity("京", 1, 2, "LOC"))


def test_a_text_that_is_longer_than_the_row_says_how_many_words_were_not_read(pieces: Tokenizer) -> None:
    (answer,) = tagger(pieces, {1: 1}, max_length=5).answer(["Ann lives in in Ann"])
    assert isinstance(answer, Tags)
    assert (answer.tags, answer.num_unread) == (("B-PER", "O", "O", "O", "O"), 2)
    assert line(answer, "Ann lives in in Ann") == "[Ann PER] lives in in Ann\t(2 words were not read)"


def test_nothing_to_tag_is_no_tag_and_a_dialogue_is_refused(pieces: Tokenizer) -> None:
    assert tagger(pieces, {}).answer(["", " "]) == [Tags(()), Tags(())]
    assert tagger(pieces, {}).answer([]) == []
    with pytest.raises(NotSupported, match="not dialogues"):
        tagger(pieces, {}).answer([[{"role": "user", "content": "hi"}]])  # type: ignore[list-item]


def test_logits_that_are_not_finite_are_refused(pieces: Tokenizer) -> None:
    class Broken(Said):
        def logits(self, rows: Sequence[Sequence[int]]) -> list[np.ndarray]:
            return [np.full((len(row), len(TAGS)), np.nan, dtype=np.float32) for row in rows]

    facts = Facts("tag", "tags", 9, TAGS, before=(7,), after=(8,))
    with pytest.raises(NotFinite):
        Tagger(Broken({}), pieces, facts).answer(["Ann"])


def test_two_hundred_texts_are_answered_in_order_and_heard_of(folder: Path) -> None:
    heard: list[int] = []
    model = of_facts(Said({}), folder, Facts("tag", "tags", 24, TAGS, before=(5,), after=(6,)))
    texts = [f"{k} you" for k in range(200)]
    answers = model.answer(texts, advance=heard.append)
    assert [a.words[0] for a in answers if isinstance(a, Tags)] == [str(k) for k in range(200)]
    assert sum(heard) == 200
