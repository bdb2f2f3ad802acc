"""The library as it was read: its sources and entries, their splits, what can be asked of it, where a text goes."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field

from pretune.text.python_library.sources import Entry, Source


@dataclass(frozen=True)
class Asked:
    """A function, class or method that can be asked for, and what the answer is."""

    name: str
    answer: str
    entry: int
    is_held_out: bool


@dataclass(frozen=True)
class Library:
    """Everything read, once per process.

    `split[k]` is "train", "validation" or "test" (held out) for entries[k]; `read` is all text of code and docs in
    lower case with single blanks, to look for what should not be there.
    """

    sources: list[Source]
    entries: list[Entry]
    topics: dict[str, str]
    split: list[str]
    asked: list[Asked] = field(default_factory=list)
    read: bytes = b""


def is_read(text: str, found: Library) -> bool:
    """Whether a text is somewhere in code or docs."""
    return plain(text).strip(b" .") in found.read


def place(name: str) -> float:
    """A number in [0, 1) that depends on the name alone."""
    return int.from_bytes(hashlib.sha256(f"pretune python {name}".encode()).digest()[:6], "big") / 2**48


def plain(text: str) -> bytes:
    """The text in lower case with single blanks, without the signs of comments."""
    # Bytes: one 🙂 makes every character of a string four bytes wide, and searching it four times as slow.
    return re.sub(r"[\s#]+", " ", text.lower()).encode()
