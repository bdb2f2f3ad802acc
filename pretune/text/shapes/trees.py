"""JSON whose records lie deeper than an array: they are brought up, one each.

{"data": [{"paragraphs": [{"context": "...", "qas": [{"question": ..., "answers": ...}]}]}]}    SQuAD, CMRC
{"11290": {"messages": [...]}, "11291": {...}}                                                    records by their ids
{"train": [{...}], "test": [{...}]}                                                               records by their side
{"data": [{...}, ...]}                                                                            records in one list
{"translation": {"en": "...", "de": "..."}}                                                       a record in a record
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Any

from pretune.text.shapes.base import Record
from pretune.text.split import NAMES

LISTS = ("data", "examples", "rows", "records")


def unfolded(records: Iterable[Record]) -> Iterator[Record]:
    """The records that lie in these; those that are records themselves come as they are."""
    coming = iter(records)
    first = next(coming, None)
    if first is None:
        return
    if _holds_questions(first):
        for record in chain([first], coming):
            yield from _questions(record)
    elif set(first) == {"translation"} and isinstance(first["translation"], dict):
        yield from (record["translation"] for record in chain([first], coming))
    else:
        second = next(coming, None)
        inner = _inner(first) if second is None else None
        yield from chain([first] if second is None else [first, second], coming) if inner is None else unfolded(inner)


def _inner(record: Record) -> list[Record] | None:
    """The records in one that is alone in its file, or None."""
    for name in LISTS:
        if _are_records(record.get(name)):
            return list(record[name])
    values = list(record.values())
    sides = [str(key).lower() in NAMES for key in record]
    if values and all(sides) and all(map(_are_records, values)):
        return [{**one, "split": key} for key, many in record.items() for one in many]
    return values if len(values) > 1 and _are_records(values) and not any(map(_is_word, record)) else None


def _is_word(key: Any) -> bool:
    """Whether a key is a column's name rather than an id."""
    return str(key).isalpha() and str(key).isascii()


def _are_records(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, dict) for one in islice(value, 20))


# ---- SQuAD and its kin --------------------------------------------------------------------------


def _holds_questions(record: Record) -> bool:
    if record.get("paragraphs") is not None or record.get("qas") is not None:
        return True
    inner: Any = record.get("data")
    return _are_records(inner) and _holds_questions(inner[0])


def _questions(record: Record) -> Iterator[Record]:
    """Every question of an article, a paragraph, or a whole file, with its context."""
    for inner in record.get("data") or record.get("paragraphs") or ():
        yield from _questions(inner)
    for asked in record.get("qas") or ():
        context = record.get("context", record.get("context_text"))
        question = asked.get("question", asked.get("query_text"))
        answers = asked.get("answers", asked.get("answer"))
        known = {"is_impossible": True} if asked.get("is_impossible") else {}
        yield {"question": question, "context": context, "answers": answers, **known}
