"""What there is to do for a corpus: its raw files as jobs, and the documents of a job, still as they stand.

    inputs -> files -> jobs (some small files; a piece of a large one) -> records -> documents

Jobs are cut by bytes alone, so they are the same for any number of processes.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

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
"""Files of so many bytes are cut into several jobs; all but JSON lines are read by the process that hands them out."""
JOB_BYTES = 2 << 20
COUNTED = ("changed", "columns", "mended")
LEADS_OUT = "a link that leads out of the folder; links=follow reads it"


@dataclass(frozen=True)
class Measuring:
    """What is done to every document; travels to other processes.

    Args:
        text: the column that holds the text, None to find it by its name.
        named: the parts of the mixture were named by the user, so a scheme does not name them itself.
        language_file: a fastText model; None tells languages by script and frequent words.
        near: signatures for near duplicates are wanted.
    """

    text: str | None
    clean: tuple[Clean, ...]
    named: bool
    language_file: Path | None
    near: bool


Numbered = tuple[int, Record]


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
class Job:
    """Files or a piece of one, still to be read, or documents that have been; `measured`: shards of another corpus."""

    number: int
    files: tuple[RawFile, ...] = ()
    piece: Piece | None = None
    documents: tuple[Document, ...] = ()
    bytes: int = 0
    measured: bool = False


@dataclass
class Told:
    """What happened besides documents; adds up over jobs."""

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

    def add(self, other: Told) -> None:
        self.quarantine += other.quarantine
        self.changed += other.changed
        self.mended += other.mended
        self.left_out += other.left_out
        self.broken += other.broken
        self.surrogates += other.surrogates
        self.empty_files += other.empty_files
        self.columns += other.columns
        self.no_column += other.no_column

    def packed(self) -> bytes:
        return json.dumps(self.__dict__, sort_keys=True).encode()

    @classmethod
    def unpacked(cls, packed: bytes) -> Told:
        facts = json.loads(packed)
        pairs = {name: [tuple(one) for one in facts[name]] for name in ("quarantine", "no_column")}
        return cls(**facts | pairs | {name: Counter(facts[name]) for name in COUNTED})


# ---- jobs ---------------------------------------------------------------------------------------


def jobs(inputs: Mapping[str, Artifact], measuring: Measuring, told: Told) -> Iterator[Job]:
    """All jobs, numbered, in the order of their documents; what reading large files met is added to `told`."""
    number = 0
    for place, artifact in inputs.items():
        source = source_of(place, artifact)
        for job in _jobs_of(artifact, source, measuring, told):
            yield replace(job, number=number)
            number += 1


def _jobs_of(artifact: Artifact, source: str, measuring: Measuring, told: Told) -> Iterator[Job]:
    if artifact.scheme:
        yield from _in_jobs(_named(d, source, measuring) for d in sources.documents(artifact.scheme))
        return
    if artifact.card.kind == "corpus":
        yield from _shards(artifact, source)
        return
    told.quarantine += [(name, LEADS_OUT) for name in artifact.links]
    small: list[RawFile] = []
    for name, path in sources.named_files(artifact):
        file, size = RawFile(source, name, path), path.stat().st_size
        if size >= LARGE_FILE:
            yield from _together(small)
            small = []
            yield from _cut(file, measuring, told)
        else:
            small.append(file)
    yield from _together(small)


def _shards(artifact: Artifact, source: str) -> Iterator[Job]:
    """What a corpus kept, then what it dropped: of copies, those that were kept come first again."""
    for stem in (*SPLITS, "dropped"):
        for path in sorted(artifact.path.glob(f"{stem}-[0-9]*.parquet")):
            yield Job(0, (RawFile(source, path.name, path),), bytes=path.stat().st_size, measured=True)


def _named(document: Document, source: str, measuring: Measuring) -> Document:
    """A scheme names the parts of its mixture itself, unless the user did."""
    name = source if measuring.named else document.source or source
    return replace(document, source=name, id=document.id or document_id(name, document.origin, 0))


def _together(files: Sequence[RawFile]) -> Iterator[Job]:
    held: list[RawFile] = []
    size = 0
    for file in files:
        held.append(file)
        size += file.path.stat().st_size
        if size >= JOB_BYTES:
            yield Job(0, files=tuple(held), bytes=size)
            held, size = [], 0
    if held:
        yield Job(0, files=tuple(held), bytes=size)


def _cut(file: RawFile, measuring: Measuring, told: Told) -> Iterator[Job]:
    """The jobs of a large file; that of JSON lines is parsed by who measures it."""
    sound: Sound = ""
    with suppress(UserError):  # what is wrong is told by whoever reads the file, and once
        sound = soundness(file.path) if suffix_of(file.path) in JSON_LINES else ""
    if not sound:
        yield from _in_jobs(documents_of(file, measuring, told))
        return
    with _told_of(file, told):
        column = ""
        for stretch in stretches(file.path, JOB_BYTES, sound):
            column = column or _first_column(file, stretch, measuring, told)
            yield Job(0, piece=Piece(file, stretch, column), bytes=len(stretch.content))


def _first_column(file: RawFile, stretch: Stretch, measuring: Measuring, told: Told) -> str:
    """The text's column in the first records; "" where a stretch holds none."""
    where = file.path.as_posix()
    rows = list(islice(stretch_records(stretch, where, Repairs(quarantine=[])), FIRST))
    return _column_of(file, rows, measuring, told) if rows else ""


