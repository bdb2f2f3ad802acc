"""The raw files of a corpus in shards, and the documents of a shard, still as they are written.

    inputs -> files -> shards (some small files; a piece of a large one) -> records -> documents

Shards are cut by bytes alone, so they are the same for any number of workers.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeVar

from pretune.base.artifact import Artifact
from pretune.base.errors import NoSuchColumn, NotText, UserError
from pretune.text.clean.cleaners import Clean
from pretune.text.read import hub, sources
from pretune.text.read.columns import FIRST, text_column
from pretune.text.read.document import Document, document_id
from pretune.text.read.formats.jsonl import JSON_LINES, Sound, Stretch, soundness, stretch_records, stretches
from pretune.text.read.plain import plain_text
from pretune.text.read.readers import READERS, TABULAR, Record, Repairs, read_records, suffix_of
from pretune.text.read.split import SPLITS

LARGE_FILE = 16 << 20
"""A file of so many bytes makes several shards; all but JSON lines are read by the process that hands them out."""
RAW_SHARD_BYTES = 2 << 20
COUNTED = ("changed", "columns", "mended")
LEADS_OUT = "a link that leads out of the folder; links=follow reads it"


@dataclass(frozen=True)
class Measuring:
    """What is done to every document; travels to other processes.

    Args:
        text: the column that holds the text, None to find it by its name.
        named: the user named the sources, so a scheme does not name them itself.
        language_file: a fastText model; None: languages are identified by script and frequent words.
        near: signatures for near duplicates are wanted.
    """

    text: str | None
    clean: tuple[Clean, ...]
    named: bool
    language_file: Path | None
    near: bool


Numbered = tuple[int, Record]
T = TypeVar("T")


@dataclass(frozen=True)
class RawFile:
    """A file of a source, and its name relative to the input."""

    source: str
    name: str
    path: Path


@dataclass(frozen=True)
class Piece:
    """A stretch of a large file of JSON lines; `column`: of the file's first record, the text."""

    file: RawFile
    stretch: Stretch
    column: str


@dataclass(frozen=True)
class RawShard:
    """Files or a piece of one, still to be read, or documents that are; `measured`: a file of another corpus."""

    number: int
    files: tuple[RawFile, ...] = ()
    piece: Piece | None = None
    documents: tuple[Document, ...] = ()
    bytes: int = 0
    measured: bool = False


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


# ---- shards -------------------------------------------------------------------------------------


def raw_shards(inputs: Mapping[str, Artifact], measuring: Measuring, tally: Tally) -> Iterator[RawShard]:
    """All shards, numbered, in the order of their documents; what reading large files meets is added to `tally`."""
    number = 0
    for place, artifact in inputs.items():
        for shard in _of_input(artifact, source_of(place, artifact), measuring, tally):
            yield replace(shard, number=number)
            number += 1


def _of_input(artifact: Artifact, source: str, measuring: Measuring, tally: Tally) -> Iterator[RawShard]:
    if artifact.scheme:
        yield from _of_documents(_named(d, source, measuring) for d in sources.documents(artifact.scheme))
        return
    if artifact.card.kind == "corpus":
        yield from _of_corpus(artifact, source)
        return
    tally.quarantine += [(name, LEADS_OUT) for name in artifact.links]
    small: list[RawFile] = []
    for name, path in sources.named_files(artifact):
        file, size = RawFile(source, name, path), path.stat().st_size
        if size >= LARGE_FILE:
            yield from _of_files(small)
            small = []
            yield from _of_large_file(file, measuring, tally)
        else:
            small.append(file)
    yield from _of_files(small)


def _of_corpus(artifact: Artifact, source: str) -> Iterator[RawShard]:
    """What a corpus kept, then what it dropped: of copies, those that were kept come first again."""
    for stem in (*SPLITS, "dropped"):
        for path in sorted(artifact.path.glob(f"{stem}-[0-9]*.parquet")):
            yield RawShard(0, (RawFile(source, path.name, path),), bytes=path.stat().st_size, measured=True)


def _named(document: Document, source: str, measuring: Measuring) -> Document:
    """A scheme names its sources itself, unless the user did."""
    name = source if measuring.named else document.source or source
    return replace(document, source=name, id=document.id or document_id(name, document.origin, 0))


def _of_files(files: Sequence[RawFile]) -> Iterator[RawShard]:
    for held, size in _filled(files, lambda file: file.path.stat().st_size):
        yield RawShard(0, files=held, bytes=size)


def _of_documents(documents: Iterable[Document]) -> Iterator[RawShard]:
    for held, size in _filled(documents, lambda document: len(document.text)):
        yield RawShard(0, documents=held, bytes=size)


def _filled(items: Iterable[T], size_of: Callable[[T], int]) -> Iterator[tuple[tuple[T, ...], int]]:
    """(items, their size) of RAW_SHARD_BYTES each, or what the last one makes of it."""
    held: list[T] = []
    size = 0
    for item in items:
        held.append(item)
        size += size_of(item)
        if size >= RAW_SHARD_BYTES:
            yield tuple(held), size
            held, size = [], 0
    if held:
        yield tuple(held), size


