"""Byte-level BPE: every text can be encoded and comes back exactly.

    text -> words by Qwen2's pattern -> bytes -> merges of the commonest neighbours, learnt here

There is no normaliser: what is decoded is what was encoded. Each distinct word is counted once, then its pairs are
merged. The tokenizer is, byte for byte, the one that the trainer of `tokenizers` gives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pretune.tokens.encode.words import byte_names
from pretune.tokens.learn.algorithm import SPECIALS, Algorithm, Learning, add_specials
from pretune.tokens.learn.splitting import Digits, pattern

if TYPE_CHECKING:
    from tokenizers import Tokenizer


MAX_TOKEN_BYTES = 24
"""Chinese has no spaces: without a bound, whole clauses become one token (7 characters here)."""


class Bpe(Algorithm):
    """Byte-level BPE, as in GPT-2 and Qwen."""

    kind: str = "bpe"
    digits: Digits = "one"
    """one: each figure is a word (Qwen2); three: groups of up to three (GPT-4, Llama 3); free: whole numbers."""

    def learn(self, learning: Learning) -> Tokenizer:
        tokens, merges = _merged(learning, self.digits)
        return byte_level([_name(token) for token in tokens], merges, self.digits)


class Byte(Algorithm):
    """Bytes, and nothing above them: 256 and the special tokens."""

    kind: str = "byte"

    def learn(self, learning: Learning) -> Tokenizer:
        return byte_level([*SPECIALS, *alphabet()], [])


def alphabet() -> list[str]:
    """The characters that stand for the 256 bytes, in the order of their ids."""
    from tokenizers import pre_tokenizers

    return sorted(pre_tokenizers.ByteLevel.alphabet())


NAMES = byte_names()


def _name(token: bytes) -> str:
    text = token.decode("utf-8", "replace")
    return text if text in SPECIALS else "".join(NAMES[byte] for byte in token)


def byte_level(tokens: list[str], merges: list[tuple[int, int]], digits: Digits = "one") -> Tokenizer:
    """A tokenizer from its tokens in order of their ids and its merges as pairs of ids."""
    from tokenizers import Tokenizer, models

    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocabulary, [(tokens[a], tokens[b]) for a, b in merges]))
    _frame(tokenizer, digits)
    add_specials(tokenizer)
    return tokenizer


def _frame(tokenizer: Tokenizer, digits: Digits) -> None:
    from tokenizers import Regex, decoders, pre_tokenizers, processors

    words = pre_tokenizers.Split(Regex(pattern(digits)), behavior="isolated")
    in_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([words, in_bytes])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)


def _merged(learning: Learning, digits: Digits) -> tuple[list[bytes], list[tuple[int, int]]]:
    """(tokens as bytes, merges as pairs of ids): each distinct word is counted once."""
    from pretune.tokens.learn.counting import count_words, most_frequent
    from pretune.tokens.learn.merging import learn_merges

    table = count_words(
        learning.texts(), digits=digits, memory=learning.memory, scratch=learning.scratch, most=learning.word_bytes
    )
    words, counts, left_out = most_frequent(table, learning.word_bytes)
    if left_out:
        learning.warn(f"the {left_out} rarest words were left out: word_bytes={learning.word_bytes}")
    tokens, ids = start()
    return learn_merges(
        words,
        counts,
        tokens,
        ids=ids,
        vocab_size=learning.vocab_size,
        min_frequency=learning.min_frequency,
        max_length=MAX_TOKEN_BYTES,
    )


def start() -> tuple[list[bytes], NDArray[np.int32]]:
    """(the tokens before anything is learnt, the id of each byte)."""
    order = alphabet()
    byte_of = {name: byte for byte, name in enumerate(NAMES)}
    tokens = [token.encode() for token in SPECIALS] + [bytes([byte_of[name]]) for name in order]
    return tokens, np.array([len(SPECIALS) + order.index(name) for name in NAMES], np.int32)
