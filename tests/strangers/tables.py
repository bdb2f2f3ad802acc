"""Odd parquet: kinds of columns that other programs write."""

from __future__ import annotations

import datetime
import math

from tests.strangers.draft import Draft
from tests.strangers.oddity import Oddity
from tests.strangers.reading import written


def bytes_for_text(draft: Draft) -> None:
    """A text column of bytes: UTF-8, as the programs that write it say."""
    import pyarrow as pa

    _types(draft, {"text": pa.binary()}, lambda value: written(value, "parquet").encode())


def large_text(draft: Draft) -> None:
    import pyarrow as pa

    _types(draft, {"text": pa.large_string()}, lambda value: value)


def words_by_number(draft: Draft) -> None:
    """A column whose values are kept once and numbered."""
    import pyarrow as pa

    _types(draft, {"text": pa.dictionary(pa.int32(), pa.string())}, lambda value: value)


def time_in_nanoseconds(draft: Draft) -> None:
    """A column nobody asked for that Python has no kind for."""
    import pyarrow as pa

    draft.dialect.setdefault("types", {})["at"] = pa.timestamp("ns")
    for number, row in enumerate(draft.rows):
        row.values["at"] = 1_700_000_000_000_000_001 + number


def date_out_of_range(draft: Draft) -> None:
    import pyarrow as pa

    draft.dialect.setdefault("types", {})["at"] = pa.timestamp("s")
    for row in draft.rows:
        row.values["at"] = 10**14


def bytes_beside(draft: Draft) -> None:
    """A picture in a column nobody asked for."""
    for row in draft.rows:
        row.values["picture"] = b"\x89PNG\0\xff"


def objects_beside(draft: Draft) -> None:
    for number, row in enumerate(draft.rows):
        row.values["meta"] = {"id": number, "tags": ["a", None], "when": datetime.date(2024, 1, 1)}


def small_groups(draft: Draft) -> None:
    draft.dialect["group"] = 3


def nan_label(draft: Draft) -> None:
    """NaN among numbers is what pandas writes for nothing."""
    for number, row in enumerate(draft.rows):
        row.values["label"] = float(number % 2)
    for row in list(draft.places()):
        row.values["label"] = math.nan
        row.is_nothing(told=True)
    draft.readable = draft.position != "all"


def no_values(draft: Draft) -> None:
    """A column nobody needs in which there is nothing at all."""
    for row in draft.rows:
        row.values["note"] = None


def _types(draft: Draft, types: dict[str, object], change: object) -> None:
    for role, kind in types.items():
        draft.dialect.setdefault("types", {})[draft.names.get(role, role)] = kind
        for row in draft.rows:
            row.readings = None if row.readings is None else row.readings
            if row.values.get(role) is not None:
                if row.readings is None:
                    row.readings = [_reading(draft, row)]
                row.values[role] = change(row.values[role])  # type: ignore[operator]


def _reading(draft: Draft, row: object) -> object:
    from tests.strangers.reading import reading_of

    return reading_of(draft, row)  # type: ignore[arg-type]


def _texts(draft: Draft) -> bool:
    return draft.family in ("label", "texts") and all(isinstance(r.values.get("text"), str) for r in draft.rows)


PARQUET = (
    Oddity("bytes for text", "parquet", _texts, bytes_for_text),
    Oddity("large text", "parquet", _texts, large_text),
    Oddity("words by number", "parquet", _texts, words_by_number),
    Oddity("nanoseconds next to", "parquet", lambda d: True, time_in_nanoseconds),
    Oddity("a date out of range", "parquet", lambda d: True, date_out_of_range),
    Oddity("bytes next to", "parquet", lambda d: True, bytes_beside),
    Oddity("objects next to", "parquet", lambda d: True, objects_beside),
    Oddity("small groups", "parquet", lambda d: True, small_groups),
    Oddity("NaN among labels", "parquet", lambda d: _texts(d) and d.family == "label" and not d.odd, nan_label),
    Oddity("an empty column", "parquet", lambda d: True, no_values),
)
