"""From a record to an item: its text, when it was written, and how it is known again."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from pretune.apps.monitor.sources.source import Item
from pretune.base.digest import digest
from pretune.base.errors import BadFile, NoSuchColumn
from pretune.base.json import JsonMap
from pretune.text.read.columns import Table
from pretune.text.read.values import is_nothing, text_in

TIMES = (
    *("time", "timestamp", "datetime", "date", "published", "published_at", "created_at", "created", "pubdate"),
    *("updated", "时间", "日期", "发布时间"),
)
KEYS = ("id", "guid", "url", "link", "uuid")
UUID = re.compile(r"\{?[0-9a-fA-F]{8}(-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}\}?")
MILLISECONDS = 1e11
"""From here on a number counts milliseconds: seconds would be in the year 5138."""


def item_of(record: JsonMap, *, column: str | None, time: str | None, where: str) -> Item | None:
    """The item of a record; None: it has no text.

    Raises:
        NoSuchColumn: no text, or none of the name that was given; BadFile: a text that is a list, a time that is none.
    """
    given = {"text": column} if column else {}
    text = text_in(record, Table(where, [record], given, stage="monitor").need("text")).strip()
    if not text:
        return None
    names = {str(name).lower(): name for name in record}
    if time is not None and time.lower() not in names:
        raise NoSuchColumn(f"{where} has no column {time!r}; it has: {', '.join(map(str, record))}")
    found = _first(record, names, (time.lower(),) if time else TIMES)
    known = _first(record, names, KEYS)
    when = None if found is None else time_of(found)
    return Item(text, when, *known_by(known, text, when, where))


def _first(record: JsonMap, names: dict[str, str], wanted: tuple[str, ...]) -> object:
    there = (record[names[name]] for name in wanted if name in names)
    return next((value for value in there if not is_nothing(value) and value != ""), None)


def known_by(said: object, text: str, when: float | None, where: str) -> tuple[str, str]:
    """The digests by which an item is known again: where it was, and wherever a copy of it may be.

    An address, a URN or a UUID is one in the whole world. A number is one in its file or feed: elsewhere only the same
    number of the same text is a copy. Without a key it is text and time; ("", "") where it has neither.
    """
    if said is None:
        return "" if when is None else digest(["text", text, when]), ""
    name = str(said)
    if ":" in name or UUID.fullmatch(name):
        return digest(["key", name]), ""
    return digest(["key", where, name]), digest(["copy", name, text])


def time_of(value: object) -> float:
    """Seconds since 1970 of a number (seconds or milliseconds), ISO 8601, or what mails and feeds write.

    A time without a zone is UTC. Raises BadFile.
    """
    try:
        number = float(str(value))
    except ValueError:
        return _read(str(value).strip())
    if not math.isfinite(number):
        raise BadFile(f"{value!r} is no time")
    return number / 1000 if abs(number) >= MILLISECONDS else number


def _read(text: str) -> float:
    for parse in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            found = parse(text)
            return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            continue
    raise BadFile(f"{text[:40]!r} is no time", hint="write it as 2026-11-30T18:05:00+08:00")
