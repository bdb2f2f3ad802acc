"""Shapes label, labels and score: a text, or two that are compared, and what is said of it.

{"text": "A lovely film", "label": "good"}                       label
{"text": "Rates rise", "labels": ["economy", "banks"]}           labels: a list
{"sentence1": "...", "sentence2": "...", "score": 4.2}           score: a number in a column of such a name
"""

from __future__ import annotations

from typing import Any

from pretune.text.dataset.example import Example, Labelled, MultiLabelled, ScoredText
from pretune.text.dataset.shapes.converter import Convert, Notes, Record, columns_read
from pretune.text.read.columns import COMPARED, Table
from pretune.text.read.values import is_nothing, kind_of, mend_surrogates, number_in, text_in, wrong

TRUTHS = {True: "true", False: "false"}


def has_labels(table: Table) -> bool:
    """A text and a list of labels."""
    label = table.column("label")
    values = table.values(label)
    return bool(values) and all(isinstance(v, list) for v in values) and _has_text(table, label)


def has_score(table: Table) -> bool:
    """A text and a number, in a column that is called a score."""
    score = table.column("score")
    values = table.values(score)
    named_label = "label" in table.given or table.has("label")
    return bool(values) and all(map(_is_number, values)) and not named_label and _has_text(table, score)


def _has_text(table: Table, column: str | None) -> bool:
    return table.column("text") not in (None, column)


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError, OverflowError):
        return False
    return not isinstance(value, bool)


# ---- converters ---------------------------------------------------------------------------------


def read_label(table: Table, notes: Notes) -> tuple[Convert, str]:
    """A converter to Labelled, and the columns it reads."""
    label = table.need("label")
    text, second = compared_columns(table, label)

    def convert(record: Record, origin: str) -> list[Example]:
        said = record.get(text)
        said = mend_surrogates(said) if type(said) is str else text_in(record, text)
        raw = record.get(label)
        name = label_name(raw, label)
        if type(raw) is str and name != raw and name:
            notes.mend("labels with blanks around them were stripped")
        if not said or said.isspace():
            return notes.drop("empty text")
        if not name:
            return notes.drop("no label")
        return [Labelled(said, name, origin, text_in(record, second) if second else "")]

    return convert, columns_read(text=text, second=second, label=label)


def read_labels(table: Table, notes: Notes) -> tuple[Convert, str]:
    """A converter to MultiLabelled; a single label is a list of one, none is an empty list."""
    label = table.need("label")
    text, _ = compared_columns(table, label)

    def convert(record: Record, origin: str) -> list[Example]:
        said, raw = text_in(record, text), record.get(label)
        many = raw if isinstance(raw, list) else [raw]
        names = {label_name(one, label) for one in many} - {""}
        if not said.strip():
            return notes.drop("empty text")
        return [MultiLabelled(said, tuple(sorted(names)), origin)]

    return convert, columns_read(text=text, labels=label)


def read_score(table: Table, notes: Notes) -> tuple[Convert, str]:
    """A converter to ScoredText."""
    score = table.column("score") or table.need("label")
    text, second = compared_columns(table, score)

    def convert(record: Record, origin: str) -> list[Example]:
        said, value = text_in(record, text), record.get(score)
        if not said.strip():
            return notes.drop("empty text")
        if is_nothing(value) or value == "":
            return notes.drop("no score")
        return [ScoredText(said, number_in(value, score), origin, text_in(record, second) if second else "")]

    return convert, columns_read(text=text, second=second, score=score)


def compared_columns(table: Table, other: str | None = None) -> tuple[str, str | None]:
    """The columns, other than `other`, of the text and of what it is compared with, if anything."""
    second = table.column("second")
    if second is None or "text" in table.given:
        return table.need("text", but=other), second
    first = next((table.names[a] for a, b in COMPARED if table.has(a) and b == second.lower()), None)
    return first or table.need("text", but=other), second


def label_name(label: object, column: str = "label") -> str:
    """A label's name: 1 and 1.0 are "1", true is "true", nothing is "". Raises BadFile for a list or object."""
    if type(label) is str:
        return mend_surrogates(label).strip()
    if isinstance(label, bool):
        return TRUTHS[label]
    if is_nothing(label):
        return ""
    if isinstance(label, float) and label.is_integer():
        return str(int(label))
    if not isinstance(label, int | float):
        raise wrong(column, f"must hold a single value, not {kind_of(label)}")
    return str(label)
