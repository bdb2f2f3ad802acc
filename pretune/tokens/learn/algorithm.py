"""What a kind of tokenizer is, and the table of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pretune.base.artifact import Artifact
from pretune.base.config import Choice, Variant

if TYPE_CHECKING:
    from tokenizers import Tokenizer

END, PAD, START, STOP = "<|endoftext|>", "<|pad|>", "<|im_start|>", "<|im_end|>"
MASK, CLS, SEP, UNKNOWN = "<|mask|>", "<|cls|>", "<|sep|>", "<|unk|>"
SPECIALS = (END, PAD, START, STOP, MASK, CLS, SEP)
BYTE_TOKENS = tuple(f"<0x{byte:02X}>" for byte in range(256))
"""How bytes are called where a character that has no token falls back on them."""


@dataclass(frozen=True)
class Learning:
    """What an algorithm learns from, and within which limits.

    Args:
        texts: gives the sample again at each call.
        vocab_size: tokens at most; min_frequency: how often something must occur to become one.
        memory: bytes that counting may take; scratch: a folder for what does not fit, or None.
        word_bytes: bytes of distinct words that are kept for merging.
        inputs: artifacts by the dotted place of the setting that names them, from the algorithm on.
        warn: tells the user something.
        whole: gives every training document as it is, where the sample is not enough.
    """

    texts: Callable[[], Iterator[str]]
    vocab_size: int
    min_frequency: int = 2
    memory: float = 2e9
    scratch: Path | None = None
    word_bytes: int = 20_000_000
    inputs: Mapping[str, Artifact] | None = None
    warn: Callable[[str], None] = lambda told: None
    whole: Callable[[], Iterator[str]] | None = None


class Algorithm(Variant):
    """How text becomes tokens."""

    round_trips: ClassVar[bool] = True
    """Whether what is decoded is what was encoded, for every text."""

    def learn(self, learning: Learning) -> Tokenizer:
        """The special tokens come first."""
        raise AssertionError(f"{type(self).__name__} has no learn()")


ALGORITHM = Choice(
    Algorithm,
    {
        "bpe": "pretune.tokens.learn.bpe:Bpe",
        "byte": "pretune.tokens.learn.bpe:Byte",
        "wordpiece": "pretune.tokens.learn.wordpiece:WordPiece",
        "unigram": "pretune.tokens.learn.unigram:Unigram",
        "character": "pretune.tokens.learn.character:Character",
        "word": "pretune.tokens.learn.word:Word",
        "extend": "pretune.tokens.learn.extend:Extend",
        "cut": "pretune.tokens.learn.extend:Cut",
    },
    group="pretune.algorithms",
    default="bpe",
)


def add_specials(tokenizer: Tokenizer, specials: tuple[str, ...] = SPECIALS) -> None:
    """Tell the tokenizer which of its tokens are control tokens."""
    from tokenizers import AddedToken

    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in specials])
