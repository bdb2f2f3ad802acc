"""The values of a record, as a reader takes them: texts, numbers, nothing; and the error of one that is wrong."""

from __future__ import annotations

import math
from typing import Any

from pretune.base.errors import BadFile
from pretune.base.json import JsonMap


def wrong(column: str, problem: str, *, hint: str | None = None) -> BadFile:
    """The error of one record; whoever reads the file puts its name and line in front."""
    return BadFile(f"column {column!r} {problem}", hint=hint)


def kind_of(value: object) -> str:
    """What a value is, in a reader's words."""
    names = {bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list", dict: "an object"}
    return "nothing" if value is None else names.get(type(value), type(value).__name__)


def first_of(record: JsonMap, *names: str) -> Any:
    """The value under the first of these names that is there; None if none is."""
    return next((record[name] for name in names if name in record), None)


def text_in(record: JsonMap, column: str) -> str:
    """The text in a column: numbers are written out, nothing is ""; raises BadFile for a list or an object."""
    value = record.get(column)
    if isinstance(value, str):
        return mend_surrogates(value)
    if value is not None and not isinstance(value, int | float):
        raise wrong(column, f"must be text, not {kind_of(value)}")
    return "" if is_nothing(value) else str(value)


def is_nothing(value: object) -> bool:
    """Whether a value stands for a missing one: null, or a number that is none (nan, infinity)."""
    return value is None or (isinstance(value, float) and not math.isfinite(value))


def texts_in(record: JsonMap, column: str) -> list[str]:
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


def mend_surrogates(text: str) -> str:
    """Join surrogate pairs that were written apart; a lone one becomes U+FFFD (UTF-8 cannot hold it)."""
    if text.isascii() or not _has_surrogate(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _has_surrogate(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False
