"""The records of files of pairs and choices, read as every other file is: any table, packed or not, in any encoding."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pretune.base.artifact import Artifact
from pretune.base.errors import BadFile, EmptyInput, NoSuchColumn
from pretune.base.json import Json, JsonMap
from pretune.base.sample import evenly
from pretune.evaluate.findings import Group
from pretune.text.read.readers import TABULAR, Repairs, line_of, read_records, suffix_of
from pretune.text.read.sources import named_files

T = TypeVar("T")
NAMED_TOGETHER = 5
"""So many wrong records are named; the others are counted."""


@dataclass(frozen=True)
class Part:
    """What one kind of questions adds to a report.

    Args:
        rows: of predictions; `gain` is by how many nats the right one is ahead.
        texts: what the model must not have read before.
    """

    groups: list[Group]
    rows: list[Json]
    tables: Json
    notes: list[str]
    texts: list[str]


@dataclass(frozen=True)
class Columns:
    """What the columns of a record are called, in lower case.

    Args:
        needed: role -> names by which its column is known; the first that is there is taken.
        perhaps: the same of roles that a file may lack.
    """

    needed: Mapping[str, Sequence[str]]
    perhaps: Mapping[str, Sequence[str]]

    def of(self, record: JsonMap) -> dict[str, str] | None:
        """Role -> column; None where one that is needed is not there."""
        low = {str(name).lower(): str(name) for name in record}
        names = {**self.needed, **self.perhaps}
        found = {role: low[n] for role, known in names.items() for n in reversed(known) if n in low}
        return found if all(role in found for role in self.needed) else None

    def __str__(self) -> str:
        return ", ".join(" or ".join(names) for names in self.needed.values())


def tables_of(given: Artifact) -> list[tuple[str, Path]]:
    """(name, path) of the tables of an input; of one without tables all its files, which say what they are instead."""
    files = named_files(given)
    return [file for file in files if suffix_of(file[1]) in TABULAR] or files


def read_file(
    name: str, path: Path, kinds: Sequence[Columns], make: Callable[[Mapping[str, Any]], T | str], most: int | None
) -> list[T]:
    """What a file's records are, at most so many of them, evenly spread.

    Args:
        kinds: the columns that a record may have; the first kind that fits.
        make: from the values by role; a text says what is wrong with them.

    Raises:
        NoSuchColumn: no kind fits, which names the columns that are there; EmptyInput: no record;
        BadFile: wrong records, with their lines; what reading raises.
    """
    found: list[T] = []
    wrong: list[str] = []
    for number, record in enumerate(read_records(path, Repairs())):
        columns = next((c for kind in kinds if (c := kind.of(record)) is not None), None)
        if columns is None:
            wanted = "; or ".join(map(str, kinds))
            raise NoSuchColumn(
                f"{name!r} has the columns {', '.join(map(str, record)) or 'none'}", hint=f"it needs {wanted}"
            )
        made = make({role: record[column] for role, column in columns.items()})
        if isinstance(made, str):
            wrong.append(f"{name}:{line_of(path, number) or f'#{number}'} {made}")
        else:
            found.append(made)
    if wrong:
        more = f"; and {len(wrong) - NAMED_TOGETHER} more" if len(wrong) > NAMED_TOGETHER else ""
        raise BadFile("; ".join(wrong[:NAMED_TOGETHER]) + more, hint="mend these records, or take them out")
    if not found:
        raise EmptyInput(f"{name!r} holds no records")
    return evenly(found, most or len(found))


def grouped(names: Sequence[str]) -> Iterator[tuple[str, list[int]]]:
    """Each name, in order of its first place, and its places."""
    places: dict[str, list[int]] = {}
    for k, name in enumerate(names):
        places.setdefault(name, []).append(k)
    yield from places.items()
