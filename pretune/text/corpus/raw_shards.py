"""The raw files of a corpus in shards.

    inputs -> files -> shards (some small files; a piece of a large one) -> documents

Shards are cut by bytes alone, so they are the same for any number of workers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from typing import TypeVar

from pretune.base.artifact import Artifact
from pretune.base.errors import UserError
from pretune.text.corpus.documents import (
    Measuring,
    RawFile,
    Reading,
    Tally,
    column_of,
    documents_in,
    documents_of,
    reading,
)
from pretune.text.read import hub, sources
from pretune.text.read.columns import FIRST
from pretune.text.read.document import Document, document_id
from pretune.text.read.formats.jsonl import JSON_LINES, Sound, Stretch, soundness, stretch_records, stretches
from pretune.text.read.readers import Repairs, suffix_of
from pretune.text.read.split import SPLITS

LARGE_FILE = 16 << 20
"""A file of so many bytes makes several shards; all but JSON lines are read by the process that hands them out."""
RAW_SHARD_BYTES = 2 << 20
LEADS_OUT = "a link that leads out of the folder; links=follow reads it"


T = TypeVar("T")


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
    with reading(file, measuring, tally) as of:
        column = ""
        for stretch in stretches(file.path, RAW_SHARD_BYTES, sound):
            column = column or _first_column(of, stretch)
            yield RawShard(0, piece=Piece(file, stretch, column), bytes=len(stretch.content))


def _first_column(of: Reading, stretch: Stretch) -> str:
    """The text's column in the first records; "" where a stretch holds none."""
    where = of.file.path.as_posix()
    rows = list(islice(stretch_records(stretch, where, Repairs(quarantine=[])), FIRST))
    return column_of(of, rows) if rows else ""


def source_of(place: str, artifact: Artifact) -> str:
    """`logs` of the place read.logs.0; in a list each source has the name of its path."""
    parts = place.split(".")
    if artifact.hub and len(parts) <= 2:
        return hub.title(artifact.hub)
    return ".".join(parts[1:-1]) or sources.source_name(artifact.scheme or artifact.path)


def read_shard(shard: RawShard, measuring: Measuring, tally: Tally) -> Iterator[Document]:
    """The documents of a shard, in their order; what reading them meets is added to `tally`."""
    if shard.piece:
        return _of_piece(shard.piece, measuring, tally)
    read = (document for file in shard.files for document in documents_of(file, measuring, tally))
    return iter(shard.documents or read)


def _of_piece(piece: Piece, measuring: Measuring, tally: Tally) -> Iterator[Document]:
    """The documents of a stretch, as they would be if the file were read whole."""
    with reading(piece.file, measuring, tally) as of:
        records = stretch_records(piece.stretch, piece.file.path.as_posix(), of.repairs)
        yield from documents_in(of, records, first=piece.stretch.first, column=piece.column)
