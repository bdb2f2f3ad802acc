"""Which tokens of a row make one word: by the text that they stand for, whatever the tokenizer.

    tokens   The| un|believ|able| 上|海自|来水|!          whole words share a number
    words     0    1   1     1    2   2   2   3         上海 自来水: a token has a part of both, so they are one

A word is a run of letters, digits and marks, with what an apostrophe joins to it (don't); where a script writes no
spaces, what the Chinese segmenter finds (rjieba, extra `words`), or without it each character by itself. All else is
as many words as it has tokens.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from tokenizers import Tokenizer

UNSPACED = (
    "\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
    "\u0e00-\u0edf\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff"
)
"""Scripts that write no spaces: Chinese characters and kana; Thai, Lao, Tibetan, Burmese, Khmer."""
BYTE = re.compile("<0x([0-9A-F]{2})>")


@dataclass(frozen=True)
class Words:
    """The words of rows of one tokenizer.

    Args:
        pieces: the bytes of text that each token stands for; a space for a control token.
        cut: the words of a run of characters that are written without spaces.
    """

    pieces: Sequence[bytes]
    cut: Callable[[str], Sequence[str]]

    def begins(self, ids: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Whether a token is the first of a word, [L]; the others go on with the word of the token before."""
        parts = [self.pieces[token] for token in ids.tolist()]
        data = b"".join(parts)
        text = data.decode("utf-8", "surrogateescape")  # a byte that is no character is one by itself
        at = _byte_offsets(text)
        borders = np.array(self._spans(text), dtype=np.int64).reshape(-1, 2)
        step = np.zeros(len(data) + 2, dtype=np.int64)
        step[at[borders[:, 0]] + 1] += 1  # words do not overlap: no place comes twice
        step[at[borders[:, 1]]] -= 1
        inside = np.cumsum(step)[: len(data) + 1] > 0
        inside[:-1] |= np.frombuffer(data, np.uint8) & 0xC0 == 0x80  # the middle of a character
        starts = np.cumsum([0, *map(len, parts)])[:-1]
        return np.asarray(~inside[starts] | (starts == 0))

    def _spans(self, text: str) -> list[tuple[int, int]]:
        """First character, and one past the last, of each word."""
        found: list[tuple[int, int]] = []
        for match in _word().finditer(text):
            at, end = match.span()
            if match[1] is None:
                found.append((at, end))
                continue
            for word in self.cut(match[1]):
                found.append((at, at + len(word)))
                at += len(word)
        return found


def words_of(tokenizer: Tokenizer) -> Words:
    """The words of a tokenizer's rows; Chinese ones by rjieba where it is installed."""
    if not has_segmenter():
        return Words(token_bytes(tokenizer), list)
    import rjieba

    return Words(token_bytes(tokenizer), rjieba.cut)


def has_segmenter() -> bool:
    return find_spec("rjieba") is not None


@cache
def _word() -> re.Pattern[str]:
    marks = "".join(c for c in map(chr, range(0x300, 0x3100)) if unicodedata.category(c)[0] == "M")
    marks = re.sub(f"[{UNSPACED}]", "", marks)  # re's \\w has no marks: a vowel sign would cut its word
    letters = rf"[^\W{UNSPACED}]+(?:[{marks}]+[^\W{UNSPACED}]*)*"
    return re.compile(rf"([{UNSPACED}]+)|{letters}(?:['’]{letters})*")


def _byte_offsets(text: str) -> NDArray[np.int64]:
    """The byte at which each character begins, and the end, int64 [C + 1]."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
    sizes = 1 + (codes >= 0x80).astype(np.int64) + (codes >= 0x800) + (codes >= 0x10000)
    sizes[(codes >= 0xDC80) & (codes <= 0xDCFF)] = 1
    return np.concatenate([[0], np.cumsum(sizes)])


# ---- what a token stands for ------------------------------------------------------------------------


def token_bytes(tokenizer: Tokenizer) -> list[bytes]:
    """The bytes of text that each token stands for, by its id; a space for a control token.

    By the tokenizer's decoder: bytes as letters (GPT-2), `▁` and <0xE4> (SentencePiece), `##` (WordPiece). Where the
    tokens are words without their spaces, one stands in front of each that begins one.
    """
    kinds = _decoders(tokenizer)
    vocabulary, added = tokenizer.get_vocab(), tokenizer.get_added_tokens_decoder()
    found = [b""] * (max(vocabulary.values(), default=-1) + 1)
    for name, number in vocabulary.items():
        found[number] = _bytes_of(name, kinds)
    for number, token in added.items():
        found[number] = b" " if token.special else token.content.encode("utf-8", "surrogatepass")
    return found


def _decoders(tokenizer: Tokenizer) -> dict[str, str]:
    """The kinds of the parts of a tokenizer's decoder -> the prefix of pieces that go on with a word."""
    if tokenizer.decoder is None:
        return {}
    tree = json.loads(tokenizer.decoder.__getstate__())
    return {one["type"]: one.get("prefix", "") for one in tree.get("decoders", [tree])}


def _bytes_of(name: str, kinds: dict[str, str]) -> bytes:
    if "ByteLevel" in kinds and (found := [_letters().get(c, -1) for c in name]) and min(found) >= 0:
        return bytes(found)
    if "ByteFallback" in kinds and (byte := BYTE.fullmatch(name)):
        return bytes([int(byte[1], 16)])
    if "WordPiece" in kinds or not kinds:
        prefix = kinds.get("WordPiece", "")
        return (name.removeprefix(prefix) if prefix and name.startswith(prefix) else _apart(name)).encode()
    return name.replace("▁", " ").encode("utf-8", "surrogatepass")


def _apart(name: str) -> str:
    """A token with a space in front, which was lost; none in a script that has none."""
    return name if re.match(f"[{UNSPACED}]", name) else f" {name}"


@cache
def _letters() -> dict[str, int]:
    return {name: byte for byte, name in enumerate(byte_names())}


def byte_names() -> list[str]:
    """The character that stands for each byte (GPT-2's table: printable ones for themselves, the rest from U+0100)."""
    shown = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    hidden = [byte for byte in range(256) if byte not in shown]
    return [chr(byte) if byte in shown else chr(0x100 + hidden.index(byte)) for byte in range(256)]
