"""Tables of items and of events, as people have them, to numbers.

    a table with a user and an item     events
    a table with an item alone          items; its texts are all columns that hold words

What cannot be used is left out and counted, never guessed: events of items that the table of items does not have, rows
without an id, the same event twice.

*E events, N items.*
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pretune.apps.recommend.columns import KNOWN, ShopColumns
from pretune.base.errors import BadFile, EmptyInput, NoSuchColumn, did_you_mean
from pretune.base.json import Json
from pretune.text.dataset.shapes.atomic import rows_of_atomic
from pretune.text.read.readers import Repairs, line_of, read_records
from pretune.text.read.values import number_in, text_in, wrong


@dataclass(frozen=True)
class Items:
    """What can be recommended.

    Args:
        texts: what vectors are made of; "" where an item has none.
        rows: the other columns, by which rules leave items out.
    """

    ids: list[str]
    titles: list[str]
    texts: list[str]
    rows: list[Json]

    def numbers(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.ids)}


@dataclass(frozen=True)
class Events:
    """Who did something with what, each pair once, in order of time (or of the file, where there is no time).

    Args:
        user_E: numbers of users; item_E: of items.
        time_E: seconds; None where the table has no times.
    """

    users: list[str]
    user_E: NDArray[np.int64]
    item_E: NDArray[np.int64]
    time_E: NDArray[np.float64] | None

    def __len__(self) -> int:
        return len(self.user_E)

    def times_of_users(self) -> list[list[float]]:
        """The times of each user's events, in their order; before all times where the table has none."""
        time_E = np.full(len(self), -np.inf) if self.time_E is None else self.time_E
        ends = np.cumsum(np.bincount(self.user_E, minlength=len(self.users)))
        parts = np.split(time_E[np.argsort(self.user_E, kind="stable")], ends[:-1])
        return [part.tolist() for part in parts]

    def only(self, keep_E: NDArray[np.bool_]) -> Events:
        """Those that are marked; users keep their numbers."""
        times = None if self.time_E is None else self.time_E[keep_E]
        return Events(self.users, self.user_E[keep_E], self.item_E[keep_E], times)


@dataclass
class Notes:
    """What was left out or mended, and how often."""

    left_out: Counter[str] = field(default_factory=Counter)
    read_as: dict[str, str] = field(default_factory=dict)


Rows = list[tuple[str, Json]]
"""Records, each with the place it stands at: FILE:LINE, or FILE#NUMBER."""


@dataclass(frozen=True)
class Sheet:
    """A table: its records, and the names of its columns."""

    name: str
    rows: Rows
    columns: list[str]

    def column(self, role: str, given: ShopColumns) -> str | None:
        """The column of a role, by its name as it is; None where there is none."""
        wanted = given.of(role)
        low = {name.lower(): name for name in self.columns}
        return low.get(wanted.lower()) if wanted else next((low[name] for name in KNOWN[role] if name in low), None)

    def need(self, role: str, given: ShopColumns) -> str:
        """Raises NoSuchColumn, which names those that there are."""
        found = self.column(role, given)
        if found is None:
            problem = f"{self.name!r} has no column that could be the {role}; it has: {', '.join(self.columns)}"
            wanted = given.of(role)
            hint = did_you_mean(wanted, self.columns) if wanted else f"name it: columns.{role}=COLUMN"
            raise NoSuchColumn(problem, hint=hint)
        return found


def read_sheet(path: Path, name: str) -> Sheet:
    """A whole table. Raises EmptyInput: no row; what reading raises."""
    is_atomic = path.suffix in (".inter", ".item")
    records = rows_of_atomic(path, Repairs()) if is_atomic else read_records(path)
    rows = [(f"{name}#{number}", record) for number, record in enumerate(records)]
    if not rows:
        raise EmptyInput(f"{name!r} has no rows")
    return Sheet(name, rows, list(dict.fromkeys(column for _, record in rows for column in record)))


def is_events(sheet: Sheet, given: ShopColumns) -> bool:
    """Whether a table that nobody named is one of events: it has a user and an item."""
    user, item = sheet.column("user", given), sheet.column("item", given)
    return user is not None and item is not None and user != item


# ---- items --------------------------------------------------------------------------------------


def items_of(sheets: Sequence[Sheet], given: ShopColumns, notes: Notes) -> Items:
    """The items of all tables; of two with one id the first. Raises NoSuchColumn, BadFile."""
    found = Items([], [], [], [])
    seen: set[str] = set()
    for sheet in sheets:
        own, title = sheet.need("item", given), sheet.column("title", given)
        texts = text_columns(sheet, own, given)
        notes.read_as[sheet.name] = f"items (id {own}, title {title or own}, text {' + '.join(texts) or 'none'})"
        for where, record in sheet.rows:
            name = _id_in(record, own, where)
            if not name or name in seen:
                notes.left_out["items without an id" if not name else "items whose id is there twice"] += 1
                continue
            seen.add(name)
            parts = [text for column in texts if (text := _said(record.get(column)))]
            found.ids.append(name)
            found.titles.append((_said(record.get(title)) if title else "") or name)
            found.texts.append(". ".join(parts))
            found.rows.append({key: value for key, value in record.items() if key != own})
    if empty := sum(not text for text in found.texts):
        notes.left_out["items without text (they are recommended by behaviour alone)"] = empty
    return found


