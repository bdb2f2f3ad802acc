"""The sample that a tokenizer learns from: fair to small languages, the same every time.

Groups are (source, language); of each a share is taken (`proportions.shared_out`), never more than all of it.
A long line that turns up again (a licence header) counts only once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from pretune.text.read.shards import read_rows

PIECE_CHARACTERS = 1 << 16
LONG_LINE = 40
Group = tuple[str, str]


def sizes_by_group(folder: Path) -> dict[Group, int]:
    """Bytes of the train split by (source, language)."""
    sizes: dict[Group, int] = {}
    for row in read_rows(folder, "train", ["source", "language", "bytes"]):
        group = (row["source"], row["language"] or "")
        sizes[group] = sizes.get(group, 0) + row["bytes"]
    return sizes


def sample(folder: Path, share: float | Mapping[Group, float]) -> Iterator[str]:
    """Pieces of the train split, about `share` of each group, the same ones every time."""
    seen: set[bytes] = set()
    for row in read_rows(folder, "train", ["id", "text", "source", "language"]):
        part = share if isinstance(share, float) else share[row["source"], row["language"] or ""]
        for number, piece in enumerate(_pieces(row["text"])):
            if _place(f"{row['id']}/{number}") < part:
                yield _without_repeated_lines(piece, seen)


def _pieces(text: str) -> Iterator[str]:
    """A long document in pieces of about 65,536 characters, cut at line ends where there are any."""
    start = 0
    while start < len(text):
        stop = min(start + PIECE_CHARACTERS, len(text))
        cut = text.rfind("\n", start, stop) + 1 if stop < len(text) else stop
        stop = cut if cut > start else stop
        yield text[start:stop]
        start = stop


def _place(name: str) -> float:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big") / 2**64


def _without_repeated_lines(text: str, seen: set[bytes]) -> str:
    """The text without the long lines that were seen before: a licence header counts once."""
    return "".join(line for line in text.splitlines(keepends=True) if not _seen_before(line.strip(), seen))


def _seen_before(line: str, seen: set[bytes]) -> bool:
    if len(line) < LONG_LINE:
        return False
    key = hashlib.blake2b(line.encode(), digest_size=8).digest()
    known = key in seen
    seen.add(key)
    return known
