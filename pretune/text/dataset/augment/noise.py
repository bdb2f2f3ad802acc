"""Noise: the slips of who types in a hurry. A model that has seen them minds them less.

    swap        two letters change places     the -> teh
    drop        a letter is left out          the -> te
    double      a letter is typed twice       the -> thhe
    neighbour   the key next to it is hit     the -> rhe
    homophone   in Chinese, a character that sounds alike

Figures, marks and white space stay as they are: 3.5 stars are not 5.3 stars.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from functools import partial

from pydantic import Field

from pretune.text.dataset.augment.augment import Augment, Work, each_text
from pretune.text.dataset.augment.homophones import homophones_of
from pretune.text.dataset.example import Example

ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
"""Of a keyboard; a row begins a third of a key to the right of the one above it."""


class Noise(Augment):
    """Letters are swapped, dropped, doubled or mistyped; Chinese characters dropped, doubled or misheard."""

    kind: str = "noise"
    share: float = Field(default=0.05, gt=0, le=1)
    """Share of the letters that are touched, at least one of each text."""

    def changed(self, work: Work) -> list[Example]:
        return each_text(work, partial(noisy, share=self.share))


def noisy(text: str, share: float, rng: random.Random) -> str:
    """The text with `share` of its letters touched, at least one; letters of scripts that are not known stay."""
    places = [k for k, c in enumerate(text) if _is_latin(c) or _is_han(c)]
    if not places:
        return text
    letters = list(text)
    for k in rng.sample(places, min(len(places), max(1, round(share * len(places))))):
        ways = HAN_WAYS if _is_han(text[k]) else LATIN_WAYS
        rng.choice(list(ways.values()))(letters, k, rng)
    return "".join(letters)


def _is_latin(character: str) -> bool:
    return character.isascii() and character.isalpha()


def _is_han(character: str) -> bool:
    return "\u4e00" <= character <= "\u9fff"


# ---- ways: each changes the list of letters at place k; a place may hold none or two letters ------------


def _swap(letters: list[str], k: int, rng: random.Random) -> None:
    if k + 1 < len(letters) and letters[k + 1].isalpha():
        letters[k], letters[k + 1] = letters[k + 1], letters[k]


def _drop(letters: list[str], k: int, rng: random.Random) -> None:
    letters[k] = ""


def _double(letters: list[str], k: int, rng: random.Random) -> None:
    letters[k] *= 2


def _neighbour(letters: list[str], k: int, rng: random.Random) -> None:
    key = letters[k]
    if key.lower() in KEYS:
        other = rng.choice(KEYS[key.lower()])
        letters[k] = other.upper() if key.isupper() else other


def _homophone(letters: list[str], k: int, rng: random.Random) -> None:
    alike = homophones_of(letters[k])
    letters[k] = rng.choice(alike) if alike else letters[k]


Way = Callable[[list[str], int, random.Random], None]
LATIN_WAYS: Mapping[str, Way] = {"swap": _swap, "drop": _drop, "double": _double, "neighbour": _neighbour}
HAN_WAYS: Mapping[str, Way] = {"drop": _drop, "double": _double, "homophone": _homophone}


def _keys() -> dict[str, str]:
    """Each key and those that touch it."""
    place = {key: (x + y / 3, y) for y, row in enumerate(ROWS) for x, key in enumerate(row)}
    return {
        key: "".join(o for o, (a, b) in place.items() if o != key and abs(a - x) <= 1 and abs(b - y) <= 1)
        for key, (x, y) in place.items()
    }


KEYS = _keys()
