"""Qwen2's pattern over millions of characters at once: where its words begin.

    "I'm  here."   classes  L ' L _ _ L L L L O      L letter, N figure, R line end, S other space, O anything else
                   begins   ^ ^   ^ ^         ^      I | 'm | _ | _here | .

The pattern is a handful of character classes, so each of its rules is a comparison of neighbours, done by numpy on
whole arrays. The words are those of `tokenizers`, tested on all of Unicode; a character that this Python does not
know yet (its Unicode is older) is looked up in `tokenizers` itself.

C characters.
"""

from __future__ import annotations

from functools import cache
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from pretune.text.read.characters import categories

S = TypeVar("S", bound=np.generic)
Digits = Literal["one", "three", "free"]
NUMBERS = {"one": r"\p{N}", "three": r"\p{N}{1,3}", "free": r"\p{N}+"}
LETTER, NUMBER, SPACE, LINE_END, OTHER, BORDER = range(6)
KNOWN = 0x40000
"""No plane beyond the third has letters, figures or spaces."""
SPACES = (0x9, 0xB, 0xC, 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000)
TEXT_BORDER = "\ud800"
"""Stands between two texts: no text contains it, for lone surrogates are mended."""


def pattern(digits: Digits = "one") -> str:
    """The regular expression; with `one` it is Qwen2's to the letter, because GGUF readers know it by name."""
    return (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
        + NUMBERS[digits]
        + r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )


def word_starts(codes: NDArray[np.uint32], digits: Digits = "one") -> NDArray[np.bool_]:
    """Whether a word begins at each character, bool [C]; a border (U+D800) is a word of its own.

    Args:
        codes: code points of texts with borders between them, uint32 [C].
    """
    kind = classes(codes)
    before, after = _shifted(kind, 1), _shifted(kind, -1)
    letter, other, space = kind == LETTER, kind == OTHER, kind == SPACE
    starts: NDArray[np.bool_] = kind == BORDER
    starts |= _numbers(kind, before, digits)
    blank = codes == ord(" ")
    # A space before a sign belongs to it, and a line end behind one.
    joined = other & _shifted(blank, 1)
    sign = other & (before != OTHER)
    starts |= sign & ~joined
    # One sign alone, or the space before a word, is taken up by the word.
    alone = sign & ~joined & (after == LETTER)
    starts |= letter & (before != LETTER) & ~((before == SPACE) | _shifted(alone, 1))
    starts |= _spaces(kind, before, after, space)
    ends = _contractions(codes, alone)
    starts[ends[ends < len(codes)]] = True
    return starts


def classes(codes: NDArray[np.uint32]) -> NDArray[np.uint8]:
    """The class of each code point, uint8 [C]."""
    top = int(codes.max(initial=0))
    if top < 0x80:
        return _table(0x80)[codes]
    kind = _table(0x10000 if top < 0x10000 else KNOWN)[np.minimum(codes, KNOWN - 1) if top >= KNOWN else codes]
    new = np.flatnonzero(kind == _NEW)
    if len(new):
        kind[new] = _newer(codes[new])
    return kind


_NEW = 6


@cache
def _table(size: int) -> NDArray[np.uint8]:
    major = categories(size).astype("U1")
    table = np.full(size, OTHER, np.uint8)
    table[major == "L"], table[major == "N"] = LETTER, NUMBER
    table[categories(size) == "Cn"] = _NEW
    table[[code for code in SPACES if code < size]] = SPACE
    table[[0xA, 0xD]] = LINE_END
    if size > ord(TEXT_BORDER):
        table[ord(TEXT_BORDER)] = BORDER
        table[-1] = OTHER  # stands for all planes beyond; it is no character in any Unicode
    return table


def _newer(codes: NDArray[np.uint32]) -> NDArray[np.uint8]:
    """Classes of characters that this Python's Unicode does not have, as `tokenizers` sees them."""
    unique, back = np.unique(codes, return_inverse=True)
    text = "".join(map(chr, unique.tolist()))
    letters, numbers = _matching(text, r"\p{L}"), _matching(text, r"\p{N}")
    found = [LETTER if c in letters else NUMBER if c in numbers else OTHER for c in text]
    return np.array(found, np.uint8)[back]


