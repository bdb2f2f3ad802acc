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


def documents_of(file: RawFile, measuring: Measuring, tally: Tally) -> Iterator[Document]:
    """The documents of a file as they are written in it; what cannot be read goes into quarantine with its reason.

    Raises:
        MissingExtra: no reader for it.
    """
    if file.path.stat().st_size == 0:
        tally.empty_files += 1  # an empty __init__.py is no mistake
        return
    with reading(file, tally) as repairs:
        yield from documents_in(file, read_records(file.path, repairs), measuring, repairs, tally)


@contextmanager
def reading(file: RawFile, tally: Tally) -> Iterator[Repairs]:
    """Whatever reading the file meets is added to the tally, and does not stop the work."""
    repairs = Repairs(quarantine=[])
    try:
        yield repairs
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


def documents_in(
    file: RawFile,
    records: Iterator[Record],
    measuring: Measuring,
    repairs: Repairs,
    tally: Tally,
    *,
    first: int = 0,
    column: str = "",
) -> Iterator[Document]:
    """Each record as a document, numbered from `first`; raises NoSuchColumn where the first records have no text."""
    for number, record, usual in numbered_in(file, records, measuring, repairs, tally, first=first, column=column):
        if measuring.without and record_digest(record) in measuring.without:
            tally.forgotten += 1
            continue
        try:
            own, text = text_in(file, number, record, usual, measuring, repairs)
        except UserError as error:
            repairs.refuse(error, f"{file.path.as_posix()}#{number}")
            repairs.passed_over -= 1  # the reader has counted it as a record
            continue
        yield _document(file, number, record, own, text)


def numbered_in(
    file: RawFile,
    records: Iterator[Record],
    measuring: Measuring,
    repairs: Repairs,
    tally: Tally,
    *,
    first: int = 0,
    column: str = "",
) -> Iterator[tuple[int, Record, str]]:
    """Each record with its number and the column in which the first records have their text; raises NoSuchColumn."""
    numbered: Iterator[Numbered] = ((k + repairs.passed_over, one) for k, one in enumerate(records, first))
    head: list[Numbered] = []
    stopped: UserError | None = None
    if not column:
        try:
            head.extend(islice(numbered, FIRST))
        except UserError as error:  # raised behind the records that came before it
            stopped = error
        column = column_of(file, [record for _, record in head], measuring, tally) if head else ""
    for number, record in chain(head, numbered):
        yield number, record, column
    if stopped:
        raise stopped


def text_in(
    file: RawFile, number: int, record: Record, column: str, measuring: Measuring, repairs: Repairs
) -> tuple[str, str]:
    """The column that holds a record's text, and the text; raises NoSuchColumn, BadFile."""
    where = file.path.as_posix()
    # A line of another form may have its text elsewhere.
    own = column if column in record else text_column([record], given=measuring.text, where=where)
    return own, plain_text(record[own], own, f"{where}#{number}", repairs)


def column_of(file: RawFile, rows: Sequence[Record], measuring: Measuring, tally: Tally) -> str:
    """The column that the first records of a file have their text in; of tables it is counted."""
    column = text_column(rows, given=measuring.text, where=file.path.as_posix())
    if suffix_of(file.path) in TABULAR:
        tally.columns[column] += 1
    return column


def _named_so(file: RawFile, message: str) -> str:
    """A message that names the file as the corpus does: no payload holds a path of this machine."""
    return message.replace(file.path.as_posix(), file.name)


def _document(file: RawFile, number: int, record: JsonMap, column: str, text: str) -> Document:
    meta = {k: v for k, v in record.items() if k != column and not isinstance(v, bytes)}
    return Document(text, "", file.source, f"{file.name}#{number}", meta)  # whoever measures it works out its id
