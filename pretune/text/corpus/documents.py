"""The documents of a raw file, still as they are written, and what reading them meets besides.

records -> the column of the text, by the first of them -> a document each, numbered by its place in the file
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path

from pretune.base.errors import NoSuchColumn, NotText, UserError
from pretune.base.json import JsonMap
from pretune.text.clean.cleaners import Clean
from pretune.text.forget import record_digest
from pretune.text.read.columns import FIRST, text_column
from pretune.text.read.document import Document
from pretune.text.read.plain import plain_text
from pretune.text.read.readers import READERS, TABULAR, Record, Repairs, read_records, suffix_of

COUNTED = ("changed", "columns", "mended")
Numbered = tuple[int, Record]


@dataclass(frozen=True)
class Measuring:
    """What is done to every document; travels to other processes.

    Args:
        text: the column that holds the text, None to find it by its name.
        named: the user named the sources, so a scheme does not name them itself.
        language_file: a fastText model; None: languages are identified by script and frequent words.
        near: signatures for near duplicates are wanted.
        without: digests of records that are left out (pretune/text/forget.py).
    """

    text: str | None
    clean: tuple[Clean, ...]
    named: bool
    language_file: Path | None
    near: bool
    without: frozenset[str] = frozenset()


@dataclass(frozen=True)
class RawFile:
    """A file of a source, and its name relative to the input."""

    source: str
    name: str
    path: Path


@dataclass
class Tally:
    """What reading met besides documents; adds up over shards."""

    quarantine: list[tuple[str, str]] = field(default_factory=list)
    changed: Counter[str] = field(default_factory=Counter)
    mended: Counter[str] = field(default_factory=Counter)
    left_out: list[str] = field(default_factory=list)
    broken: int = 0
    surrogates: int = 0
    empty_files: int = 0
    forgotten: int = 0
    columns: Counter[str] = field(default_factory=Counter)
    """Of how many tables each column is the text."""
    no_column: list[tuple[str, str, str | None]] = field(default_factory=list)
    """(source, problem, hint) of tables in which no column could be the text."""

    def add(self, other: Tally) -> None:
        for name, more in vars(other).items():
            vars(self)[name] += more

    def packed(self) -> bytes:
        return json.dumps(self.__dict__, sort_keys=True).encode()

    @classmethod
    def unpacked(cls, packed: bytes) -> Tally:
        facts = json.loads(packed)
        return cls(**facts | {name: Counter(facts[name]) for name in COUNTED})


@dataclass(frozen=True)
class Reading:
    """A file while it is read: what is done to its documents, and what reading it meets."""

    file: RawFile
    measuring: Measuring
    repairs: Repairs
    tally: Tally


def documents_of(file: RawFile, measuring: Measuring, tally: Tally) -> Iterator[Document]:
    """The documents of a file as they are written in it; what cannot be read goes into quarantine with its reason.

    Raises:
        MissingExtra: no reader for it.
    """
    if file.path.stat().st_size == 0:
        tally.empty_files += 1  # an empty __init__.py is no mistake
        return
    with reading(file, measuring, tally) as of:
        yield from documents_in(of, read_records(file.path, of.repairs))


@contextmanager
def reading(file: RawFile, measuring: Measuring, tally: Tally) -> Iterator[Reading]:
    """Whatever reading the file meets is added to the tally, and does not stop the work."""
    repairs = Repairs(quarantine=[])
    try:
        yield Reading(file, measuring, repairs, tally)
    except NoSuchColumn as error:
        tally.no_column.append((file.source, error.problem, error.hint))
        repairs.refuse(error, file.path.as_posix())
    except UserError as error:
        if isinstance(error, NotText) and suffix_of(file.path) not in READERS:
            repairs.left_out.append(file.path.as_posix())  # a picture next to the pages is no mistake
        else:
            repairs.refuse(error, file.path.as_posix())
    finally:
        tally.broken += repairs.broken
        tally.mended += repairs.mended
        tally.left_out += [_named_so(file, where) for where in repairs.left_out]
        tally.quarantine += [(_named_so(file, w), _named_so(file, why)) for w, why in repairs.quarantine or []]


def documents_in(of: Reading, records: Iterator[Record], *, first: int = 0, column: str = "") -> Iterator[Document]:
    """Each record as a document, numbered from `first`; raises NoSuchColumn where the first records have no text."""
    for number, record, usual in numbered_in(of, records, first=first, column=column):
        if of.measuring.without and record_digest(record) in of.measuring.without:
            of.tally.forgotten += 1
            continue
        try:
            own, text = text_in(of, number, record, usual)
        except UserError as error:
            of.repairs.refuse(error, f"{of.file.path.as_posix()}#{number}")
            of.repairs.passed_over -= 1  # the reader has counted it as a record
            continue
        yield _document(of.file, number, record, own, text)


def numbered_in(
    of: Reading, records: Iterator[Record], *, first: int = 0, column: str = ""
) -> Iterator[tuple[int, Record, str]]:
    """Each record with its number and the column in which the first records have their text; raises NoSuchColumn."""
    numbered: Iterator[Numbered] = ((k + of.repairs.passed_over, one) for k, one in enumerate(records, first))
    head: list[Numbered] = []
    stopped: UserError | None = None
    if not column:
        try:
            head.extend(islice(numbered, FIRST))
        except UserError as error:  # raised behind the records that came before it
            stopped = error
        column = column_of(of, [record for _, record in head]) if head else ""
    for number, record in chain(head, numbered):
        yield number, record, column
    if stopped:
        raise stopped


def text_in(of: Reading, number: int, record: Record, column: str) -> tuple[str, str]:
    """The column that holds a record's text, and the text; raises NoSuchColumn, BadFile."""
    where = of.file.path.as_posix()
    # A line of another form may have its text elsewhere.
    own = column if column in record else text_column([record], given=of.measuring.text, where=where)
    return own, plain_text(record[own], own, f"{where}#{number}", of.repairs)


def column_of(of: Reading, rows: Sequence[Record]) -> str:
    """The column that the first records of a file have their text in; of tables it is counted."""
    column = text_column(rows, given=of.measuring.text, where=of.file.path.as_posix())
    if suffix_of(of.file.path) in TABULAR:
        of.tally.columns[column] += 1
    return column


def _named_so(file: RawFile, message: str) -> str:
    """A message that names the file as the corpus does: no payload holds a path of this machine."""
    return message.replace(file.path.as_posix(), file.name)


def _document(file: RawFile, number: int, record: JsonMap, column: str, text: str) -> Document:
    meta = {k: v for k, v in record.items() if k != column and not isinstance(v, bytes)}
    return Document(text, "", file.source, f"{file.name}#{number}", meta)  # whoever measures it works out its id