def _matching(text: str, expression: str) -> set[str]:
    from tokenizers import Regex, pre_tokenizers

    split = pre_tokenizers.Split(Regex(expression), behavior="removed", invert=True)
    return {piece for piece, _ in split.pre_tokenize_str(text)}


def _shifted(values: NDArray[S], by: int) -> NDArray[S]:
    """Each one's neighbour: by=1 the one before, by=-1 the one after; at the ends a border."""
    out = np.full_like(values, BORDER if values.dtype != bool else 0)
    if by > 0:
        out[1:] = values[:-1]
    else:
        out[:-1] = values[1:]
    return out


def _numbers(kind: NDArray[np.uint8], before: NDArray[np.uint8], digits: Digits) -> NDArray[np.bool_]:
    number: NDArray[np.bool_] = kind == NUMBER
    if digits == "one":
        return number
    first: NDArray[np.bool_] = number & (before != NUMBER)
    if digits == "three":
        at, runs = np.flatnonzero(number), np.flatnonzero(first)
        place = at - runs[np.searchsorted(runs, at, side="right") - 1] if len(runs) else at
        first[at[place % 3 == 0]] = True
    return first


def _contractions(codes: NDArray[np.uint32], alone: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Where 's, 't, 're, 've, 'm, 'll and 'd end (one past), in either case."""
    at = np.flatnonzero(alone & (codes == ord("'")))
    last = len(codes) - 1
    one, two = _low(codes[np.minimum(at + 1, last)]), _low(codes[np.minimum(at + 2, last)])
    short = np.isin(one, [ord(c) for c in "stmd\u017f"])  # the long s is an s to a pattern that ignores case
    pairs = ((ord("r"), ord("e")), (ord("v"), ord("e")), (ord("l"), ord("l")))
    long = np.logical_or.reduce([(one == a) & (two == b) for a, b in pairs])
    found = short | long
    ends: NDArray[np.int64] = at[found] + np.where(short, 2, 3)[found]
    return ends


def _low(codes: NDArray[np.uint32]) -> NDArray[np.uint32]:
    return np.where((codes >= ord("A")) & (codes <= ord("Z")), codes + 32, codes)


def _spaces(
    kind: NDArray[np.uint8], before: NDArray[np.uint8], after: NDArray[np.uint8], space: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Words that begin with white space: up to the last line end; the rest; its last character where text follows."""
    line_end = kind == LINE_END
    if line_end.any():
        line_end &= ~_behind_a_sign(line_end, before)  # those are the sign's
    blank = space | line_end
    blank_before = _shifted(blank, 1)
    starts: NDArray[np.bool_] = blank & ~blank_before
    follows = (after == LETTER) | (after == NUMBER) | (after == OTHER)
    starts |= space & follows
    first = np.flatnonzero(space & _shifted(line_end, 1))  # a run of spaces behind a line end
    if len(first):
        others = np.flatnonzero(~space)
        at = np.searchsorted(others, first)
        closed = at < len(others)
        next_kind = np.full(len(first), BORDER, np.uint8)
        next_kind[closed] = kind[others[at[closed]]]
        starts[first[next_kind != LINE_END]] = True
    return starts


def _behind_a_sign(line_end: NDArray[np.bool_], before: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Line ends that follow a sign, with nothing but line ends between."""
    first = np.flatnonzero(line_end & (before == OTHER))
    found = np.zeros_like(line_end)
    if len(first):
        others = np.flatnonzero(~line_end)
        at = np.searchsorted(others, first)
        stops = np.append(others, len(line_end))[at]
        change = np.zeros(len(line_end) + 1, np.int8)
        change[first] += 1
        change[stops] -= 1
        found = np.cumsum(change[:-1], dtype=np.int8).astype(bool)
    return found
