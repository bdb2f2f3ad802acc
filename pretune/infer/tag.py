"""From the logits of tokens to a tag for each word and the entities they mark; the one place that makes rows of words.

    words    Ann     lives   in   Washington
    pieces   Ann     lives   in   Wash  ##ington
    encoder  ^       ^       ^    ^                  the first piece of a word says its tag
    decoder  ^       ^       ^          ^            the last one: it alone has read the whole word

*L positions, T tags.*
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pretune.base.errors import NotSupported
from pretune.infer.answers import Answer, Entity, Tags
from pretune.infer.chain import best_path
from pretune.infer.classify import TEXTS_AT_ONCE, Frame, softmax
from pretune.infer.compare import compare_tags
from pretune.infer.engine import Encoder
from pretune.infer.predictor import Advance, Difference, Facts, unheard
from pretune.text.dataset.cutting import Place, joined, spaced, word_places
from pretune.text.dataset.shapes.schemes import pieces_of, to_iob2
from pretune.tokens.encode.tokenizer import encode_text, encode_texts, load_tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Words = str | Sequence[str]
"""What is tagged: a text, which is cut into words (Chinese into characters), or its words."""


@dataclass(frozen=True)
class Sentence:
    """A text, its words, and their places."""

    text: str
    words: tuple[str, ...]
    places: list[Place]


@dataclass(frozen=True)
class WordRow:
    """A row of words: its ids, and of each word the position that says its tag; None for one that is not in the row."""

    ids: list[int]
    places: list[int | None]

    @property
    def num_unread(self) -> int:
        return self.places.count(None)


@dataclass(frozen=True)
class Tagger:
    """A predictor that gives each word a tag."""

    encoder: Encoder
    tokenizer: Tokenizer
    facts: Facts

    @property
    def gives(self) -> type[Answer]:
        return Tags

    @property
    def engine(self) -> Encoder:
        return self.encoder

    def rows(self, inputs: Sequence[Words]) -> list[list[int]]:
        """One row per input, at most `max_length` tokens, frame included. Raises NotSupported for other inputs."""
        return [row.ids for row in self._rows([read_words(one) for one in inputs])]

    def _rows(self, read: Sequence[Sentence]) -> list[WordRow]:
        frame = Frame(self.facts.before, self.facts.after)
        return word_rows(self.tokenizer, [one.words for one in read], frame, self.facts.max_length)

    def answer(
        self, inputs: Sequence[Words], *, max_tokens: int = 256, strict: bool = True, advance: Advance = unheard
    ) -> list[Answer]:
        """The likeliest tag of every word, in the order of the inputs; O for words behind the longest row."""
        found: list[Answer] = []
        for start in range(0, len(inputs), TEXTS_AT_ONCE):
            read = [read_words(one) for one in inputs[start : start + TEXTS_AT_ONCE]]
            rows = self._rows(read)
            logits = self.encoder.logits([row.ids for row in rows])
            found += [self._tagged(*one) for one in zip(read, rows, logits, strict=True)]
            advance(len(rows))
        return found

    def _tagged(self, given: Sentence, row: WordRow, logits_LT: np.ndarray) -> Tags:
        labels, read = self.facts.labels or (), [at for at in row.places if at is not None]
        sure_LT = softmax(logits_LT)  # it refuses NaN
        chain = self.facts.more.get("crf")
        best = iter(best_path(logits_LT[read], **chain) if chain else sure_LT[read].argmax(axis=1))
        tags = to_iob2(["O" if at is None else labels[next(best)] for at in row.places], "IOB2")
        return Tags(tags, given.words, entities_in(given.text, given.places, tags), row.num_unread)

    def compare(
        self, other: Tagger, inputs: Sequence[Words], *, most_written: int = 20, num_tokens: int = 32
    ) -> Difference:
        return compare_tags(self, other, inputs)


def read_words(given: Words) -> Sentence:
    """A text cut into its words, or words joined to a text. Raises NotSupported for what is neither."""
    if isinstance(given, str):
        places = word_places(given)
        return Sentence(given, tuple(given[start:end] for start, end in places), places)
    if any(not isinstance(word, str) for word in given):
        raise NotSupported("a tagger reads texts or lists of words, not dialogues", hint="give a dataset with tags")
    text, places = joined(given)
    return Sentence(text, tuple(given), places)


def entities_in(text: str, places: Sequence[Place], tags: Sequence[str]) -> tuple[Entity, ...]:
    """The pieces that the tags of the words at these places mark."""
    found = [(places[first][0], places[end - 1][1], kind) for first, end, kind in pieces_of(tags)]
    return tuple(Entity(text[start:end], start, end, kind) for start, end, kind in found)


def word_rows(tokenizer: Tokenizer, sentences: Sequence[Sequence[str]], frame: Frame, max_length: int) -> list[WordRow]:
    """A row for each list of words, at most `max_length` tokens; what is behind that, and words without a token, are
    in no row."""
    spell = spaced if _joins_blanks(tokenizer) else list
    pieces = encode_texts(tokenizer, [word for words in sentences for word in spell(words)])
    ends = list(accumulate((len(words) for words in sentences), initial=0))
    return [_row(pieces[start:end], frame, max_length) for start, end in pairwise(ends)]


def _joins_blanks(tokenizer: Tokenizer) -> bool:
    """Whether a blank is part of the word behind it, or nothing, and not a token of its own."""
    return len(encode_text(tokenizer, " a")) <= len(encode_text(tokenizer, "a"))


def _row(pieces: Sequence[Sequence[int]], frame: Frame, max_length: int) -> WordRow:
    ids = frame.row([token for word in pieces for token in word], max_length)
    ends = accumulate(map(len, pieces), initial=len(frame.before))
    at = [start if frame.before else end - 1 for start, end in pairwise(ends)]
    room = len(ids) - len(frame.after)
    return WordRow(ids, [k if word and k < room else None for k, word in zip(at, pieces, strict=True)])


def of_facts(encoder: Encoder, folder: Path, facts: Facts) -> Tagger:
    """An engine with the tokenizer of a folder."""
    return Tagger(encoder, load_tokenizer(folder), facts)
