"""What all shapes share: a converter, what it has to tell, and how a record that is wrong is named."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pretune.base.errors import BadFile
from pretune.text.clean import mend_surrogates
from pretune.text.example import Example

Record = Mapping[str, Any]
Convert = Callable[[Record, str], Sequence[Example]]
"""(record, origin) -> its examples: one, several, or none (then `Notes` says why). Raises BadFile for a wrong one."""


NUM_PLACES = 5


@dataclass(frozen=True)
class Told:
    """One thing that reading has to tell.

    Args:
        places: the first origins, where they are known.
        files: how often in each file.
        is_lost: no example came of these records; otherwise something in them was put right or taken out.
    """

    what: str
    count: int
    places: tuple[str, ...]
    is_lost: bool
    files: Mapping[str, int] = field(default_factory=dict)


@dataclass
class Notes:
    """What is told of the records, by what happened to them.

    Args:
        dropped: records of which no example came, by the reason.
        mended: examples of which something was put right or taken out.
        places: the first origins of each.
        files: of each, how often in which file.
    """

    dropped: Counter[str] = field(default_factory=Counter)
    mended: Counter[str] = field(default_factory=Counter)
    places: dict[str, list[str]] = field(default_factory=dict)
    files: dict[str, Counter[str]] = field(default_factory=dict)
    fresh: list[str] = field(default_factory=list)
    """What was said of the record at hand."""

    def drop(self, reason: str) -> list[Example]:
        self.dropped[reason] += 1
        self.fresh.append(reason)
        return []

    def mend(self, what: str, number: int = 1) -> None:
        if number:
            self.mended[what] += number
            self.fresh.append(what)

    def place(self, origin: str) -> None:
        """What was just said is said of this record."""
        for what in self.fresh:
            places = self.places.setdefault(what, [])
            if len(places) < NUM_PLACES and origin not in places:
                places.append(origin)
            self.files.setdefault(what, Counter())[origin.rpartition("#")[0]] += 1
        self.fresh.clear()

    def told(self) -> tuple[Told, ...]:
        """All of it, what is lost first."""
        both = ((self.dropped, True), (self.mended, False))
        return tuple(
            Told(what, count, tuple(self.places.get(what, ())), is_lost, self.files.get(what, {}))
            for counts, is_lost in both
            for what, count in sorted(counts.items())
        )


def wrong(column: str, problem: str, *, hint: str | None = None) -> BadFile:
    """The error of one record; whoever reads the file puts its name and line in front."""
    return BadFile(f"column {column!r} {problem}", hint=hint)


def kind_of(value: Any) -> str:
    """What a value is, in a reader's words."""
    names = {bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list", dict: "an object"}
    return "nothing" if value is None else names.get(type(value), type(value).__name__)


def text_in(record: Record, column: str) -> str:
    """The text in a column: numbers are written out, nothing is ""; raises BadFile for a list or an object."""
    value = record.get(column)
    if isinstance(value, str):
        return mend_surrogates(value)
    if value is not None and not isinstance(value, int | float):
        raise wrong(column, f"must be text, not {kind_of(value)}")
    return "" if is_nothing(value) else str(value)


def is_nothing(value: Any) -> bool:
    """Whether a value stands for a missing one: null, or a number that is none (nan, infinity)."""
    return value is None or (isinstance(value, float) and not math.isfinite(value))


def texts_in(record: Record, column: str) -> list[str]:
    """The texts in a column that holds a list of them, or a single one; empty ones are left out."""
    value = record.get(column)
    many = value if isinstance(value, list | tuple) else [value]
    if bad := next((v for v in many if v is not None and not isinstance(v, str | int | float)), None):
        raise wrong(column, f"must be text or a list of texts, not {kind_of(bad)}")
    return [mend_surrogates(str(v)) for v in many if not is_nothing(v) and str(v).strip()]


def number_in(value: Any, column: str) -> float:
    """A finite number, also written as text; raises BadFile for anything else."""
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        raise wrong(column, f"holds {str(value)[:40]!r}, not a number") from None
    if not math.isfinite(found):
        raise wrong(column, f"holds {value!r}, not a finite number")
    return found


def told(**columns: str | None) -> str:
    """Which columns are read as what, for the card: `text: review, label: stars`."""
    return ", ".join(f"{role}: {column}" for role, column in columns.items() if column)
