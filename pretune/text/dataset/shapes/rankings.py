"""Shape ranking: a query, candidates, and a score of each.

{"query": "...", "choices": ["...", "..."], "gold": 0}             the right one has 1, the others 0
{"question": "...", "A": "...", "B": "...", "answer": "B"}         also {"choices": {"text": [...], "label": [...]}}
{"query": "...", "candidates": ["...", "..."], "scores": [3, 1]}   a score of each
{"anchor": "...", "positive": "...", "negative": "..."}            1 and 0; also lists, also query or question
user_id,item_id,rating,timestamp                                   a row each: one ranking per user, in order of time
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from string import ascii_uppercase

from pretune.base.json import Json
from pretune.text.dataset.example import Example, Ranking
from pretune.text.dataset.shapes.converter import Convert, Notes, Record, columns_read
from pretune.text.read.columns import Table
from pretune.text.read.values import kind_of, number_in, text_in, texts_in, wrong


def has_candidates(table: Table) -> bool:
    """A query, a list of candidates, and which is right or a score of each."""
    if table.column("query") is None or table.column("scores") is None:
        return False
    values = table.values(table.column("candidates"))
    listed = bool(values) and all(isinstance(v, list | dict) for v in values)
    return listed or table.has("a", "b", "answer")


def has_ratings(table: Table) -> bool:
    """A user, an item, and what the one thought of the other."""
    user, item = table.column("query"), table.column("candidates")
    plain = all(isinstance(v, str | int) for v in table.values(item))
    named = {"query", "candidates"} <= table.given.keys() or (user or "").lower().startswith("user")
    return user is not None and item is not None and named and plain and bool(table.values(item))


ANCHORS = ("anchor", "query", "question")


def has_triplets(table: Table) -> bool:
    """A text, one that belongs to it, and one that does not."""
    return table.has("positive", "negative") and any(table.has(name) for name in ANCHORS)


def read_triplets(table: Table, notes: Notes) -> tuple[Convert, str]:
    """A converter to Ranking: the positive has 1, the negative 0."""
    anchor = next(table.names[name] for name in ANCHORS if table.has(name))
    positive, negative = table.names["positive"], table.names["negative"]

    def convert(record: Record, origin: str) -> list[Example]:
        asked, right, others = text_in(record, anchor), texts_in(record, positive), texts_in(record, negative)
        if not asked.strip() or not right or not others:
            return notes.drop("a triplet without one of its three")
        scores = (1.0,) * len(right) + (0.0,) * len(others)
        return [Ranking(asked, (*right, *others), scores, origin)]

    return convert, columns_read(query=anchor, positive=positive, negative=negative)


def read_candidates(table: Table, notes: Notes) -> tuple[Convert, str]:
    """A converter to Ranking."""
    query, scores = table.need("query"), table.need("scores")
    lettered = [table.names[c] for c in "abcdefgh" if c in table.names] if table.has("a", "b") else []
    candidates = "" if lettered else table.need("candidates")
    times = table.column("times")

    def convert(record: Record, origin: str) -> list[Example]:
        asked = text_in(record, query)
        names: Sequence[str]
        if lettered:
            names, texts = ascii_uppercase, [text_in(record, c) for c in lettered]
        else:
            names, texts = _choices(record.get(candidates), candidates)
        if not asked.strip() or not texts:
            return notes.drop("empty query" if texts else "no candidates")
        given = _scores(record.get(scores), len(texts), names, scores)
        moments = tuple(int(t) for t in (record.get(times) or ())) if times else ()
        return [Ranking(asked, tuple(texts), given, origin, moments)]

    return convert, columns_read(query=query, candidates=candidates or "".join(lettered), scores=scores)


def _choices(value: object, column: str) -> tuple[Sequence[str], list[str]]:
    """(names of the candidates, candidates): A, B ... unless they have names of their own."""
    names: object = ascii_uppercase
    if isinstance(value, dict):
        names, value = value.get("label") or names, value.get("text")
    if not isinstance(value, list) or not isinstance(names, list | str):
        raise wrong(column, f"must be a list of candidates, not {kind_of(value)}")
    return names, [text_in({column: one}, column) for one in value]


def _scores(value: object, number: int, names: Sequence[str], column: str) -> tuple[float, ...]:
    if isinstance(value, list):
        if len(value) != number:
            raise wrong(column, f"has {len(value)} scores for {number} candidates")
        return tuple(number_in(v, column) for v in value)
    right = list(names).index(value) if isinstance(value, str) and value in list(names) else value
    if isinstance(right, str) and right.strip().isdecimal():
        right = int(right)
    if isinstance(right, bool) or not isinstance(right, int) or not 0 <= right < number:
        raise wrong(column, f"holds {value!r}, which is none of {number} candidates")
    return tuple(float(k == right) for k in range(number))


# ---- a row each ---------------------------------------------------------------------------------


def grouped(table: Table, records: Iterable[Record]) -> Iterator[Json]:
    """One record per user (query, candidates, scores, times), in the order in which they come first.

    Items are in order of time, those of one time in the order of the file; without a rating every score is 1.
    """
    user, item = table.need("query"), table.need("candidates")
    rating, time = table.column("scores"), table.column("times")
    found: dict[str, list[tuple[int, str, float]]] = {}
    for record in records:
        moment = int(number_in(record.get(time), time)) if time else 0
        score = number_in(record.get(rating), rating) if rating else 1.0
        found.setdefault(text_in(record, user), []).append((moment, text_in(record, item), score))
    for query, rows in found.items():
        rows.sort(key=lambda row: row[0])
        moments, candidates, scores = zip(*rows, strict=True)
        times = {"times": list(moments)} if time else {}
        yield {"query": query, "candidates": list(candidates), "scores": list(scores), **times}
