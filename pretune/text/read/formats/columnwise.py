"""Tables that are written in JSON column by column are turned into rows.

    {"text": ["a", "b"], "label": ["x", "y"]}                                   a list a column
    {"text": {"0": "a", "1": "b"}, "label": {"0": "x", "1": "y"}}               pandas, DataFrame.to_json()
    {"columns": ["text", "label"], "index": [0, 1], "data": [["a", "x"], ["b", "y"]]}        orient="split"

One sentence with its tags looks like the first form: {"tokens": ["Ann", "smiles"], "tags": ["B-PER", "O"]}. It stays
a record; it is known by the names of its columns, or by tags in each row of one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from pretune.base.errors import NoSuchColumn
from pretune.base.json import JsonMap
from pretune.text.read.columns import KNOWN, Table
from pretune.text.read.formats.record import Record
from pretune.text.read.split import NAMES

TEXTS = {name for role in ("text", "question", "context", "prompt", "source") for name in KNOWN[role]}
OF_A_SENTENCE = {*KNOWN["tokens"], *KNOWN["tags"]} - {*KNOWN["label"], *TEXTS}
TAG = re.compile("O|[BIOESLUM]-.+")


def rows_of(tree: object) -> list[Record] | None:
    """The rows of a table that is written column by column; None for anything else."""
    if not isinstance(tree, dict) or not tree or sum(str(key).lower() in NAMES for key in tree) > 1:
        return None  # a table for each split is no table
    return _split(tree) or _by_index(tree) or _lists(tree)


def _split(tree: JsonMap) -> list[Record] | None:
    names, data = tree.get("columns"), tree.get("data")
    if not tree.keys() <= {"columns", "index", "data"} or not isinstance(names, list) or not isinstance(data, list):
        return None
    fits = all(isinstance(row, list) and len(row) == len(names) for row in data)
    return [dict(zip(map(str, names), row, strict=True)) for row in data] if names and fits else None


def _by_index(tree: JsonMap) -> list[Record] | None:
    first = next(iter(tree.values()))
    if not isinstance(first, dict) or not first or not all(key.isdecimal() for key in first):
        return None
    if not all(isinstance(column, dict) and column.keys() == first.keys() for column in tree.values()):
        return None
    return [{name: column[key] for name, column in tree.items()} for key in first]


def _lists(tree: JsonMap) -> list[Record] | None:
    columns = list(tree.values())
    if not all(isinstance(c, list) and c and len(c) == len(columns[0]) for c in columns) or _is_sentence(tree):
        return None
    has_text = any(_is_for_text(name) and all(map(_is_text, column)) for name, column in tree.items())
    return [dict(zip(tree, row, strict=True)) for row in zip(*columns, strict=True)] if has_text else None


def _is_for_text(name: str) -> bool:
    """Whether a column is called as texts are, if need be by the last word of its name."""
    try:
        return name.lower() in TEXTS or bool(Table("", [{name: ""}], {}).need("text"))
    except NoSuchColumn:
        return False


def _is_text(cell: object) -> bool:
    return cell is None or isinstance(cell, str | int | float)


def _is_sentence(tree: Mapping[str, Sequence[object]]) -> bool:
    plain = {name.lower(): c for name, c in tree.items() if all(isinstance(cell, str | int) for cell in c)}
    return any(
        name in OF_A_SENTENCE or all(isinstance(cell, str) and TAG.fullmatch(cell) for cell in column)
        for name, column in plain.items()
    )
