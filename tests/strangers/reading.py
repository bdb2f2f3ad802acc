"""What the rows of a draft say, as the product's examples would: the right readings, by construction.

texts      text                          label    (text, label)
dialogue   ((role, content), ...)        tags     ((word, ...), (tag, ...))
pair       (source, (target, ...))       score    (text, second, score)
"""

from __future__ import annotations

import unicodedata
from typing import Any

from tests.strangers.draft import ABSENT, Draft, Row, as_read, texts_in


def plain(text: str) -> str:
    """A text as it is compared: one kind of line ends, composed letters, no blanks around it."""
    return unicodedata.normalize("NFC", as_read(text).replace("\r\n", "\n").replace("\r", "\n")).strip()


def written(value: Any, form: str) -> str:
    """A value as a text; what JSON and parquet know of kinds, a csv has as Python writes it."""
    if value is None or value is ABSENT:
        return ""
    if isinstance(value, bool) and form not in ("csv", "csv-semicolon", "csv-tab", "tsv", "marked", "tabs", "folder"):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and (form == "parquet" or form.startswith(("json", "ndjson"))):
        return str(int(value))
    return str(value)


def reading_of(draft: Draft, row: Row) -> Any:
    """What an ordinary row says."""
    values, form = row.values, draft.form

    def said(role: str) -> str:
        return written(values.get(role), form)

    if draft.family in ("texts", "documents"):
        return said("text")
    if draft.family == "label":
        return (said("text"), said("label"))
    if draft.family == "pair":
        return (said("source"), (said("target"),))
    if draft.family == "score":
        return (said("text"), said("second"), float(values["score"]))
    if draft.family == "tags":
        return (tuple(values["tokens"]), tuple(values["tags"]))
    return tuple((m["role"], m["content"]) for m in values["messages"])


def settle(draft: Draft) -> None:
    """Give every row its readings."""
    for row in draft.rows:
        found = [reading_of(draft, row)] if row.readings is None else row.readings
        row.readings = [texts_in(one, plain) for one in found]
