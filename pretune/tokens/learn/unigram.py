"""Unigram: pieces with probabilities, of which the likeliest cut is taken.

    byte-level merges and characters -> twice as many pieces as wanted -> cut every word its likeliest way, count
    -> the least used go, the others get the logarithm of their share -> again, until as many are left as wanted

Counting the likeliest cut alone (and not all cuts by their probability) keeps every number whole, so the same text
gives the same bytes; the trainer of `tokenizers` adds up fractions in an order that differs from run to run.

Source: Kudo 2018, arXiv:1804.10959, with Viterbi counts in place of its expectations.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pretune.tokens.learn.algorithm import Algorithm, Learning
from pretune.tokens.learn.fallback import first_tokens, with_scores
from pretune.tokens.learn.splitting import Digits

if TYPE_CHECKING:
    import pyarrow as pa
    from tokenizers import Tokenizer

ROUNDS = 5
SEEDS = 2
"""Pieces to begin with, as a multiple of those that are wanted."""
BATCH = 1 << 15


class Unigram(Algorithm):
    """Pieces by probability, as in T5 and XLM-R, but with spaces kept and bytes for unknown characters."""

    kind: str = "unigram"
    digits: Digits = "one"
    """one: each figure is a word; three: groups of up to three; free: whole numbers."""

    def learn(self, learning: Learning) -> Tokenizer:
        table = self._words(learning).sort_by("word")
        words = [word.decode() for word in table["word"].to_pylist()]
        counts = table["count"].to_numpy()
        room = max(1, learning.vocab_size - len(first_tokens()))
        letters = _letters(words, counts, learning.min_frequency)[: max(1, room // 2)]
        seeds = [piece for piece in _seeds(table, learning, SEEDS * room) if piece not in set(letters)]
        scores = {piece: -math.log(rank + 2) for rank, piece in enumerate([*letters, *seeds])}
        for k in range(ROUNDS):
            keep = round(room * SEEDS ** (1 - (k + 1) / ROUNDS))
            scores = _again(scores, words, counts, set(letters), keep)
        return with_scores(sorted(scores.items(), key=lambda pair: (-pair[1], pair[0])), self.digits)

    def _words(self, learning: Learning) -> pa.Table:
        """The words that pieces are counted over: which they are does not depend on the memory."""
        from pretune.tokens.learn.counting import count_words, frequent_words

        most = learning.word_bytes
        counted = count_words(
            learning.texts(),
            digits=self.digits,
            memory=learning.memory,
            scratch=learning.scratch,
            most=most,
            single=True,
        )
        table, left_out = frequent_words(counted, most, single=True)
        if left_out:
            learning.warn(f"the {left_out} rarest words were left out: word_bytes={most}")
        return table


def _letters(words: list[str], counts: NDArray[np.int64], least: int) -> list[str]:
    """Characters that occur often enough, the commonest first."""
    found: dict[str, int] = {}
    for word, n in zip(words, counts.tolist(), strict=True):
        for character in word:
            found[character] = found.get(character, 0) + n
    ordered = sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))
    return [character for character, n in ordered if n >= least]


def _seeds(table: pa.Table, learning: Learning, most: int) -> list[str]:
    """What byte-level merges make of the words, where it is whole characters, in the order of merging."""
    from pretune.tokens.learn.bpe import MAX_TOKEN_BYTES, start
    from pretune.tokens.learn.counting import most_frequent
    from pretune.tokens.learn.merging import learn_merges

    words, counts, _ = most_frequent(table, learning.word_bytes)
    tokens, ids = start()
    limits = {
        "vocab_size": len(tokens) + most,
        "min_frequency": learning.min_frequency,
        "max_length": MAX_TOKEN_BYTES,
    }
    learnt, _ = learn_merges(words, counts, tokens, ids=ids, **limits)
    whole = [token.decode("utf-8", "replace") for token in learnt[len(start()[0]) :]]
    return [piece for piece in whole if "\ufffd" not in piece and len(piece) > 1]


def _again(
    scores: dict[str, float], words: list[str], counts: NDArray[np.int64], letters: set[str], keep: int
) -> dict[str, float]:
    """The `keep` most used pieces (letters always) with the logarithms of their shares."""
    used = _used(scores, words, counts)
    rest = sorted((p for p in scores if p not in letters), key=lambda p: (-used.get(p, 0), -len(p), p))
    kept = [*(p for p in scores if p in letters), *rest[: max(0, keep - len(letters))]]
    total = sum(used.values())
    return {piece: math.log(max(used.get(piece, 0), 0.5) / total) for piece in kept}


def _used(scores: dict[str, float], words: list[str], counts: NDArray[np.int64]) -> dict[str, int]:
    """How often each piece stands in the likeliest cut of every word."""
    tokenizer = with_scores(scores.items())
    tokenizer.pre_tokenizer = None
    tokenizer.encode_special_tokens = True
    used = np.zeros(tokenizer.get_vocab_size(), np.int64)
    for at in range(0, len(words), BATCH):
        rows = [e.ids for e in tokenizer.encode_batch_fast(words[at : at + BATCH], add_special_tokens=False)]
        lengths = np.array([len(row) for row in rows])
        np.add.at(
            used, np.concatenate([np.array(row, np.int64) for row in rows]), np.repeat(counts[at : at + BATCH], lengths)
        )
    return {piece: int(used[k]) for k, piece in enumerate(scores, start=len(first_tokens()))}
