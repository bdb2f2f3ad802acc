"""A file in the making: its rows, what each of them says, and what has been done to it so far.

    rows -> names of columns -> text -> bytes -> files        each step may be made odd, each oddity knows what is
                                                              then to be read (`Row`)

Damage is put into a text as a private sign (BAD, NUL, LONE), which becomes bytes at the end and is read as said here.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

BAD, NUL, LONE = "\ue000", "\ue001", "\ue002"
"""Signs in a text for a byte that is no UTF-8, a byte zero, half of a surrogate pair (in JSON)."""
ABSENT = object()
"""The value of a key that is not there."""
JSON_FORMS = (
    *("jsonl", "ndjson", "json", "json-pretty", "json-data", "json-splits", "json-lists", "json-ids"),
    *("json-columns", "json-index"),
)
CSV_FORMS = ("csv", "csv-semicolon", "csv-tab")
TABLES = (*CSV_FORMS, "tsv", *JSON_FORMS, "parquet")
LINES = ("jsonl", "ndjson")
"""Forms with one record a line."""


@dataclass
class Row:
    """One record, and what a careful reader makes of it.

    Args:
        values: by role (text, label ...) or, for columns nobody needs, by name.
        readings: all right ones, the best first; None: what the values say; []: nothing.
        optional: it may be left out, if that is told.
        told: whatever is read, something must be told.
        split: train, validation or test; None if the file does not say.
    """

    values: dict[str, Any]
    readings: list[Any] | None = None
    optional: bool = False
    told: bool = False
    split: str | None = None

    def is_nothing(self, *, told: bool) -> None:
        self.readings, self.told = [], told

    def may_go(self) -> None:
        """It can be read, or left out with a word."""
        self.optional = True


@dataclass
class Draft:
    """A file in the making.

    Args:
        verb: what it is given to: corpus, dataset, check, new, predict.
        family: what it holds: documents, texts, label, dialogue, tags, pair, score.
        form: how it is written: csv, jsonl ...
        names: role -> column.
        dialect: how a csv is written.
        position: where an odd row stands: first, middle, last, all.
        readable: False where a careful reader would refuse as well.
    """

    rng: random.Random
    verb: str
    family: str
    form: str
    script: str
    position: str
    rows: list[Row] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    dialect: dict[str, Any] = field(default_factory=dict)
    head: str = ""
    text: str = ""
    data: bytes = b""
    name: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    encoding: str = "utf-8"
    odd: list[str] = field(default_factory=list)
    readable: bool = True
    given: str = ""

    def places(self) -> Iterator[Row]:
        """The rows that the oddity is in."""
        if self.position == "all":
            yield from self.rows
            return
        at = {"first": 0, "middle": len(self.rows) // 2, "last": len(self.rows) - 1}[self.position]
        yield self.rows[at]

    @property
    def is_json(self) -> bool:
        return self.form in JSON_FORMS

    @property
    def is_csv(self) -> bool:
        return self.form in CSV_FORMS

    @property
    def is_table(self) -> bool:
        return self.form in TABLES

    @property
    def is_text(self) -> bool:
        """Whether the file is text, which has lines and an encoding."""
        return self.form != "parquet"


def texts_in(value: Any, change: Callable[[str], str]) -> Any:
    """The same reading with every text in it changed."""
    if isinstance(value, str):
        return change(value)
    return tuple(texts_in(one, change) for one in value) if isinstance(value, tuple) else value


def as_read(text: str) -> str:
    """A text with its damage as it is to be read."""
    return text.replace(BAD, "\ufffd").replace(NUL, "").replace(LONE, "\ufffd")