def _in_jobs(documents: Iterable[Document]) -> Iterator[Job]:
    held: list[Document] = []
    size = 0
    for document in documents:
        held.append(document)
        size += len(document.text)
        if size >= JOB_BYTES:
            yield Job(0, documents=tuple(held), bytes=size)
            held, size = [], 0
    if held:
        yield Job(0, documents=tuple(held), bytes=size)


def source_of(place: str, artifact: Artifact) -> str:
    """`logs` of the place read.logs.0; a list names each part by its own path."""
    parts = place.split(".")
    if artifact.hub and len(parts) <= 2:
        return hub.title(artifact.hub)
    return ".".join(parts[1:-1]) or sources.source_name(artifact.scheme or artifact.path)


# ---- reading ------------------------------------------------------------------------------------


def read_job(job: Job, measuring: Measuring, told: Told) -> Iterator[Document]:
    """The documents of a job, in their order; what reading them meets is added to `told`."""
    if job.piece:
        return documents_of_piece(job.piece, measuring, told)
    read = (document for file in job.files for document in documents_of(file, measuring, told))
    return iter(job.documents or read)


def documents_of(file: RawFile, measuring: Measuring, told: Told) -> Iterator[Document]:
    """The documents of a file as they stand in it; what cannot be read goes into quarantine with its reason.

    Raises:
        MissingExtra: no reader for it.
    """
    if file.path.stat().st_size == 0:
        told.empty_files += 1  # an empty __init__.py is no mistake
        return
    with _told_of(file, told) as repairs:
        yield from _documents(file, read_records(file.path, repairs), measuring, repairs, told)


def documents_of_piece(piece: Piece, measuring: Measuring, told: Told) -> Iterator[Document]:
    """The documents of a stretch, as they would be if the file were read whole."""
    file, stretch = piece.file, piece.stretch
    with _told_of(file, told) as repairs:
        records = stretch_records(stretch, file.path.as_posix(), repairs)
        yield from _documents(file, records, measuring, repairs, told, first=stretch.first, column=piece.column)


@contextmanager
def _told_of(file: RawFile, told: Told) -> Iterator[Repairs]:
    """Whatever reading the file meets is told, and does not stop the work."""
    repairs = Repairs(quarantine=[])
    try:
        yield repairs
    except NoSuchColumn as error:
        told.no_column.append((file.source, error.problem, error.hint))
        repairs.refuse(error, file.path.as_posix())
    except UserError as error:
        if isinstance(error, NotText) and suffix_of(file.path) not in READERS:
            repairs.left_out.append(file.path.as_posix())  # a picture beside the pages is no mistake
        else:
            repairs.refuse(error, file.path.as_posix())
    finally:
        told.broken += repairs.broken
        told.mended += repairs.mended
        told.left_out += [_named_so(file, where) for where in repairs.left_out]
        told.quarantine += [(_named_so(file, w), _named_so(file, why)) for w, why in repairs.quarantine or []]


def _documents(
    file: RawFile,
    records: Iterator[Record],
    measuring: Measuring,
    repairs: Repairs,
    told: Told,
    *,
    first: int = 0,
    column: str = "",
) -> Iterator[Document]:
    """Each record as a document, numbered from `first`; raises NoSuchColumn where the first records have no text."""
    where = file.path.as_posix()
    numbered: Iterator[Numbered] = ((k + repairs.passed_over, one) for k, one in enumerate(records, first))
    if not column:
        head, numbered = _begun(numbered)
        column = _column_of(file, [record for _, record in head], measuring, told) if head else ""
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
    """The first records, and all of them; what stops the reader among the first stops it where it stands."""
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


def _column_of(file: RawFile, rows: Sequence[Record], measuring: Measuring, told: Told) -> str:
    """The column that the first records of a file have their text in; of tables it is told."""
    column = text_column(rows, given=measuring.text, where=file.path.as_posix())
    if suffix_of(file.path) in TABULAR:
        told.columns[column] += 1
    return column


def _named_so(file: RawFile, told: str) -> str:
    """A message that names the file as the corpus does: no payload holds a path of this machine."""
    return told.replace(file.path.as_posix(), file.name)


def _document(file: RawFile, number: int, record: Mapping[str, Any], column: str, text: str) -> Document:
    meta = {k: v for k, v in record.items() if k != column and not isinstance(v, bytes)}
    return Document(text, "", file.source, f"{file.name}#{number}", meta)  # its id is worked out by who measures it
