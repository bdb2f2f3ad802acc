"""What each character is: one byte per code point, looked up by numpy for a whole text at once.

    "Ab，你 " -> cells [Latn upper, Latn, punctuation, Hani, white]

A cell is class, script and case together, so one histogram of cells answers every question about
shares of characters. Scripts are named by ISO 15924 (Latn, Hani, Cyrl ...).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pretune.text.read.characters import categories, codes_of

SIZE: Final = 0x30000
"""Code points below have their own entry; `folded` maps the few above onto one of their kind."""

_RANGES: Final = (
    ("Latn", "41-5A 61-7A AA BA C0-D6 D8-F6 F8-24F 250-2B8 2E0-2E4 1D00-1D25 1D2C-1D5C 1D62-1D65 1D6B-1D77"),
    ("Latn", "1D79-1DBE 1E00-1EFF 2071 207F 2090-209C 212A-212B 2132 214E 2160-2188 2C60-2C7F A722-A787"),
    ("Latn", "A78B-A7FF AB30-AB5A AB5C-AB64 AB66-AB69 FB00-FB06 FF21-FF3A FF41-FF5A"),
    ("Grek", "370-373 375-377 37A-37D 37F 386 388-3E1 3F0-3FF 1D26-1D2A 1D5D-1D61 1D66-1D6A 1DBF 1F00-1FFE 2126 AB65"),
    ("Cyrl", "400-484 487-52F 1C80-1C88 1D2B 1D78 2DE0-2DFF A640-A69F"),
    ("Armn", "531-556 559-58A FB13-FB17"),
    ("Hebr", "591-5F4 FB1D-FB4F"),
    ("Arab", "610-61A 620-63F 641-64A 656-66F 671-6DC 6DE-6FF 750-77F 870-8E1 8E3-8FF FB50-FDFF FE70-FEFC"),
    ("Syrc", "710-74F 860-86A"),
    ("Thaa", "780-7B1"),
    ("Nkoo", "7C0-7FF"),
    ("Deva", "900-950 955-963 966-97F A8E0-A8FF"),
    ("Beng", "980-9FE"),
    ("Guru", "A01-A76"),
    ("Gujr", "A81-AFF"),
    ("Orya", "B01-B77"),
    ("Taml", "B82-BFA"),
    ("Telu", "C00-C7F"),
    ("Knda", "C80-CF3"),
    ("Mlym", "D00-D7F"),
    ("Sinh", "D81-DF4"),
    ("Thai", "E01-E3A E40-E5B"),
    ("Laoo", "E81-EDF"),
    ("Tibt", "F00-FDA"),
    ("Mymr", "1000-109F A9E0-A9FE AA60-AA7F"),
    ("Geor", "10A0-10FA 10FC-10FF 1C90-1CBF 2D00-2D2D"),
    ("Hang", "1100-11FF 3131-318E A960-A97C AC00-D7A3 D7B0-D7FB FFA0-FFDC"),
    ("Ethi", "1200-1399 2D80-2DDE AB01-AB2E"),
    ("Cher", "13A0-13FD AB70-ABBF"),
    ("Cans", "1400-167F 18B0-18F5"),
    ("Khmr", "1780-17F9 19E0-19FF"),
    ("Mong", "1820-18AA"),
    ("Tfng", "2D30-2D7F"),
    ("Hira", "3041-3096 309D-309F 1B001-1B11F 1B150-1B152"),
    ("Kana", "30A1-30FA 30FC-30FF 31F0-31FF FF66-FF9F 1B000 1B120-1B122 1B164-1B167"),
    ("Bopo", "2EA-2EB 3105-312F 31A0-31BF"),
    ("Hani", "3005-3007 3021-3029 3038-303B 3400-4DBF 4E00-9FFF F900-FAD9 20000-2FFFF"),
)
SCRIPTS: Final = ("Zzzz", *dict.fromkeys(name for name, _ in _RANGES), "Jpan")
"""The scripts that are known; the first is every other, the last is Han and kana together (no letters of its own)."""
UNSPACED: Final = frozenset({"Hani", "Hira", "Kana", "Bopo", "Jpan", "Thai", "Laoo", "Tibt", "Mymr", "Khmr"})
"""Written without a space between words: the unit of counting is the character."""
JAPANESE: Final = ("Hani", "Hira", "Kana")
MIN_KANA: Final = 0.05
"""Han text with so large a share of kana is Japanese ("Jpan"); Japanese prose has 0.4 and more."""
WEIGHTS: Final = {"Hani": 4, "Jpan": 3, "Bopo": 2, "Hira": 2, "Kana": 2, "Hang": 2}
"""Latin letters that say as much as one of these (about; from translations). Without weights the Latin letters in
formulas and programs outnumber the Chinese of 107 of the 140 chapters of d2l-zh."""

NEWLINE, WHITE, OTHER, CONTROL, PRIVATE, REPLACEMENT, DIGIT, SYMBOL = range(8)
NARROW_END, WIDE_END, QUOTE, CLOSE, CURLY, HASH, PUNCTUATION, LETTERS = range(8, 16)
NUM_CELLS: Final = LETTERS + 2 * len(SCRIPTS)
"""A letter of script s has the cell LETTERS + 2 s, an upper-case one LETTERS + 2 s + 1."""

_SPECIAL: Final = {
    **dict.fromkeys(".!?…", NARROW_END),  # the end of a sentence if white space follows (not in 3.14)
    **dict.fromkeys("。！？｡؟۔।॥։።។။", WIDE_END),
    **dict.fromkeys('"”’」』»›', QUOTE),
    **dict.fromkeys("')]）】》〉", CLOSE),
    **dict.fromkeys("{}", CURLY),
    "#": HASH,
    "\n": NEWLINE,
    "\ufffd": REPLACEMENT,
}
_BY_CATEGORY: Final = {
    **{"N": DIGIT, "P": PUNCTUATION, "S": SYMBOL, "Z": WHITE},
    **{"Cc": CONTROL, "Cs": CONTROL, "Co": PRIVATE},
}


def folded(codes: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Code points below SIZE: a Han character for Han planes, private use and variation selectors likewise."""
    if not len(codes) or codes.max() < SIZE:
        return codes
    alike = np.array([0x20000, 0x2FFFE, 0xFE0F, 0xE000], np.uint32)  # Han, unassigned, selectors and tags, private
    return np.where(codes < SIZE, codes, alike[np.searchsorted([0x40000, 0xE0000, 0xF0000], codes, side="right")])


