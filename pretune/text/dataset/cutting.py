"""The words of a text that is tagged, and words as a text again.

    "Ann lives here."   Ann | lives | here | .
    "安住在 here"        安 | 住 | 在 | h | e | r | e       a script without blanks: its characters

The data set, training and serving cut alike. A blank is between two words, and none next to a character of such a
script.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

Place = tuple[int, int]
"""(first character, one past the last)."""
WITHOUT_BLANKS = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
WORD, CHARACTER = re.compile(r"\w+|[^\w\s]"), re.compile(r"\S")


def word_places(text: str, start: int = 0, end: int | None = None) -> list[Place]:
    """The places of the words (or characters) of a part of a text; which of the two, the whole text says."""
    pattern = CHARACTER if WITHOUT_BLANKS.search(text) else WORD
    return [found.span() for found in pattern.finditer(text, start, len(text) if end is None else end)]


def spaced(words: Sequence[str]) -> list[str]:
    """The words, each with the blank in front of it that a text would have."""
    apart = (not (WITHOUT_BLANKS.search(a[-1:]) or WITHOUT_BLANKS.search(b[:1])) for a, b in pairwise(words))
    return [*words[:1], *(f" {word}" if is_apart else word for word, is_apart in zip(words[1:], apart, strict=True))]


def joined(words: Sequence[str]) -> tuple[str, list[Place]]:
    """Words as one text, and the place of each."""
    text, places = "", []
    for word, part in zip(words, spaced(words), strict=True):
        text += part
        places.append((len(text) - len(word), len(text)))
    return text, places
