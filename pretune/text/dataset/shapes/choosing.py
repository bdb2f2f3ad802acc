"""Which shape the records of a file have: the first of this order that fits the first records.

     1 preference   chosen and rejected; a dialogue and true or false of it
     2 dialogue     a list of turns
     3 span         question, context and answers
     4 tags         tokens and tags; a text with entities by their places
     5 ranking      a query, a list of candidates, which is right; a user and an item a row
     6 dialogue     what is asked and what is answered: instruction, prompt, question ... with output, answer ...
     7 pair         source and target, context and continuation, document and summary; two languages
     8 labels       a text and a list of labels
     9 score        a text and a number in a column called score
    10 label        a text and a label

A setting `columns.ROLE` leaves only the shapes that have this role; `shape=` names one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice

from pretune.base.errors import NoSuchColumn
from pretune.text.dataset.shapes.converter import Convert, Notes, Record
from pretune.text.dataset.shapes.dialogues import has_reply_column, has_turns, read_dialogues
from pretune.text.dataset.shapes.labelled import has_labels, has_score, read_label, read_labels, read_score
from pretune.text.dataset.shapes.pairs import has_pairs, read_pairs
from pretune.text.dataset.shapes.preferences import has_preferences, read_preferences
from pretune.text.dataset.shapes.questions import has_questions, read_questions
from pretune.text.dataset.shapes.rankings import (
    grouped,
    has_candidates,
    has_ratings,
    has_triplets,
    read_candidates,
    read_triplets,
)
from pretune.text.dataset.shapes.tagged import has_tags, read_tags
from pretune.text.dataset.shapes.written import with_lists, written_columns
from pretune.text.read.columns import FIRST, Table


@dataclass(frozen=True)
class Kind:
    """How records of one shape are recognised and read."""

    shape: str
    roles: frozenset[str]
    fits: Callable[[Table], bool]
    reader: Callable[[Table, Notes], tuple[Convert, str]]


def _kind(shape: str, roles: str, fits: Callable[[Table], bool], reader: Callable[..., tuple[Convert, str]]) -> Kind:
    return Kind(shape, frozenset(roles.split()), fits, reader)


RANKING = "query candidates scores times"
KINDS = (
    _kind("preference", "chosen rejected messages prompt reply", has_preferences, read_preferences),
    _kind("dialogue", "messages", has_turns, read_dialogues),
    _kind("span", "question context answers", has_questions, read_questions),
    _kind("tags", "tokens tags text entities label", has_tags, read_tags),
    _kind("ranking", "", has_triplets, read_triplets),
    _kind("ranking", RANKING, lambda table: has_candidates(table) or has_ratings(table), read_candidates),
    _kind("dialogue", "prompt reply", has_reply_column, read_dialogues),
    _kind("pair", "source target", has_pairs, read_pairs),
    _kind("labels", "text label", has_labels, read_labels),
    _kind("score", "text second score", has_score, read_score),
    _kind("label", "text second label", lambda table: True, read_label),
)


@dataclass(frozen=True)
class Opened:
    """A file whose shape is known.

    Args:
        read_as: the columns and what they are read as, for the card.
        records: from the first on.
    """

    shape: str
    read_as: str
    convert: Convert
    records: Iterator[Record]


def open_records(
    records: Iterable[Record], *, where: str, shape: str, given: Mapping[str, str], notes: Notes
) -> Opened | None:
    """Look at the first records and choose; None for a file without any.

    Args:
        shape: "auto", or the shape that is asked for.
        given: role -> column, as the settings say.

    Raises:
        NoSuchColumn: a column that is given or needed is not there.
    """
    coming = iter(records)
    first = list(islice(coming, FIRST))
    if not first:
        return None
    table = Table(where, first, given)
    if columns := written_columns(table):
        first = [with_lists(record, columns) for record in first]
        table, coming = Table(where, first, given), (with_lists(record, columns) for record in coming)
    for role in given:
        table.need(role)
    kind = chosen(table, shape)
    every = chain(first, coming)
    if kind.shape == "ranking" and has_ratings(table) and not has_candidates(table):
        whole = grouped(table, every)
        read_as = f"query: {table.need('query')}, candidates: {table.need('candidates')}, a row each"
        convert, _ = kind.reader(Table(where, [{"query": "", "candidates": [], "scores": [], "times": []}], {}), notes)
        return Opened(kind.shape, read_as, convert, whole)
    convert, read_as = kind.reader(table, notes)
    return Opened(kind.shape, read_as, convert, every)


def chosen(table: Table, shape: str) -> Kind:
    """The kind that records are read as; raises NoSuchColumn where a given role is of no shape that is left."""
    kinds = [k for k in KINDS if shape in ("auto", k.shape) and table.given.keys() <= k.roles]
    if not kinds:
        roles = sorted(set().union(*(k.roles for k in KINDS if shape in ("auto", k.shape))))
        given = " ".join(f"columns.{role}={column}" for role, column in table.given.items())
        raise NoSuchColumn(
            f"no shape has all of these: {given}" if shape == "auto" else f"the shape {shape!r} has not: {given}",
            hint=f"roles are: {', '.join(roles)}",
        )
    return next((k for k in kinds if k.fits(table)), kinds[-1])
