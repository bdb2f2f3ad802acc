"""What is lost when texts are cut at a length, and the length that suits them: the doctor's check that counts tokens.

With a tokenizer's folder the count is exact, special tokens apart. Without one it is an estimate: a character that
is not ASCII is a token, and so are four ASCII characters; trained tokenizers of 8,000 to 150,000 words make 3.5 to
5 characters of English and 1 to 1.8 of Chinese a token.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from pretune.report.numbers import share
from pretune.text.dataset.doctor.findings import Check, Data, Finding, Level, counted

WHOLE = 0.99
"""Share of rows that the suggested length leaves whole."""
BLOCK = 8


class Truncation(Check):
    """Texts that are cut at `max_length`, the share of tokens that is lost, and a length that suits."""

    kind: str = "truncation"
    level: ClassVar[Level] = "hint"
    max_length: int = Field(default=256, gt=1)
    """Tokens at which a text is cut; stage finetune's default."""
    tokenizer: str | None = None
    """Folder of a tokenizer or model; without one tokens are estimated."""
    serious: float = Field(default=0.05, ge=0, le=1)
    """Share of rows that are cut, from which it is a warning (where tokens are counted, not estimated)."""

    def find(self, data: Data) -> Iterator[Finding]:
        texts = [data.fields.together(row.example) for row in data.rows]
        if not texts:
            return
        lengths = lengths_of(texts, self.tokenizer)
        cut = [row for row, n in zip(data.rows, lengths, strict=True) if n > self.max_length]
        lost = share(sum(max(0, n - self.max_length) for n in lengths) / max(sum(lengths), 1), 1)
        fit, about = suggested(lengths), "" if self.tokenizer else "about "
        text = f"{counted(len(cut), 'row')} of {len(texts):,} cut at {self.max_length} tokens, {lost} of all lost"
        whole = f"max_length={fit} leaves {about}99 rows of 100 whole; the longest has {about}{max(lengths):,} tokens"
        serious = self.tokenizer is not None and len(cut) > self.serious * len(texts)
        advice = f"Set finetune.max_length={fit}." if fit != self.max_length else "The length suits."
        estimate = "" if self.tokenizer else " (estimated: no tokenizer was given)"
        yield self.finding(f"{text}; {whole}{estimate}", cut, level="warning" if serious else "hint", advice=advice)


def lengths_of(texts: Sequence[str], tokenizer: str | None) -> list[int]:
    """Tokens of each text, special tokens not counted; an estimate where there is no tokenizer."""
    if tokenizer is None:
        return [estimated(text) for text in texts]
    from pretune.tokens.encode.tokenizer import encode_texts, load_tokenizer

    return [len(ids) for ids in encode_texts(load_tokenizer(Path(tokenizer)), texts)]


def estimated(text: str) -> int:
    """Tokens of a text, roughly."""
    wide = sum(c > "\x7f" for c in text)
    return wide + math.ceil((len(text) - wide) / 4)


def suggested(lengths: Sequence[int]) -> int:
    """The smallest multiple of 8 that leaves 99 rows of 100 whole with two special tokens round them; at least 16."""
    if not lengths:
        return 16
    at = sorted(lengths)[math.ceil(WHOLE * len(lengths)) - 1]
    return max(16, -(-(at + 2) // BLOCK) * BLOCK)