def _of_large_file(file: RawFile, measuring: Measuring, tally: Tally) -> Iterator[RawShard]:
    """The shards of a large file; JSON lines are parsed by whoever measures them."""
    sound: Sound = ""
    with suppress(UserError):  # whoever reads the file reports what is wrong, and once
        sound = soundness(file.path) if suffix_of(file.path) in JSON_LINES else ""
    if not sound:
        yield from _of_documents(documents_of(file, measuring, tally))
        return
    with _tallied(file, tally):
        column = ""
        for stretch in stretches(file.path, RAW_SHARD_BYTES, sound):
            column = column or _first_column(file, stretch, measuring, tally)
            yield RawShard(0, piece=Piece(file, stretch, column), bytes=len(stretch.content))


def _first_column(file: RawFile, stretch: Stretch, measuring: Measuring, tally: Tally) -> str:
    """The text's column in the first records; "" where a stretch holds none."""
    where = file.path.as_posix()
    rows = list(islice(stretch_records(stretch, where, Repairs(quarantine=[])), FIRST))
    return _column_of(file, rows, measuring, tally) if rows else ""


def source_of(place: str, artifact: Artifact) -> str:
    """`logs` of the place read.logs.0; in a list each source has the name of its path."""
    parts = place.split(".")
    if artifact.hub and len(parts) <= 2:
        return hub.title(artifact.hub)
    return ".".join(parts[1:-1]) or sources.source_name(artifact.scheme or artifact.path)


# ---- reading ------------------------------------------------------------------------------------


def read_shard(shard: RawShard, measuring: Measuring, tally: Tally) -> Iterator[Document]:
    """The documents of a shard, in their order; what reading them meets is added to `tally`."""
    if shard.piece:
        return documents_of_piece(shard.piece, measuring, tally)
    read = (document for file in shard.files for document in documents_of(file, measuring, tally))
    return iter(shard.documents or read)


def documents_of(file: RawFile, measuring: Measuring, tally: Tally) -> Iterator[Document]:
    """The documents of a file as they are written in it; what cannot be read goes into quarantine with its reason.

    Raises:
        MissingExtra: no reader for it.
    """
    if file.path.stat().st_size == 0:
        tally.empty_files += 1  # an empty __init__.py is no mistake
        return
    with _tallied(file, tally) as repairs:
        yield from _documents(file, read_records(file.path, repairs), measuring, repairs, tally)


def documents_of_piece(piece: Piece, measuring: Measuring, tally: Tally) -> Iterator[Document]:
    """The documents of a stretch, as they would be if the file were read whole."""
    file, stretch = piece.file, piece.stretch
    with _tallied(file, tally) as repairs:
        records = stretch_records(stretch, file.path.as_posix(), repairs)
        yield from _documents(file, records, measuring, repairs, tally, first=stretch.first, column=piece.column)


@contextmanager
def _tallied(file: RawFile, tally: Tally) -> Iterator[Repairs]:
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


def _documents(
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
    where = file.path.as_posix()
    numbered: Iterator[Numbered] = ((k + repairs.passed_over, one) for k, one in enumerate(records, first))
    if not column:
        head, numbered = _begun(numbered)
        column = _column_of(file, [record for _, record in head], measuring, tally) if head else ""
    for number, record in numbered:
        try:
            # A line of another form may have its text elsewhere.
            own = column if column in record else text_column([record], given=measuring.text, where=where)
            text = plain_text(record[own], own, f"{where}#{number}", repairs)
        except UserError as error:
            repairs.refuse(error, f"{where}#{number}")
            repairs.passed_over -= 1  # the reader has counted it as a record
            continue
        yield _document(file, number, record, own, text)


def _begun(numbered: Iterator[Numbered]) -> tuple[list[Numbered], Iterator[Numbered]]:
    """The first records, and all of them; what stops the reader among the first stops it in its place."""
    head: list[Numbered] = []
    try:
        for one in islice(numbered, FIRST):
            head.append(one)
    except UserError as error:
        return head, chain(head, _stopped(error))
    return head, chain(head, numbered)


def _stopped(error: UserError) -> Iterator[Numbered]:
    raise error
    yield  # a generator, so that it raises when it is its turn


def _column_of(file: RawFile, rows: Sequence[Record], measuring: Measuring, tally: Tally) -> str:
    """The column that the first records of a file have their text in; of tables it is counted."""
    column = text_column(rows, given=measuring.text, where=file.path.as_posix())
    if suffix_of(file.path) in TABULAR:
        tally.columns[column] += 1
    return column


def _named_so(file: RawFile, message: str) -> str:
    """A message that names the file as the corpus does: no payload holds a path of this machine."""
    return message.replace(file.path.as_posix(), file.name)


def _document(file: RawFile, number: int, record: Mapping[str, Any], column: str, text: str) -> Document:
    meta = {k: v for k, v in record.items() if k != column and not isinstance(v, bytes)}
    return Document(text, "", file.source, f"{file.name}#{number}", meta)  # whoever measures it works out its id
