"""Are these four lines of code as they were written, or shuffled? A question that no bag of words can answer.

    in order                                shuffled
    def first(path):                            return file.readline()
        with open(path) as file:            first.count += 1
            return file.readline()              with open(path) as file:
    first.count += 1                        def first(path):

Each text is there twice, once in either way, so the two labels have the same words; they differ in what
leads to what. (A linear SVM is right in 56 % of the cases by words and pairs of words, in 74 % by runs of one to four
characters, which see how far a line is indented after which.) Some 4 % of the files are *held out*: they are in no
corpus, and the test split is drawn from them.
"""

from __future__ import annotations

import random
import textwrap
from collections.abc import Iterable, Iterator
from itertools import pairwise, permutations

from pretune.base.json import Json
from pretune.text.python_library.facts import place, plain
from pretune.text.python_library.sources import Source

IN_ORDER, SHUFFLED = "in order", "shuffled"
HELD_OUT, VALIDATION = 0.04, 0.03
NUM_LINES = 4
MIN_CHARACTERS, MAX_CHARACTERS = 40, 220
MAX_PER_FILE = 40
MAX_TEXTS = {"train": 6000, "validation": 500, "test": 500}
"""Pieces of code of each split; each makes two examples."""
SHUFFLES = [p for p in permutations(range(NUM_LINES)) if all(b != a + 1 for a, b in pairwise(p))]
"""The orders in which no line follows the one that it followed."""


def split_of(path: str) -> str:
    """The split of all code of a file: train, validation or test (held out); from its path alone."""
    where = place(f"code: {path}")
    return "test" if where < HELD_OUT else "validation" if where < HELD_OUT + VALIDATION else "train"


def order_rows(sources: Iterable[Source], read: bytes) -> Iterator[Json]:
    """Rows of text, label, split and origin; nothing in the test split that is in `read`, the text of code and docs."""
    seen: set[bytes] = set()
    taken = dict.fromkeys(MAX_TEXTS, 0)
    found = ((piece, source) for source in sources for piece in _pieces(source))
    for (lines, number), source in sorted(found, key=lambda one: place(f"{one[1].path}#{one[0][1]}")):
        split, text = split_of(source.path), _text(lines)
        is_new = (flat := plain(text)) not in seen and not (split == "test" and flat in read)
        if is_new and MIN_CHARACTERS <= len(text) <= MAX_CHARACTERS and taken[split] < MAX_TEXTS[split]:
            seen.add(flat)
            taken[split] += 1
            origin = f"{source.path}#{number}"
            yield {"text": text, "label": IN_ORDER, "split": split, "origin": origin}
            yield {"text": _shuffled(lines, origin), "label": SHUFFLED, "split": split, "origin": origin}


def _pieces(source: Source) -> Iterator[tuple[list[str], int]]:
    """Runs of four lines that hold code, one behind the other; at most forty of a file, chosen by hash."""
    lines = [line for line in source.code.expandtabs().splitlines() if line.strip() and line.strip()[0] != "#"]
    starts = range(0, len(lines) - NUM_LINES + 1, NUM_LINES)
    for start in sorted(starts, key=lambda k: place(f"{source.path}#{k}"))[:MAX_PER_FILE]:
        yield lines[start : start + NUM_LINES], start


def _shuffled(lines: list[str], origin: str) -> str:
    order = random.Random(f"pretune python order {origin}").choice(SHUFFLES)
    return _text([lines[k] for k in order])


def _text(lines: list[str]) -> str:
    return textwrap.dedent("\n".join(lines))
