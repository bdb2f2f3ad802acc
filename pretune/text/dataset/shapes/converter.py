"""What all shapes share: a converter, and its remarks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from pretune.base.json import Json
from pretune.text.dataset.example import Example

Record = Json
Convert = Callable[[Record, str], Sequence[Example]]
"""(record, origin) -> its examples: one, several, or none (then `Notes` says why). Raises BadFile for a wrong one."""


NUM_PLACES = 5


@dataclass(frozen=True)
class Remark:
    """One thing that happened while records were read.

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
    """What happened to the records, to be reported.

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
    """What happened to the record at hand."""

    def drop(self, reason: str) -> list[Example]:
        self.dropped[reason] += 1
        self.fresh.append(reason)
        return []

    def mend(self, what: str, number: int = 1) -> None:
        if number:
            self.mended[what] += number
            self.fresh.append(what)

    def place(self, origin: str) -> None:
        """What just happened, happened to this record."""
        for what in self.fresh:
            places = self.places.setdefault(what, [])
            if len(places) < NUM_PLACES and origin not in places:
                places.append(origin)
            self.files.setdefault(what, Counter())[origin.rpartition("#")[0]] += 1
        self.fresh.clear()

    def remarks(self) -> tuple[Remark, ...]:
        """All of it, what is lost first."""
        both = ((self.dropped, True), (self.mended, False))
        return tuple(
            Remark(what, count, tuple(self.places.get(what, ())), is_lost, self.files.get(what, {}))
            for counts, is_lost in both
            for what, count in sorted(counts.items())
        )


def columns_read(**columns: str | None) -> str:
    """Which columns are read as what, for the card: `text: review, label: stars`."""
    return ", ".join(f"{role}: {column}" for role, column in columns.items() if column)
