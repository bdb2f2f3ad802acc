"""A JSON object whose keys are splits: its rows, in whichever form, each with its split in the column `split`.

{"train": [{"text": "...", "label": "..."}, ...], "test": [...]}         objects
{"train": [["...", "book"], ["...", "play"]], "val": [...]}              lists; their names may be the first of them
{"train": {"text": ["...", "..."], "label": ["...", "..."]}, ...}        a list for each column
{"train": {"17": {"text": "...", "label": "..."}, ...}, ...}             objects by their ids

Of lists of two without names the label is the one that repeats itself, else the shorter. Other keys next to the splits
(`oos_train`) are splits of their own if they hold rows, so whoever reads the rows leaves them alone and says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pretune.base.errors import BadFile
from pretune.text.dataset.shapes.converter import Record
from pretune.text.read.columns import KNOWN
from pretune.text.read.formats.columnwise import rows_of
from pretune.text.read.split import NAMES
from pretune.text.read.values import kind_of

KNOWN_NAMES = frozenset(name for names in KNOWN.values() for name in names)
FORMS = 'rows are objects, lists like ["text", "label"], or a list for each column'


def holds_splits(record: Record) -> bool:
    """Whether two keys are splits, or one and no other is a column's name; and what they hold may be rows."""
    sided = [value for key, value in record.items() if _is_split(key)]
    alone = all(isinstance(value, list | dict) for value in record.values()) and not KNOWN_NAMES & record.keys()
    return any(sided) and (len(sided) > 1 or alone) and all(isinstance(value, list | dict) for value in sided)


def _is_split(key: object) -> bool:
    return str(key).strip().lower() in NAMES


def rows_of_splits(record: Record, where: str) -> Iterator[Record]:
    """The rows of all splits; raises BadFile for a split that holds none, with its name."""
    lists = [row for value in record.values() for row in _lists(value)]
    names = _names(lists)
    for key, value in record.items():
        rows = _rows(value, names)
        if rows is None and value and _is_split(key):
            held = kind_of(value) if not isinstance(value, list) else f"a list of {_kinds(value)}"
            raise BadFile(f"{where!r}: {key!r} holds {held}, and no rows that are known", hint=FORMS)
        yield from ({**row, "split": key} for row in rows or ())


def _kinds(value: Sequence[object]) -> str:
    lengths = sorted({len(one) for one in value if isinstance(one, list)})
    lists = f"lists of {' and '.join(map(str, lengths[:3]))} without names" if lengths else ""
    return lists or kind_of(value[0])


def _rows(value: object, names: Sequence[str]) -> list[Record] | None:
    """What one split holds, as records; None if it is no rows."""
    if lists := list(_lists(value)):
        lists = lists[_is_head(lists[0]) :]
        fits = all(len(row) == len(names) for row in lists) and len(lists) > 0
        return [dict(zip(names, row, strict=True)) for row in lists] if fits else None
    if (rows := rows_of(value)) is not None:
        return [*rows]
    value = list(value.values()) if isinstance(value, dict) else value
    if not isinstance(value, list) or not value or not all(isinstance(one, Mapping) for one in value):
        return None
    return value


def _lists(value: object) -> Iterator[list[object]]:
    """The rows of a split that are lists; none if it is anything else."""
    if isinstance(value, list) and all(isinstance(row, list) for row in value):
        yield from value


# ---- the names of lists -------------------------------------------------------------------------


def _is_head(row: Sequence[object]) -> bool:
    return len(set(map(str, row))) == len(row) > 0 and all(str(cell).strip().lower() in KNOWN_NAMES for cell in row)


def _names(lists: Sequence[Sequence[object]]) -> list[str]:
    """What the cells of all these lists are called; none if nobody says so."""
    head = next(filter(_is_head, lists), None)
    if head is not None or not lists or any(len(row) != 2 for row in lists):
        return list(map(str, head or ()))
    return ["label", "text"] if _is_label(lists, 0) else ["text", "label"]


def _is_label(pairs: Sequence[Sequence[object]], place: int) -> bool:
    """Whether the cells at this place are the labels: numbers, else those that repeat more, else the shorter ones."""
    mine, others = ([row[k] for row in pairs] for k in (place, 1 - place))
    return _variety(mine) < _variety(others)


def _variety(cells: Sequence[object]) -> tuple[bool, int, int]:
    texts = [str(cell) for cell in cells]
    return any(isinstance(cell, str) for cell in cells), len(set(texts)), sum(map(len, texts))
