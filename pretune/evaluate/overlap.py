"""Did the model read the test texts before? A text counts as read when half of its runs of eight words stand there.

Runs are held as 64-bit digests: of fifty thousand texts they take a few megabytes.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xxhash
from numpy.typing import NDArray

from pretune.task.judge.closeness import words_of
from pretune.text.read.shards import read_rows

RUN = 8
MAX_CHARACTERS = 64_000_000
"""Of a corpus that are looked at; the rest may hold more of the texts."""


def runs(text: str) -> NDArray[np.uint64]:
    """Digests of every run of eight words (Han and kana: characters) of a text, each once, sorted."""
    words = words_of(text)
    joined = (" ".join(words[i : i + RUN]).encode() for i in range(len(words) - RUN + 1))
    return np.unique(np.fromiter(map(xxhash.xxh3_64_intdigest, joined), dtype=np.uint64))


def overlap(corpus: Path, texts: Sequence[str]) -> tuple[int, int, bool]:
    """(texts that were read, texts of eight words or more, whether the whole training split was looked at)."""
    wanted, counts = array("Q"), array("Q")
    for text in texts:
        found = runs(text)
        wanted.frombytes(found.tobytes())
        counts.append(len(found))
    lengths = np.array([number for number in counts if number], dtype=np.int64)
    if not len(lengths):
        return 0, 0, True
    looked_for, place = np.unique(np.frombuffer(wanted, dtype=np.uint64), return_inverse=True)
    seen = np.zeros(len(looked_for), dtype=bool)
    size = 0
    for row in read_rows(corpus, "train", ["text"]):
        there = runs(row["text"])
        at = np.minimum(np.searchsorted(looked_for, there), len(looked_for) - 1)
        seen[at[looked_for[at] == there]] = True
        size += len(row["text"])
        if size > MAX_CHARACTERS:
            break
    hits = np.add.reduceat(seen[place].astype(np.int64), np.cumsum(lengths) - lengths)
    return int((2 * hits >= lengths).sum()), len(lengths), size <= MAX_CHARACTERS