@cache
def script_table() -> NDArray[np.uint8]:
    """Index into SCRIPTS of each code point, uint8 [SIZE]."""
    table = np.zeros(SIZE, np.uint8)
    for name, ranges in _RANGES:
        for part in ranges.split():
            first, _, last = part.partition("-")
            table[int(first, 16) : int(last or first, 16) + 1] = SCRIPTS.index(name)
    return table


@cache
def cell_table() -> NDArray[np.uint8]:
    """The cell of each code point, uint8 [SIZE]. Marks count as letters: Hindi vowels are marks."""
    named = categories(SIZE)
    table = np.full(SIZE, OTHER, np.uint8)
    for category, cell in _BY_CATEGORY.items():
        table[np.char.startswith(named, category)] = cell
    letters = np.char.startswith(named, "L") | np.char.startswith(named, "M")
    upper = (named == "Lu") | (named == "Lt")
    table[letters] = (LETTERS + 2 * script_table() + upper)[letters]
    for code in np.flatnonzero((table == WHITE) | (table == CONTROL)).tolist():
        if chr(code).isspace():
            table[code] = WHITE
    table[[ord(character) for character in _SPECIAL]] = list(_SPECIAL.values())
    return table


def main_scripts(counts: NDArray[np.int64]) -> tuple[list[str], NDArray[np.float64]]:
    """Per row of letters counted by script [N, len(SCRIPTS)]: the main script, and its share of letters.

    Main is the script with most letters, each weighed by WEIGHTS. Han with kana is one script, "Jpan". A text without
    letters has "Zyyy" and the share 0.
    """
    letters = counts.sum(axis=1)
    counts = _with_japanese(counts)
    best = (counts * [WEIGHTS.get(name, 1) for name in SCRIPTS]).argmax(axis=1)
    names = [SCRIPTS[k] if n else "Zyyy" for k, n in zip(best.tolist(), letters.tolist(), strict=True)]
    return names, counts[np.arange(len(best)), best] / np.maximum(letters, 1)


def _with_japanese(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """The same with Han and kana counted as "Jpan" in the rows that are Japanese."""
    counts = counts.copy()
    own = [SCRIPTS.index(name) for name in JAPANESE]
    together = counts[:, own].sum(axis=1)
    japanese = together - counts[:, own[0]] > MIN_KANA * together
    counts[np.ix_(japanese, own)] = 0
    counts[:, -1] = np.where(japanese, together, 0)
    return counts


def scripts_of(texts: Sequence[str]) -> tuple[list[str], NDArray[np.float64]]:
    """The main script of each text, and its share of all letters (0 ... 1); the texts are looked at together."""
    cells = cell_table()[folded(codes_of("\n".join(texts) + "\n"))]
    closing = np.cumsum([len(text) + 1 for text in texts], dtype=np.int64) - 1
    return main_scripts(by_script(count_cells(cells, closing)))


def main_script(text: str) -> tuple[str, float]:
    """The main script of a text, and its share of all letters (0 ... 1)."""
    names, shares = scripts_of([text])
    return names[0], float(shares[0])


def count_cells(cells: NDArray[np.uint8], closing: NDArray[np.int64]) -> NDArray[np.int64]:
    """Characters by cell of each text, int64 [N, NUM_CELLS].

    Args:
        cells: of the texts joined by line ends, with one behind the last.
        closing: the places of these line ends [N], which are not counted.
    """
    keys = np.repeat(np.arange(len(closing)) * NUM_CELLS, np.diff(closing, prepend=-1)) + cells
    counts = np.bincount(keys, minlength=len(closing) * NUM_CELLS).reshape(len(closing), NUM_CELLS)
    counts[:, NEWLINE] -= 1
    return counts


def by_script(cells: NDArray[np.int64]) -> NDArray[np.int64]:
    """Letters counted by script [N, len(SCRIPTS)] from counts by cell [N, NUM_CELLS]."""
    letters = cells[:, LETTERS:]
    return letters[:, 0::2] + letters[:, 1::2]
