"""Words: Chinese ones found by jieba, others by the pattern; the result needs no jieba.

    counts of jieba's words -> log probabilities -> the likeliest cut of a clause (Unigram)

jieba itself takes the likeliest path through its dictionary; so does a Unigram model whose pieces are the words that
jieba found and how often. Unknown words fall apart into characters, unknown characters into bytes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from pretune.base.errors import MissingExtra
from pretune.tokens.learn.algorithm import Algorithm, Learning
from pretune.tokens.learn.fallback import first_tokens, with_scores

if TYPE_CHECKING:
    from tokenizers import Tokenizer


class Word(Algorithm):
    """Whole words, Chinese ones too."""

    kind: str = "word"

    def learn(self, learning: Learning) -> Tokenizer:
        words, characters = count(learning)
        room = max(0, learning.vocab_size - len(first_tokens()))
        letters = [c for c, n in _ordered(characters) if n >= learning.min_frequency][: room // 2]
        whole = [w for w, n in _ordered(words) if n >= learning.min_frequency and w not in set(letters)]
        chosen = [*letters, *whole[: room - len(letters)]]
        total = sum(words.values())
        # A character that is no word by itself is as rare as can be, so that it never breaks a word up.
        return with_scores([(w, math.log(max(words[w], 0.5) / total)) for w in chosen])


def _ordered(counts: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))


def count(learning: Learning) -> tuple[Counter[str], Counter[str]]:
    """(how often each word occurs, how often each character)."""
    from pretune.tokens.learn.counting import count_words

    cut = _segmenter()
    words: Counter[str] = Counter()
    characters: Counter[str] = Counter()
    table = count_words(learning.texts(), memory=learning.memory, scratch=learning.scratch)
    for word, n in zip(table["word"].to_pylist(), table["count"].to_pylist(), strict=True):
        text = word.decode()
        for part in [text] if text.isascii() else cut(text):
            words[part] += n
        for character in text:
            characters[character] += n
    return words, characters


def _segmenter() -> Callable[[str], list[str]]:
    try:
        import rjieba
    except ImportError:
        raise MissingExtra(
            "algorithm=word needs rjieba to find Chinese words", hint='pip install "pretune[words]"'
        ) from None
    return rjieba.cut
