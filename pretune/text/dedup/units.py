"""A text as a sequence of units: words where a script has spaces between them, characters where it has not.

    "Crème brûlée costs 12.50 €"   crème | brûlée | costs | 12 | 50 | €
    "我在2024年吃了3个"              我 | 在 | 2024 | 年 | 吃 | 了 | 3 | 个

Case, white space and punctuation are no units, so they make no difference. Each unit is one uint64, a polynomial
in its code points (read/hashing.py), all of them at once: some ten passes of numpy, and no loop over words.

Price: about 15 ns per character; 40 bytes of memory per character of one batch (PIECE characters).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import xxhash
from numpy.typing import NDArray

from pretune.text.read.characters import categories, codes_of
from pretune.text.read.hashing import hashed, running_sums

PIECE = 1 << 17
"""Characters that are worked on at once: the arrays stay in the cache. A longer text is cut here; that changes two
of some 20,000 units, and depends on the text alone."""

_WORD, _CHARACTER, _PAIR, _TRIPLE = 1, 2, 3, 4

_CHARACTERS = ((0x3005, 0x3007), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF))
# Small alphabets without spaces: two kana, three Thai letters say about as much as one ideograph. A unit begins
# at every letter, so units overlap.
_PAIRS = ((0x3041, 0x30FF), (0x31F0, 0x31FF), (0xFF66, 0xFF9F))
_TRIPLES = ((0x0E01, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17DD))


@dataclass(frozen=True)
class Units:
    """Units of several texts, one after the other.

    Args:
        hashes: uint64 [U].
        texts: int64 [U], the number of the text that each unit is from, rising.
        figures: bool [U], the unit begins or ends with a digit.
    """

    hashes: NDArray[np.uint64]
    texts: NDArray[np.int64]
    figures: NDArray[np.bool_]


def batches(texts: Iterable[str]) -> Iterator[tuple[list[str], list[int]]]:
    """Texts in pieces, together at most PIECE characters: (pieces, number of each piece's text)."""
    held: list[str] = []
    numbers: list[int] = []
    size = 0
    for number, text in enumerate(texts):
        for at in range(0, len(text) or 1, PIECE):
            piece = text[at : at + PIECE]
            if size + len(piece) > PIECE:
                yield held, numbers
                held, numbers, size = [], [], 0
            held.append(piece)
            numbers.append(number)
            size += len(piece)
    if held:
        yield held, numbers


def units_of(texts: Sequence[str]) -> Units:
    """The units of all texts. A text without any (marks alone) is one unit, so that equal ones are equal."""
    folded = [text.casefold() for text in texts]
    codes = codes_of("\n".join(folded))
    begins = np.cumsum([0, *(len(text) + 1 for text in folded)])
    starts, stops = _bounds(codes)
    counts = np.diff(np.searchsorted(starts, begins))
    numbers = np.repeat(np.arange(len(texts)), counts)
    np.minimum(stops, (begins[1:] - 1)[numbers], out=stops)
    units = Units(hashed(running_sums(codes), starts, stops), numbers, _figures(codes, starts, stops))
    return units if counts.all() else _with_bare(units, texts, np.flatnonzero(counts == 0))


def splits_word(text: str, at: int) -> bool:
    """Whether a cut before text[at] parts a word of a script with spaces between words."""
    return 0 < at < len(text) and bool((_kinds()[[ord(text[at - 1]), ord(text[at])]] == _WORD).all())


def _bounds(codes: NDArray[np.uint32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where units begin, and one past where they end."""
    kinds = _kinds()[codes]
    edges = np.zeros(len(codes) + 1, dtype=np.int8)
    words = (kinds == _WORD).view(np.int8)
    edges[:-1] = words
    edges[1:] -= words  # 1 where a word begins, -1 just behind its last letter
    starts = np.flatnonzero((edges[:-1] == 1) | (kinds > _WORD))
    widths = kinds[starts]
    stops = starts + widths - 1
    stops[widths == _WORD] = np.flatnonzero(edges == -1)
    return starts, stops


def _figures(codes: NDArray[np.uint32], starts: NDArray[np.int64], stops: NDArray[np.int64]) -> NDArray[np.bool_]:
    digits = _digits()
    found: NDArray[np.bool_] = digits[codes[starts]] | digits[codes[stops - 1]]
    return found


def _with_bare(units: Units, texts: Sequence[str], bare: NDArray[np.int64]) -> Units:
    """One unit for each text that has none: its marks without the white space between them."""
    marks = ["".join(texts[k].split()).encode("utf-8", "surrogatepass") for k in bare.tolist()]
    hashes = np.array([xxhash.xxh3_64_intdigest(m) for m in marks], dtype=np.uint64)
    numbers = np.concatenate([units.texts, bare])
    order = np.argsort(numbers, kind="stable")
    figures = np.concatenate([units.figures, np.zeros(len(bare), dtype=bool)])
    return Units(np.concatenate([units.hashes, hashes])[order], numbers[order], figures[order])


@lru_cache(maxsize=1)
def _kinds() -> NDArray[np.uint8]:
    """What each code point is: 0 no unit, _WORD part of a word, otherwise 1 + the characters of its unit."""
    named = categories(0x20000)
    kinds = np.zeros(0x110000, dtype=np.uint8)
    for first in "LMN":
        kinds[:0x20000][np.char.startswith(named, first)] = _WORD
    kinds[0x80:0x20000][np.char.startswith(named[0x80:], "S")] = _CHARACTER
    kinds[[0x200C, 0x200D]] = _WORD  # the joiners are inside words
    for ranges, kind in ((_CHARACTERS, _CHARACTER), (_PAIRS, _PAIR), (_TRIPLES, _TRIPLE)):
        for low, high in ranges:
            part = kinds[low : high + 1]
            part[(part == _WORD) & ~_digits()[low : high + 1]] = kind
    kinds[0x20000:0x40000] = _CHARACTER
    return kinds


@lru_cache(maxsize=1)
def _digits() -> NDArray[np.bool_]:
    digits = np.zeros(0x110000, dtype=bool)
    digits[:0x20000] = categories(0x20000) == "Nd"
    return digits
