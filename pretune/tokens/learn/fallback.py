"""Tokenizers over pieces of text whose unknown characters fall back on bytes: vocabulary, frame, scores.

    "好 is known, 罕 is not"  ->  好 | _is | ... | <0xE7> <0xBD> <0x95> | ...

The words are those of the pattern with their spaces in them, so nothing stands for a space and nothing is lost. What
a text writes as `<0x41>` is cut by the pattern before it could be taken for a byte.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pretune.tokens.learn.algorithm import BYTE_TOKENS, SPECIALS, UNKNOWN, add_specials
from pretune.tokens.learn.splitting import Digits, pattern

if TYPE_CHECKING:
    from tokenizers import Tokenizer


RARE = 10.0
"""How much less likely than the rarest piece a byte is (nats)."""


def first_tokens() -> list[str]:
    """Special tokens, the unknown one, 256 bytes: what every such vocabulary begins with."""
    return [*SPECIALS, UNKNOWN, *BYTE_TOKENS]


def with_scores(pieces: Iterable[tuple[str, float]], digits: Digits = "one") -> Tokenizer:
    """A Unigram tokenizer: of all ways to cut a word the likeliest; pieces with their log probabilities."""
    from tokenizers import Tokenizer, models

    # Six places: more are read back otherwise than they were written.
    scored = [(piece, round(score, 6)) for piece, score in pieces]
    low = round(min((score for _, score in scored), default=0.0) - RARE, 6)
    vocabulary = [(token, low) for token in first_tokens()] + scored
    model = models.Unigram(vocabulary, unk_id=len(SPECIALS), byte_fallback=True)
    tokenizer = Tokenizer(model)
    frame(tokenizer, digits)
    add_specials(tokenizer, (*SPECIALS, UNKNOWN))
    return tokenizer


def frame(tokenizer: Tokenizer, digits: Digits = "one") -> None:
    """Words by the pattern; bytes put together again."""
    from tokenizers import Regex, decoders, pre_tokenizers

    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(pattern(digits)), behavior="isolated")
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
