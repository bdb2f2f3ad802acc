"""Many texts to ids as arrays, with the ids of the folder's own tokenizer.

    byte-level BPE, our words, much text, numba here  -> encode_loop  \
    byte-level BPE with the usual patterns            -> fastokens     > probe texts: ids equal? else tokenizers
    anything else                                     -> tokenizers   /

Two fast ones, because each is the slow one somewhere: fastokens (github.com/crusoecloud/fastokens) remembers words,
which pays in English and not in Chinese, whose clauses it meets once; the loop has to be loaded and compiled first.
A tokenizer that neither can read, or where one probe comes out otherwise, is encoded by `tokenizers`: slower, never
different.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from tokenizers import Tokenizer

from pretune.text.read.values import mend_surrogates
from pretune.tokens.encode.tokenizer import encode_texts, load_tokenizer
from pretune.tokens.learn.compiled import pays

if TYPE_CHECKING:
    from pretune.tokens.encode.pieces import Pieces

SAVED = 1 / 45e6 - 1 / 140e6
"""Seconds per byte of Chinese that the loop saves, on one core."""
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


Encode = Callable[[pa.ChunkedArray], Encoded]


@dataclass(frozen=True)
class Encoder:
    """A folder's tokenizer, for raw text: nothing in a text is a control token, and none is added.

    Args:
        tokenizer: the folder's own.
        backend: what encodes: "loop" (encode_loop), "fastokens" or "tokenizers".
    """

    tokenizer: Tokenizer
    backend: str
    _encode: Encode

    @classmethod
    def open(cls, folder: str | Path, *, text_bytes: float = 0) -> Encoder:
        """Raises what `load_tokenizer` raises.

        Args:
            folder: has a tokenizer.json.
            text_bytes: how much will be encoded, about: what is worth loading for it.
        """
        tokenizer = load_tokenizer(folder)
        slow = partial(_by_tokenizers, tokenizer)
        for backend, fast in _fast(tokenizer, text_bytes):
            if _agree(fast, slow, tokenizer):
                return cls(tokenizer, backend, fast)
        return cls(tokenizer, "tokenizers", slow)

    def encode(self, texts: Sequence[str] | pa.ChunkedArray) -> Encoded:
        """The ids of every text, on all cores; a lone surrogate is U+FFFD. A column (Arrow) has no nulls."""
        if not isinstance(texts, pa.ChunkedArray):
            texts = pa.chunked_array([pa.array([mend_surrogates(text) for text in texts], pa.large_string())])
        return self._encode(texts)


def _by_tokenizers(tokenizer: Tokenizer, texts: pa.ChunkedArray) -> Encoded:
    rows = encode_texts(tokenizer, texts.to_pylist())
    ends = np.cumsum([len(ids) for ids in rows], dtype=np.int64)
    return Encoded(np.concatenate([np.empty(0, np.uint32), *(np.array(ids, np.uint32) for ids in rows)]), ends)


def _fast(tokenizer: Tokenizer, text_bytes: float) -> Iterator[tuple[str, Encode]]:
    """Those that know such a tokenizer, the fastest first."""
    if pays(text_bytes * SAVED):
        from pretune.tokens.encode.pieces import Pieces, Tables

        tables = Tables.of(tokenizer)
        if tables is not None:
            yield "loop", partial(_by_loop, Pieces(tables))
    with contextlib.suppress(ImportError, ValueError):  # no wheel for this machine; it does not know this kind
        from fastokens._native import Tokenizer as Fast

        yield "fastokens", partial(_by_fastokens, Fast.from_json_str(tokenizer.to_str()))


def _by_loop(pieces: Pieces, texts: pa.ChunkedArray) -> Encoded:
    return Encoded(*pieces.encode(texts.cast(pa.large_string()).combine_chunks()))


def _by_fastokens(fast: Any, texts: pa.ChunkedArray) -> Encoded:
    ids, offsets = fast.encode_batch_flat(texts.to_pylist(), False, True)  # no specials added, those in a text split
    return Encoded(np.frombuffer(ids, "<u4"), np.frombuffer(offsets, "<u8")[1:].astype(np.int64))


def _agree(fast: Encode, slow: Encode, tokenizer: Tokenizer) -> bool:
    texts = pa.chunked_array([pa.array([*PROBES, *_around(tokenizer), *_drawn()], pa.large_string())])
    one, other = fast(texts), slow(texts)
    return np.array_equal(one.ids, other.ids) and np.array_equal(one.ends, other.ends)


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
