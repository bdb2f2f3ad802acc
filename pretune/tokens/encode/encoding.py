"""Many texts to ids as arrays, with the ids of the folder's own tokenizer.

    fastokens     where it is installed, can read the tokenizer, and gives the same ids on texts made to trip it
    tokenizers    everywhere else: slower, never different

Source: fastokens, github.com/crusoecloud/fastokens; it remembers words, which pays most where words come again.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from pretune.text.read.values import mend_surrogates
from pretune.tokens.encode.tokenizer import encode_texts, load_tokenizer

if TYPE_CHECKING:
    from fastokens._native import Tokenizer as Fast


PROBES = [
    "",
    " ",
    "Hello, world! It's we'LL they'Re don't' 's",
    "a\r\nb\r\n\r\n  c   \n\n  \t x \x00\x01\x7f\x85",
    "1234567890 3.14 ½ ١٢٣ 一二三",
    "def f(x):\n\treturn x  # ok\n\n\nhttps://example.org/?q=a%20b&c=ÄÖÜ#x_y",
    "我在2024年吃了3个苹果。你呢？「好」——…… これはテストです。ﾃｽﾄ 이것은 시험이다",
    "ภาษาไทยไม่มีช่องว่าง العَرَبِيَّة שָׁלוֹם \u0e01\u0e33 \u0130\u0131\u017f",
    "e\u0301a\u0300 \u1ae2\u0bdb\u0aec",  # marks in an order that NFC changes, some of them new in Unicode 16
    "👩‍👩‍👧‍👦👍🏽 🇩🇪\ufe0f \ufeff\u2028\u3000\xa0\u200b\u200f",
    *(character * 500 for character in ("ab ", "z", " ", "好", "'", "7", "\n")),
]


@dataclass(frozen=True)
class Encoded:
    """The ids of several texts, one after the other.

    Args:
        ids: uint32 [N].
        ends: int64 [T], one past the last id of each text.
    """

    ids: NDArray[np.uint32]
    ends: NDArray[np.int64]


@dataclass(frozen=True)
class Encoder:
    """A folder's tokenizer, for raw text: nothing in a text is a control token, and none is added.

    Args:
        tokenizer: the folder's own.
        fast: the same by fastokens, or None.
    """

    tokenizer: Tokenizer
    fast: Fast | None = None

    @classmethod
    def open(cls, folder: str | Path) -> Encoder:
        """Raises what `load_tokenizer` raises."""
        tokenizer = load_tokenizer(folder)
        return cls(tokenizer, _fast(tokenizer.to_str()))

    @property
    def backend(self) -> str:
        """The library that encodes."""
        return "fastokens" if self.fast else "tokenizers"

    def encode(self, texts: Sequence[str]) -> Encoded:
        """The ids of every text, on all cores; a lone surrogate is U+FFFD."""
        if self.fast:
            return _by_fastokens(self.fast, [mend_surrogates(text) for text in texts])
        return _by_tokenizers(self.tokenizer, texts)


def _by_tokenizers(tokenizer: Tokenizer, texts: Sequence[str]) -> Encoded:
    rows = [np.array(ids, np.uint32) for ids in encode_texts(tokenizer, texts)]
    return Encoded(
        np.concatenate([np.empty(0, np.uint32), *rows]), np.cumsum([len(row) for row in rows], dtype=np.int64)
    )


def _by_fastokens(fast: Fast, texts: list[str]) -> Encoded:
    ids, offsets = fast.encode_batch_flat(texts, False, True)  # no specials added, those in a text split
    return Encoded(np.frombuffer(ids, "<u4"), np.frombuffer(offsets, "<u8")[1:].astype(np.int64))


@lru_cache(maxsize=4)
def _fast(written: str) -> Fast | None:
    """The tokenizer of a tokenizer.json by fastokens; None where there is none that gives the same ids."""
    try:
        from fastokens._native import Tokenizer as Fast

        fast, slow = Fast.from_json_str(written), Tokenizer.from_str(written)
    except (ImportError, ValueError):  # no wheel for this machine; it does not know this kind
        return None
    texts = probes(slow)
    one, other = _by_fastokens(fast, texts), _by_tokenizers(slow, texts)
    return fast if np.array_equal(one.ids, other.ids) and np.array_equal(one.ends, other.ends) else None


def probes(tokenizer: Tokenizer) -> list[str]:
    """Texts made to trip whatever reads this tokenizer: scripts, white space, its control tokens as text, Unicode."""
    return [*PROBES, *_around(tokenizer), *_drawn()]


def _around(tokenizer: Tokenizer) -> list[str]:
    """Each added token inside a text, as somebody might write it."""
    added = [token.content for _, token in sorted(tokenizer.get_added_tokens_decoder().items())]
    return [f"x {content} y{content}z \n{content}" for content in added[:200]]


def _drawn() -> list[str]:
    """Texts of characters drawn from all of Unicode, from its first planes and from a few that patterns tell apart."""
    rng = random.Random(0)
    few = " \n\r\t'aZ1你,.<|e\u0301\u3000ſsdmtlvreLVR٣_-"
    texts = ["".join(rng.choices(few, k=20)) for _ in range(300)]
    texts += ["".join(chr(rng.randrange(0x20, 0x3000)) for _ in range(20)) for _ in range(300)]
    return texts + [mend_surrogates("".join(chr(rng.randrange(0x110000)) for _ in range(20))) for _ in range(300)]
