"""JSON whose records are deeper than in an array: they are brought up, one each.

{"data": [{"paragraphs": [{"context": "...", "qas": [{"question": ..., "answers": ...}]}]}]}    SQuAD, CMRC
{"11290": {"messages": [...]}, "11291": {...}}                                                    records by their ids
{"train": [{...}], "test": [["...", "..."]]}                                           rows by their split (splits.py)
{"data": [{...}, ...]}                                                                            records in one list
{"translation": {"en": "...", "de": "..."}}                                                       a record in a record
{"text": ["...", "..."], "label": ["good", "bad"]}                                                a column each
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import TypeGuard

from pretune.base.errors import BadFile
from pretune.text.dataset.shapes.converter import Record
from pretune.text.dataset.shapes.splits import holds_splits, rows_of_splits
from pretune.text.read.formats.columnwise import rows_of
from pretune.text.read.values import kind_of

LISTS = ("data", "examples", "rows", "records")


def unfolded(records: Iterable[Record], where: str) -> Iterator[Record]:
    """The records in these; those that are records themselves come as they are.

    Raises:
        BadFile: a tree that begins like one of these and goes on otherwise; it names `where`.
    """
    coming = iter(records)
    first = next(coming, None)
    if first is None:
        return
    if _holds_questions(first):
        for record in chain([first], coming):
            yield from _questions(record, where)
    elif holds_splits(first):
        yield from unfolded((row for one in chain([first], coming) for row in rows_of_splits(one, where)), where)
    elif rows_of(first) is not None:
        for record in chain([first], coming):
            yield from [record] if (rows := rows_of(record)) is None else iter(rows)
    elif set(first) == {"translation"} and isinstance(first["translation"], dict):
        for record in chain([first], coming):
            yield _object(record.get("translation"), "translation", where)
    else:
        second = next(coming, None)
        inner = _inner(first) if second is None else None
        yield from (
            chain([first] if second is None else [first, second], coming) if inner is None else unfolded(inner, where)
        )


def _inner(record: Record) -> list[Record] | None:
    """The records in one that is alone in its file, or None."""
    for name in LISTS:
        if _are_records(record.get(name)):
            return list(record[name])
    values = list(record.values())
    return values if len(values) > 1 and _are_records(values) and not any(map(_is_word, record)) else None


def _is_word(key: object) -> bool:
    """Whether a key is a column's name rather than an id."""
    return str(key).isalpha() and str(key).isascii()


def _are_records(value: object) -> TypeGuard[list[Record]]:
    return isinstance(value, list) and bool(value) and all(isinstance(one, dict) for one in islice(value, 20))


# ---- SQuAD and its kin --------------------------------------------------------------------------


def _holds_questions(record: Record) -> bool:
    if record.get("paragraphs") is not None or record.get("qas") is not None:
        return True
    inner = record.get("data")
    return _are_records(inner) and _holds_questions(inner[0])


def _questions(record: Record, where: str) -> Iterator[Record]:
    """Every question of an article, a paragraph, or a whole file, with its context."""
    deeper = "data" if record.get("data") else "paragraphs"
    for inner in _objects(record.get(deeper), deeper, where):
        yield from _questions(inner, where)
    for asked in _objects(record.get("qas"), "qas", where):
        context = record.get("context", record.get("context_text"))
        question = asked.get("question", asked.get("query_text"))
        answers = asked.get("answers", asked.get("answer"))
        known = {"is_impossible": True} if asked.get("is_impossible") else {}
        yield {"question": question, "context": context, "answers": answers, **known}


def _objects(value: object, name: str, where: str) -> list[Record]:
    if not isinstance(value, list | None):
        raise BadFile(f"{where!r}: {name!r} must be a list, not {kind_of(value)}")
    return [_object(one, name, where) for one in value or []]


def _object(value: object, name: str, where: str) -> Record:
    if not isinstance(value, dict):
        raise BadFile(f"{where!r}: {name!r} must hold objects, not {kind_of(value)}")
    return value
