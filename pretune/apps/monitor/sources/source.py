"""What a watch follows: DIR, FILE, a feed (URL or file), or `-`.

    news/            files that arrive: tables grow, other files are one text each      folder.py
    tickets.jsonl    a file that grows, or is replaced                                  growing.py
    https://...      RSS or Atom; so is a file that ends in .rss, .atom or .xml         feed.py
    -                a line a text (or JSON), as it is piped in                         piped.py

A source is asked again and again. It says where it stands as JSON, which the store keeps in the transaction that counts
the texts: after a kill it goes on exactly there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

from pretune.base.json import Json


@dataclass(frozen=True)
class Item:
    """A text that came.

    Args:
        time: when, in seconds since 1970; None: it does not say.
        key: by which it is known when it comes again; "": by its place in the source alone.
        copied: by which a copy of it in another place is known, where `key` is one of its own place alone.
    """

    text: str
    time: float | None = None
    key: str = ""
    copied: str = ""

    @property
    def anywhere(self) -> str:
        """By which it is known wherever it comes from."""
        return self.copied or self.key


@dataclass(frozen=True)
class Batch:
    """What a source gave.

    Args:
        places: the place of each of its files, where it has changed.
        has_more: whether it can give more at once.
        refused: what could not be read, in words.
        is_over: nothing will ever come from it again.
    """

    items: list[Item] = field(default_factory=list)
    places: Mapping[str, Json] = field(default_factory=dict)
    has_more: bool = False
    refused: list[str] = field(default_factory=list)
    is_over: bool = False


class Source(ABC):
    """Something that texts come from."""

    name: str
    """As it was given."""

    @abstractmethod
    def read(self, places: Mapping[str, Json], most: int) -> Batch:
        """What came since `places` (empty the first time), about `most` texts at a time; returns at once."""
