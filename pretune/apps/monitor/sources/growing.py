"""A file that grows: .jsonl, .csv, .tsv, and any other text, a line each.

    place = {bytes: 4096, head: digest of the first bytes, names: the line of a csv's columns}

Only whole lines are read. A file that is shorter than it was, or begins otherwise, was replaced, and is read from its
start: what it repeats is known again by its key, if it has one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

import xxhash

from pretune.apps.monitor.sources.items import item_of
from pretune.apps.monitor.sources.source import Batch, Item, Source
from pretune.base.errors import UserError
from pretune.base.json import Json
from pretune.text.read.formats.jsonl import JSON_LINES
from pretune.text.read.readers import PACKED, Repairs, lines_of, read_records

DELIMITED = (".csv", ".tsv")
LINE_WISE = (*JSON_LINES, *DELIMITED)
"""Tables that can be read from the middle."""
HEAD, BYTES_EACH = 1024, 256
"""Bytes by which a file is known; bytes that are read for each text that is wanted."""
MOST_QUOTED = 1 << 24
"""Bytes in which a text in quotes must end; a quote that nobody closes would hold up the whole file."""


class Growing(Source):
    """One file that grows."""

    def __init__(self, name: str, column: str | None = None, time: str | None = None):
        self.name, self.column, self.time = name, column, time

    def read(self, places: Mapping[str, Json], most: int) -> Batch:
        return follow(Path(self.name), places.get("", {}), most, place="", column=self.column, time=self.time)


def follow(path: Path, at: Json, most: int, *, place: str, column: str | None, time: str | None) -> Batch:
    """What a file has since it was `at`, under the name `place`."""
    if path.suffix.lower() in PACKED:
        return Batch(refused=[f"{path.as_posix()} is packed, and cannot be followed"] if not at else [], places={})
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            names = file.readline() if path.suffix.lower() in DELIMITED else b""
            start = at["bytes"] if _is_same(file, at, size) else len(names)
            file.seek(start)
            whole = _whole_lines(file, most * BYTES_EACH, is_quoted=bool(names))
            stop = start + len(whole)
            place_now = {"bytes": stop, "head": _head(file, stop)}
            modified = os.fstat(file.fileno()).st_mtime
    except OSError as error:
        return Batch(refused=[f"{path.as_posix()} cannot be read: {error.strerror}"])
    if not whole:
        return Batch()
    items, refused = _items(path, names, whole, modified, column, time)
    return Batch(items, {place: place_now}, has_more=stop < size, refused=refused)


def _is_same(file: BinaryIO, at: Json, size: int) -> bool:
    """Whether a file only grew since it was at this place."""
    return bool(at) and size >= at["bytes"] and _head(file, at["bytes"]) == at["head"]


def _head(file: BinaryIO, most: int) -> str:
    file.seek(0)
    return xxhash.xxh3_64_hexdigest(file.read(min(HEAD, most)))


def _whole_lines(file: BinaryIO, wanted: int, *, is_quoted: bool) -> bytes:
    """About so many bytes, up to the end of a line; of a csv, of one on which no text in quotes goes on."""
    content = b""
    while block := file.read(wanted):
        content += block
        if end := _end(content, is_quoted=is_quoted and len(content) < MOST_QUOTED):
            return content[:end]
    return b""


def _end(content: bytes, *, is_quoted: bool) -> int:
    end = content.rfind(b"\n") + 1
    while is_quoted and end and content.count(b'"', 0, end) % 2:
        end = content.rfind(b"\n", 0, end - 1) + 1
    return end


def _items(
    path: Path, names: bytes, content: bytes, modified: float, column: str | None, time: str | None
) -> tuple[list[Item], list[str]]:
    """The items of some lines, read as a file of their own."""
    with TemporaryDirectory() as scratch:
        piece = Path(scratch, f"piece{path.suffix}")
        piece.write_bytes(names + content)
        repairs = Repairs(quarantine=[])
        found, refused = list[Item](), list[str]()
        try:
            if path.suffix.lower() in LINE_WISE:
                records = read_records(piece, repairs)
            else:
                records = ({"text": line} for line in lines_of(piece, repairs) if line.strip())
            for record in records:
                _add(found, refused, record, column, time, path, modified)
        except UserError as error:
            refused.append(error.problem.replace(piece.as_posix(), path.as_posix()))
        refused += [reason.replace(piece.as_posix(), path.as_posix()) for _, reason in repairs.quarantine or ()]
    return found, refused


def _add(
    found: list[Item],
    refused: list[str],
    record: Json,
    column: str | None,
    time: str | None,
    path: Path,
    modified: float,
) -> None:
    """The item of a record; one without a time has that of the file, which is when it last grew."""
    try:
        item = item_of(record, column=column, time=time, where=path.as_posix())
    except UserError as error:
        refused.append(error.problem)
        return
    if item is not None:
        found.append(item if item.time is not None else Item(item.text, modified, item.key))
