"""Did the model read the test texts before? A text counts as read when half of its runs of eight words stand there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pretune.task.judge.closeness import words_of
from pretune.text.read.shards import read_rows

RUN = 8
MAX_BYTES = 64_000_000


def runs(text: str) -> set[str]:
    """Every run of eight words (Han and kana: characters) of a text."""
    words = words_of(text)
    return {" ".join(words[i : i + RUN]) for i in range(len(words) - RUN + 1)}


def overlap(corpus: Path, texts: Sequence[str]) -> tuple[int, int, bool]:
    """(texts that were read, texts of eight words or more, whether the whole training split was looked at)."""
    wanted = [found for text in texts if (found := runs(text))]
    looked_for = frozenset[str]().union(*wanted)
    seen: set[str] = set()
    size = 0
    for row in read_rows(corpus, "train", ["text"]):
        seen |= runs(row["text"]) & looked_for
        size += len(row["text"])
        if size > MAX_BYTES:
            break
    return sum(2 * len(one & seen) >= len(one) for one in wanted), len(wanted), size <= MAX_BYTES
