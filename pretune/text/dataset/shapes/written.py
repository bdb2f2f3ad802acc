"""Lists and objects that are written out in a cell, as a table without lists has them.

    ['joy', 'love']   ["joy"]   [27]      Python's way, JSON's way
    ['joy' 'love']    [2 7]               numpy's way
    [{"role": "user", "content": "Hi"}]   a dialogue in a cell

A column is read so if all cells that are looked at are, and its name says that it may hold a list: labels, tokens,
tags, messages, answers ... A text in brackets stays a text.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Sequence

from pretune.text.dataset.shapes.converter import Record
from pretune.text.read.columns import KNOWN, Table

ROLES = (
    *("label", "tokens", "tags", "entities", "answers", "target", "messages", "chosen", "rejected"),
    *("candidates", "scores", "times"),
)
ITEM = r"""(?:'[^']*'|"[^"]*"|-?[\d.]+)"""
SPACED = re.compile(rf"\[\s*{ITEM}(?:\s+{ITEM})+\s*\]")


def written_columns(table: Table) -> list[str]:
    """The columns whose cells write out lists or objects."""
    names = {table.given[role].lower() for role in ROLES if role in table.given}
    names |= {name for role in ROLES for name in KNOWN[role]} - set(KNOWN["text"])
    return [column for low, column in table.names.items() if low in names and _is_written(table.values(column))]


def _is_written(values: list[object]) -> bool:
    return bool(values) and all(isinstance(v, str) and isinstance(read_back(v), list | dict) for v in values)


def with_lists(record: Record, columns: Sequence[str]) -> Record:
    """The record with lists and objects in these columns."""
    return {name: read_back(value) if name in columns else value for name, value in record.items()}


def read_back(value: object) -> object:
    """The list or object that a text writes out; anything else as it is."""
    text = value.strip() if isinstance(value, str) else ""
    if text[:1] + text[-1:] not in ("[]", "{}"):
        return value
    if SPACED.fullmatch(text):
        text = f"[{', '.join(re.findall(ITEM, text))}]"
    for read in (json.loads, ast.literal_eval):
        try:
            found = read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        return found if isinstance(found, list | dict) else value
    return value
