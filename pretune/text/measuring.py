"""Phase one of a corpus: raw files become parts, tables of cleaned and measured documents.

A part holds the documents of one job - some small files, or a stretch of a large one - and depends on nothing else.
So parts are made by any number of processes, survive a crash, and are the same bytes each time.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pretune.base.artifact import Artifact
from pretune.base.errors import NoSuchColumn, NotText, UserError
from pretune.text import hub, sources
from pretune.text.clean import Clean, cleaned_counting, mend_surrogates
from pretune.text.columns import TEXT, find_column
from pretune.text.dedup.near import sign
from pretune.text.document import Document, document_id
from pretune.text.quality.language import identifier
from pretune.text.quality.statistics import COLUMNS, measure_all
from pretune.text.readers import READERS, Repairs, read_records, suffix_of
from pretune.text.split import SPLITS, cluster_of

FIELDS = [(n, pa.string()) for n in ("id", "text", "source", "origin", "language", "cluster", "meta")]
SCHEMA = pa.schema([*FIELDS, ("bytes", pa.int64()), ("language_confidence", pa.float32()), *COLUMNS.items()])

LARGE_FILE = 16 << 20
"""Files of so many bytes are read by the process that hands out jobs, and cut into several."""
JOB_BYTES = 4 << 20
DOCUMENTS_TOGETHER = 2048
"""So many rows are dicts at a time, of some 5 KB each; a million tweets are one job."""


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


@dataclass(frozen=True)
class RawFile:
    """A file of a source, and its name relative to the input."""

    source: str
    name: str
    path: Path


@dataclass(frozen=True)
class Job:
    """Files that are still to be read, or documents that have been; `measured`: shards of another corpus."""

    number: int
    files: tuple[RawFile, ...] = ()
    documents: tuple[Document, ...] = ()
    bytes: int = 0
    measured: bool = False


@dataclass
class Told:
    """What happened besides documents; adds up over jobs."""

    quarantine: list[tuple[str, str]] = field(default_factory=list)
    changed: Counter[str] = field(default_factory=Counter)
    left_out: list[str] = field(default_factory=list)
    broken: int = 0
    surrogates: int = 0
    empty_files: int = 0
    no_column: list[tuple[str, str, str | None]] = field(default_factory=list)
    """(source, problem, hint) of tables in which no column could be the text."""

    def add(self, other: Told) -> None:
        self.quarantine += other.quarantine
        self.changed += other.changed
        self.left_out += other.left_out
        self.broken += other.broken
        self.surrogates += other.surrogates
        self.empty_files += other.empty_files
        self.no_column += other.no_column

    def packed(self) -> bytes:
        facts = {**self.__dict__, "changed": dict(sorted(self.changed.items()))}
        return json.dumps(facts, sort_keys=True).encode()

    @classmethod
    def unpacked(cls, packed: bytes) -> Told:
        facts = json.loads(packed)
        pairs = {name: [tuple(one) for one in facts[name]] for name in ("quarantine", "no_column")}
        return cls(**facts | {"changed": Counter(facts["changed"]), **pairs})


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
        yield from _stretches(_named(d, source, measuring) for d in sources.documents(artifact.scheme))
        return
    if artifact.card.kind == "corpus":
        yield from _shards(artifact, source)
        return
    small: list[RawFile] = []
    for name, path in sources.named_files(artifact):
        file, size = RawFile(source, name, path), path.stat().st_size
        if size >= LARGE_FILE:
            yield from _together(small)
            small = []
            yield from _stretches(documents_of(file, measuring, told))
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


def _stretches(documents: Iterable[Document]) -> Iterator[Job]:
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


def documents_of(file: RawFile, measuring: Measuring, told: Told) -> Iterator[Document]:
    """The documents of a file as they stand in it; what cannot be read goes into quarantine with its reason.

    Raises:
        MissingExtra: no reader for it.
    """
    if file.path.stat().st_size == 0:
        told.empty_files += 1  # an empty __init__.py is no mistake
        return
    repairs = Repairs(quarantine=[])
    try:
        yield from _records_of(file, measuring.text, repairs)
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
        told.left_out += [_named_so(file, where) for where in repairs.left_out]
        told.quarantine += [(_named_so(file, w), _named_so(file, why)) for w, why in repairs.quarantine or []]


def _records_of(file: RawFile, given: str | None, repairs: Repairs) -> Iterator[Document]:
    column = ""
    where = file.path.as_posix()
    for number, record in enumerate(read_records(file.path, repairs)):
        if column not in record:
            column = find_column(record, given=given, known=TEXT, what="text", where=where, stage="corpus")
        yield _document(file, number, record, column)


def _named_so(file: RawFile, told: str) -> str:
    """A message that names the file as the corpus does: no payload holds a path of this machine."""
    return told.replace(file.path.as_posix(), file.name)


def _document(file: RawFile, number: int, record: Mapping[str, Any], column: str) -> Document:
    text = record[column]
    meta = {k: v for k, v in record.items() if k != column}
    plain = text if isinstance(text, str) else "" if text is None else json.dumps(text, ensure_ascii=False)
    return Document(plain, "", file.source, f"{file.name}#{number}", meta)  # its id is worked out by who measures it


# ---- one job ------------------------------------------------------------------------------------


def measure_job(job: Job, measuring: Measuring, path: Path) -> None:
    """Write the part of a job; the name appears when the part is whole."""
    told = Told()
    table = _shard_again(job.files[0].path) if job.measured else _measured(job, measuring, told)
    texts = table["text"].to_pylist()
    table = table.append_column("digest", pa.array([_digest(text) for text in texts], pa.binary(16)))
    table = table.append_column("blank", pa.array([not text.strip() for text in texts]))
    if measuring.near:
        table = table.append_column("signature", pa.array([s.tobytes() for s in sign(texts)], pa.binary()))
    table = table.replace_schema_metadata({"told": told.packed()})
    partial = path.with_suffix(f".{os.getpid()}.partial")
    pq.write_table(table, partial, compression="lz4", use_dictionary=False)
    partial.replace(path)


def _measured(job: Job, measuring: Measuring, told: Told) -> pa.Table:
    read = (d for file in job.files for d in documents_of(file, measuring, told))
    documents = iter(job.documents or read)
    tables = [SCHEMA.empty_table()]
    while some := list(islice(documents, DOCUMENTS_TOGETHER)):
        tables.append(_measured_rows([_row(d, measuring, told) for d in some], measuring))
    return pa.concat_tables(tables).combine_chunks()


def _measured_rows(rows: list[dict[str, Any]], measuring: Measuring) -> pa.Table:
    texts = [row["text"] for row in rows]
    told_languages = identifier(measuring.language_file).of_all(texts)
    for row, statistics, (language, sure) in zip(rows, measure_all(texts), told_languages, strict=True):
        row |= {**statistics, "language": language, "language_confidence": sure}
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def _shard_again(path: Path) -> pa.Table:
    """Documents of another corpus: cleaned and measured already, so only what decides is looked at anew."""
    names = pq.read_schema(path).names
    return pq.read_table(path, columns=[*SCHEMA.names, *(["liked"] if "liked" in names else [])])


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def _row(document: Document, measuring: Measuring, told: Told) -> dict[str, Any]:
    text = mend_surrogates(document.text)
    told.surrogates += text is not document.text and text != document.text
    text = cleaned_counting(text, measuring.clean, told.changed)
    meta = json.dumps(dict(document.meta), ensure_ascii=True, sort_keys=True, default=_plain)
    origin = mend_surrogates(document.origin)
    return {
        "id": document.id or _id_of(document),
        "text": text,
        "source": document.source,
        "origin": origin,
        "cluster": cluster_of(text),
        "meta": meta,
        "bytes": len(text.encode()),
    }


def _id_of(document: Document) -> str:
    name, _, number = document.origin.rpartition("#")
    return document_id(document.source, name, int(number))


def _plain(value: Any) -> str:
    """Dates and their like out of parquet; never a repr with a memory address."""
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    return value.hex() if isinstance(value, bytes) else f"({type(value).__name__})"
