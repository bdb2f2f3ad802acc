"""Characters as tokens, the commonest first; bytes for the others."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, ClassVar

from pretune.tokens.learn.algorithm import SPECIALS, UNKNOWN, Algorithm, Learning, add_specials
from pretune.tokens.learn.fallback import first_tokens, frame

if TYPE_CHECKING:
    from tokenizers import Tokenizer


class Character(Algorithm):
    """One token per character."""

    kind: str = "character"
    round_trips: ClassVar[bool] = True
    byte_fallback: bool = True
    """Characters without a token become their bytes; false: the unknown token, and the text does not come back."""

    def learn(self, learning: Learning) -> Tokenizer:
        from tokenizers import Tokenizer, models

        before = first_tokens() if self.byte_fallback else [*SPECIALS, UNKNOWN]
        room = max(0, learning.vocab_size - len(before))
        tokens = [*before, *common_characters(learning)[:room]]
        vocabulary = {token: number for number, token in enumerate(tokens)}
        tokenizer = Tokenizer(models.BPE(vocabulary, [], unk_token=UNKNOWN, byte_fallback=self.byte_fallback))
        frame(tokenizer)
        add_specials(tokenizer, (*SPECIALS, UNKNOWN))
        return tokenizer


def common_characters(learning: Learning) -> list[str]:
    """Characters that occur often enough, the commonest first."""
    from pretune.text.read.values import mend_surrogates

    counts: Counter[str] = Counter()
    for text in learning.texts():
        counts.update(mend_surrogates(text))
    kept = [(c, n) for c, n in counts.items() if n >= learning.min_frequency]
    return [c for c, _ in sorted(kept, key=lambda pair: (-pair[1], pair[0]))]
