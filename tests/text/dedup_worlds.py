"""Texts with near copies planted in them, and an oracle for their similarity that shares no code with the package."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from functools import lru_cache

IDEOGRAPHS = "".join(chr(code) for code in range(0x4E00, 0x4E00 + 3000))
UNITS = re.compile(r"[\u4e00-\u9fff]|[^\W_\u4e00-\u9fff]+")


def brute_jaccard(one: str, other: str) -> float:
    """Jaccard similarity of the sets of unit pairs; pairs with a figure stand three times."""
    a, b = _pairs(one), _pairs(other)
    return sum(_weight(p) for p in a & b) / sum(_weight(p) for p in a | b)


def _pairs(text: str) -> set[tuple[str, str]]:
    units = UNITS.findall(text.casefold())
    return set(zip(units, [*units[1:], ""], strict=True))


def _weight(pair: tuple[str, str]) -> int:
    return 3 if any(unit and (unit[0].isdecimal() or unit[-1].isdecimal()) for unit in pair) else 1


def english(rng: random.Random, num_words: int) -> str:
    """Sentences of made-up words; few words are frequent, most are rare."""
    words = [vocabulary()[min(int(rng.paretovariate(0.7)), 4000) - 1] for _ in range(num_words)]
    marked = [w.capitalize() + "." if rng.random() < 0.08 else w for w in words]
    return " ".join(marked)


def chinese(rng: random.Random, num_characters: int) -> str:
    letters = [IDEOGRAPHS[min(int(rng.paretovariate(0.6)), 3000) - 1] for _ in range(num_characters)]
    return "".join(c + "，" if rng.random() < 0.08 else c for c in letters)


@lru_cache(maxsize=1)
def vocabulary() -> list[str]:
    rng = random.Random(5)
    letters = "bcdfghklmnprst", "aeiou"
    return ["".join(rng.choice(rng.choice(letters)) for _ in range(rng.randint(2, 9))) for _ in range(4000)]


@dataclass(frozen=True)
class Copy:
    """A near copy: of which text, what was done to it, and the text."""

    original: int
    change: str
    text: str


def near_copies(rng: random.Random, texts: list[str], *, share: tuple[float, float]) -> list[Copy]:
    """One near copy of each text, the kinds of change in turn; `share` bounds the share of edited units."""
    kinds = list(CHANGES)
    return [
        Copy(k, kinds[k % len(kinds)], CHANGES[kinds[k % len(kinds)]](rng, text, rng.uniform(*share)))
        for k, text in enumerate(texts)
    ]


def _replaced(rng: random.Random, text: str, share: float) -> str:
    spans = [m.span() for m in UNITS.finditer(text)]
    units = [text[a:b] for a, b in spans]
    for a, b in sorted(rng.sample(spans, round(share * len(spans))), reverse=True):
        text = text[:a] + rng.choice(units) + text[b:]
    return text


def _inserted(rng: random.Random, text: str, share: float) -> str:
    """Units of the same text put in between."""
    spans = [m.span() for m in UNITS.finditer(text)]
    space = " " if " " in text else ""
    for a, _ in sorted(rng.sample(spans, round(share / 2 * len(spans))), reverse=True):
        b = rng.choice(spans)
        text = text[:a] + text[slice(*b)] + space + text[a:]
    return text


def _restyled(rng: random.Random, text: str, share: float) -> str:
    """Other case, spaces and marks, and a quarter of the edits."""
    return "\n  " + _replaced(rng, text, share / 4).upper().replace("，", "、").replace(". ", " ...\n\n")


def _cut(rng: random.Random, text: str, share: float) -> str:
    return text[: round(len(text) * (1 - 2 * share))]


CHANGES = {"replaced": _replaced, "inserted": _inserted, "restyled": _restyled, "cut": _cut}
