"""A sample of a sequence: at most so many of its items, evenly spread, the same ones each time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def evenly(items: Sequence[T], most: int) -> list[T]:
    """At most `most` of the items, evenly spread, in order."""
    number = min(len(items), most)
    return [items[k * len(items) // number] for k in range(number)]