def text_columns(sheet: Sheet, own: str, given: ShopColumns) -> list[str]:
    """The columns that make an item's text: those that are given, else all that hold words in most of their cells."""
    if given.text:
        if missing := [name for name in given.text if name not in sheet.columns]:
            problem = f"{sheet.name!r} has no column {missing[0]!r}; it has: {', '.join(sheet.columns)}"
            raise NoSuchColumn(problem, hint=did_you_mean(missing[0], sheet.columns))
        return given.text
    looked = [record for _, record in sheet.rows[:200]]
    return [name for name in sheet.columns if name != own and _has_words([_said(r.get(name)) for r in looked])]


def _has_words(cells: Sequence[str]) -> bool:
    filled = [cell for cell in cells if cell]
    return bool(filled) and 2 * sum(any(c.isalpha() for c in cell) for cell in filled) > len(filled)


def _said(value: object) -> str:
    """A cell as text; a list is written out."""
    if isinstance(value, list | tuple):
        return " ".join(str(part) for part in value if part is not None).strip()
    return "" if value is None or isinstance(value, dict) else str(value).strip()


def _id_in(record: Json, column: str, where: str) -> str:
    try:
        return text_in(record, column).strip()
    except BadFile as error:
        raise BadFile(f"{where}: {error.problem}", hint=error.hint) from None


# ---- events -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Event:
    user: str
    item: str
    time: float | None


def events_of(
    sheets: Sequence[Sheet], items: Items, given: ShopColumns, notes: Notes, *, min_rating: float | None
) -> Events:
    """The events of all tables, of known items, each pair of user and item once: the first time.

    Args:
        items: what is known; where it is empty, the events say what there is, and it is filled.

    Raises:
        NoSuchColumn, BadFile (a cell that is no number or date); EmptyInput: no event is left.
    """
    every = [event for sheet in sheets for event in _events_in(sheet, given, notes, min_rating)]
    if not items.ids:
        _fill(items, every)
    has_times = bool(every) and all(event.time is not None for event in every)
    if not has_times and any(event.time is not None for event in every):
        notes.left_out["times (not every event has one, so none is used)"] = sum(e.time is not None for e in every)
    if has_times:
        every.sort(key=lambda event: event.time or 0.0)
    kept = list(_usable(every, items.numbers(), notes))
    if not kept:
        told = ", ".join(f"{number} {what}" for what, number in notes.left_out.items()) or "the tables are empty"
        raise EmptyInput(f"no event is left ({told})", hint="do the ids of events.csv occur in items.csv?")
    users = {name: number for number, name in enumerate(dict.fromkeys(event.user for event, _ in kept))}
    return Events(
        [*users],
        np.array([users[event.user] for event, _ in kept], dtype=np.int64),
        np.array([item for _, item in kept], dtype=np.int64),
        np.array([event.time for event, _ in kept], dtype=np.float64) if has_times else None,
    )


def _fill(items: Items, events: Iterable[_Event]) -> None:
    for name in dict.fromkeys(event.item for event in events):
        items.ids.append(name)
        items.titles.append(name)
        items.texts.append("")
        items.rows.append({})


def _usable(events: Iterable[_Event], numbers: dict[str, int], notes: Notes) -> Iterator[tuple[_Event, int]]:
    seen: set[tuple[str, int]] = set()
    for event in events:
        item = numbers.get(event.item)
        if item is None:
            notes.left_out["events of items that the table of items does not have"] += 1
        elif (event.user, item) in seen:
            notes.left_out["events that repeat another of the same user and item"] += 1
        else:
            seen.add((event.user, item))
            yield event, item


def _events_in(sheet: Sheet, given: ShopColumns, notes: Notes, min_rating: float | None) -> Iterator[_Event]:
    user, item = sheet.need("user", given), sheet.need("item", given)
    rating = sheet.need("rating", given) if min_rating is not None else None
    time = sheet.column("time", given)
    notes.read_as[sheet.name] = f"events (user {user}, item {item}, time {time or 'none'})"
    for number, (where, record) in enumerate(sheet.rows):
        try:
            event = _Event(text_in(record, user).strip(), text_in(record, item).strip(), _moment(record, time))
            if not event.user or not event.item:
                notes.left_out["events without a user or an item"] += 1
            elif rating and min_rating is not None and number_in(record.get(rating), rating) < min_rating:
                notes.left_out[f"events with a rating below {min_rating:g}"] += 1
            else:
                yield event
        except BadFile as error:
            line = line_of(Path(sheet.name), number) if Path(sheet.name).is_file() else None
            raise BadFile(f"{sheet.name}:{line}: {error.problem}" if line else f"{where}: {error.problem}") from None


def _moment(record: Json, column: str | None) -> float | None:
    """Seconds since 1970; None for an empty cell."""
    value = record.get(column) if column else None
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    assert column is not None, "a value is in a column"
    try:
        return number_in(value, column)
    except BadFile:
        return _date(str(value), column)


def _date(text: str, column: str) -> float:
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise wrong(column, f"holds {text[:40]!r}, neither seconds nor a date like 2026-11-30T20:15") from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
