"""Shape tags: words with a tag each, or a text with its pieces by their places.

{"tokens": ["Ann", "lives", "here"], "tags": ["B-PER", "O", "O"]}           also "Ann lives here" and "B-PER O O"
{"text": "浙商银行", "label": {"company": {"浙商银行": [[0, 3]]}}}            CLUENER: the last place included
{"text": "Ann lives", "entities": [{"start": 0, "end": 3, "label": "PER"}]}  also [0, 3, "PER"]; the end not included

A text becomes its characters where it is written in one of the scripts without blanks, else its words. IOB2 cannot
say that pieces overlap: the longest is kept. Tags stay as they are until all are read (`normalised`): only
all of them together show the scheme.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeGuard

from pretune.base.json import JsonMap
from pretune.text.dataset.cutting import word_places
from pretune.text.dataset.example import Example, Tagged
from pretune.text.dataset.shapes.converter import Convert, Notes, Record, columns_read
from pretune.text.dataset.shapes.schemes import parts_of, scheme_of, to_iob2, without_blanks
from pretune.text.dataset.spans import find_answer
from pretune.text.read.columns import LABEL, Table
from pretune.text.read.values import first_of, kind_of, mend_surrogates, text_in, wrong

Piece = tuple[int, int, str]
"""(first character, one past the last, kind)."""
BEGUN = "pieces that began with I- begin with B- now, as conlleval reads them"
MISPLACED, OVERLAPPING, ABSENT = "entities put right by their text", "overlapping entities", "entities not in the text"


def has_tags(table: Table) -> bool:
    """Words with tags, or a text with entities."""
    return _two_columns(table) is not None or _entities(table) is not None


def _two_columns(table: Table) -> tuple[str, str] | None:
    """The columns of words and tags, of one length row by row."""
    tokens, tags = table.column("tokens"), table.column("tags")
    if "tokens" in table.given and "tags" in table.given:
        return table.need("tokens"), table.need("tags")
    text = table.column("text")
    if tokens is None and any(isinstance(v, list) for v in table.values(text)):
        tokens = text
    if tokens is None or tags is None or tokens == tags:
        return None
    words, marks = table.values(tokens), table.values(tags)
    if tokens == text and tags.lower() in LABEL and not _are_tags(marks):
        return None  # texts with a label each
    same = bool(words) and bool(marks) and type(words[0]) is type(marks[0])
    return (tokens, tags) if same and _length(words[0]) == _length(marks[0]) else None


def _are_tags(marks: Sequence[object]) -> bool:
    return all(parts_of(str(mark))[0] for one in marks for mark in (one if isinstance(one, list) else [one]))


def _length(value: object) -> int:
    return len(value.split()) if isinstance(value, str) else len(value) if isinstance(value, list) else -1


def _entities(table: Table) -> tuple[str, str] | None:
    text, entities = table.column("text"), table.column("entities")
    given = table.given.get("label")
    entities = table.names.get(given.lower()) if given else entities
    values = table.values(entities)
    if text is None or entities is None or not values or not all(map(_is_entities, values)):
        return None
    return (text, entities) if "entities" in table.given or any(values) else None


def _is_entities(value: object) -> bool:
    if isinstance(value, dict):
        return all(isinstance(v, dict | list) for v in value.values())
    return isinstance(value, list) and all(isinstance(v, dict) or _is_triple(v) for v in value)


def _is_triple(value: object) -> TypeGuard[list[object]]:
    return isinstance(value, list) and len(value) == 3 and [type(v) for v in value[:2]] == [int, int]


# ---- converters ---------------------------------------------------------------------------------


def read_tags(table: Table, notes: Notes) -> tuple[Convert, str]:
    """A converter to Tagged, its tags as they were written."""
    found = _two_columns(table)
    if found is None and (pieces := _entities(table)) is not None:
        return _reads_entities(*pieces, notes)
    return _reads_words(*(found or (table.need("tokens"), table.need("tags"))), notes)


def _reads_words(tokens: str, tags: str, notes: Notes) -> tuple[Convert, str]:
    def convert(record: Record, origin: str) -> list[Example]:
        words, marks = _listed(record, tokens, tags), _listed(record, tags, tags)
        if len(words) != len(marks):
            raise wrong(tags, f"has {len(marks)} tags for {len(words)} words")
        if not "".join(words).strip():
            return notes.drop("no words")
        return [Tagged(words, marks, origin)]

    return convert, columns_read(tokens=tokens, tags=tags)


def _listed(record: Record, column: str, tags: str) -> tuple[str, ...]:
    value = record.get(column)
    if isinstance(value, str):
        return tuple(mend_surrogates(value).split())
    if not isinstance(value, list | tuple) or not (kinds := set(map(type, value))) <= {str, int, float}:
        raise wrong(column, f"must be a list of texts, not {kind_of(value)}")
    if kinds - {str} and column == tags:
        raise wrong(column, "holds numbers instead of names of tags", hint="write B-PER, I-PER, O and so on")
    words = tuple(map(str, value)) if kinds - {str} else tuple(value)
    whole = "".join(words)
    return words if mend_surrogates(whole) is whole else tuple(map(mend_surrogates, words))


def _reads_entities(text: str, entities: str, notes: Notes) -> tuple[Convert, str]:
    def convert(record: Record, origin: str) -> list[Example]:
        said = text_in(record, text)
        if not said.strip():
            return notes.drop("empty text")
        pieces = apart(_pieces(said, record.get(entities), entities, notes), notes)
        return [Tagged(*tagged(said, pieces), origin)]

    return convert, columns_read(text=text, entities=entities)


# ---- places -------------------------------------------------------------------------------------


def _pieces(text: str, value: object, column: str, notes: Notes) -> list[Piece]:
    if not isinstance(value, Mapping | list | None):
        raise wrong(column, f"must be a list of pieces, or pieces by their kinds, not {kind_of(value)}")
    found = list(_of_kinds(text, value, column, notes) if isinstance(value, Mapping) else _of_list(value or [], column))
    inside = [p for p in found if 0 <= p[0] < p[1] <= len(text)]
    if len(inside) < len(found):
        bad = next(p for p in found if p not in inside)
        raise wrong(column, f"has a piece from {bad[0]} to {bad[1]} of a text of {len(text)} characters")
    return inside


def _of_kinds(text: str, value: JsonMap, column: str, notes: Notes) -> Iterator[Piece]:
    """{kind: {surface: [[first, last], ...]}}; a place that shows another text is put right by the text."""
    for kind, surfaces in value.items():
        for surface, places in surfaces.items() if isinstance(surfaces, Mapping) else ((None, surfaces),):
            if surface is None or not isinstance(places, list) or not all(map(_is_place, places)):
                raise wrong(column, f"must say the first and last place of each {kind}, not {places!r}")
            for first, last in places:
                if text[first : last + 1] == surface:
                    yield first, last + 1, mend_surrogates(str(kind))
                elif (at := find_answer(text, surface, first)) is None:
                    notes.mend(ABSENT)
                else:
                    notes.mend(MISPLACED, int(text[first:last] != surface))  # an end not included is no mistake
                    yield at, at + len(surface), mend_surrogates(str(kind))


def _is_place(value: object) -> bool:
    return isinstance(value, list) and [type(v) for v in value] == [int, int]


def _of_list(value: Sequence[object], column: str) -> Iterator[Piece]:
    for one in value:
        if isinstance(one, Mapping):
            low = {str(k).lower(): v for k, v in one.items()}
            start = first_of(low, "start", "start_offset", "start_idx", "begin")
            end = first_of(low, "end", "end_offset", "end_idx", "stop")
            kind = first_of(low, "label", "type", "entity_type", "entity", "tag")
        else:
            start, end, kind = one if _is_triple(one) else (None, None, None)
        if type(start) is not int or type(end) is not int or kind is None:
            raise wrong(column, f"must say start, end and kind of each piece, not {one!r}")
        yield start, end, mend_surrogates(str(kind))


def apart(pieces: Iterable[Piece], notes: Notes) -> list[Piece]:
    """Pieces of which no two overlap, in the order of the text: of those that do, the longest."""
    kept: list[Piece] = []
    pieces = sorted(set(pieces), key=lambda p: (p[0] - p[1], p[0], p[2]))
    for piece in pieces:
        at = bisect(kept, piece)
        free = (at == 0 or kept[at - 1][1] <= piece[0]) and (at == len(kept) or piece[1] <= kept[at][0])
        if free:
            kept.insert(at, piece)
    notes.mend(OVERLAPPING, len(pieces) - len(kept))
    return kept


def tagged(text: str, pieces: Sequence[Piece]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The words (or characters) of a text and their tags in IOB2; a word is cut where a piece begins or ends."""
    words, tags, at = [], [], 0
    for start, end, kind in [*pieces, (len(text), len(text), "")]:
        outside, inside = _words(text, at, start), _words(text, start, end)
        words += outside + inside
        tags += ["O"] * len(outside) + [f"{'I' if k else 'B'}-{kind}" for k in range(len(inside))]
        at = end
    return tuple(words), tuple(tags)


def _words(text: str, start: int, end: int) -> list[str]:
    return [text[first:last] for first, last in word_places(text, start, end)]


# ---- all of them together -----------------------------------------------------------------------


def normalised(splits: Mapping[str, list[Any]], notes: Notes) -> tuple[dict[str, list[Example]], str]:
    """All splits with tags in IOB2 and without empty words, and the scheme that they were in.

    Raises:
        BadFile: tags of two schemes in one data set.
    """
    scheme = scheme_of(e.tags for group in splits.values() for e in group)
    return {split: [_in_iob2(e, scheme, notes) for e in group] for split, group in splits.items()}, scheme


def _in_iob2(example: Tagged, scheme: str, notes: Notes) -> Tagged:
    tags = to_iob2(example.tags, scheme)
    tokens = example.tokens
    if scheme == "IOB2" and tags != example.tags:
        notes.mend(BEGUN, sum(a != b for a, b in zip(tags, example.tags, strict=True)))
    if "" in tokens or any(map(str.isspace, tokens)):
        tokens, tags = without_blanks(tokens, tags)
        notes.mend("empty words were left out", len(example.tokens) - len(tokens))
    notes.place(example.origin)
    return replace(example, tokens=tokens, tags=tags) if tags != example.tags else example
