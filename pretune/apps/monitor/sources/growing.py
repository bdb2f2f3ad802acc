"""A file that grows: .jsonl, .csv, .tsv, and any other text, a line each.

    place = {bytes: 4096, head: digest of the first bytes, inode: of the file}

Only whole lines are read. A file that is shorter than it was, or begins otherwise, was replaced, and is read from its
start: what it repeats is known again by its key, if it has one. If it was rotated, its rest is read first (rotated.py).
"""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

from pretune.apps.monitor.sources.items import item_of
from pretune.apps.monitor.sources.rotated import after, has_something, head_of, to_read
from pretune.apps.monitor.sources.source import Batch, Item, Source
from pretune.base.errors import UserError
from pretune.base.json import Json
from pretune.text.read.formats.jsonl import JSON_LINES
from pretune.text.read.readers import PACKED, Repairs, lines_of, read_records

DELIMITED = (".csv", ".tsv")
LINE_WISE = (*JSON_LINES, *DELIMITED)
"""Tables that can be read from the middle."""
BYTES_EACH = 256
"""Bytes that are read for each text that is wanted."""
MOST_QUOTED = 1 << 20
"""Bytes in which a text in quotes must end; a quote that nobody closes would hold up the whole file."""
QUOTED = re.compile(rb'[^"]*(?:""[^"]*)*')
"""A text in quotes, behind the first."""


class Growing(Source):
    """One file that grows."""

    def __init__(self, name: str, column: str | None = None, time: str | None = None):
        self.name, self.column, self.time = name, column, time

    def read(self, places: Mapping[str, Json], most: int) -> Batch:
        return follow(Path(self.name), places.get("", {}), most, place="", column=self.column, time=self.time)


def follow(
    path: Path, at: Json, most: int, *, place: str, column: str | None, time: str | None, stems: bool = True
) -> Batch:
    """What a file has since it was `at`, under the name `place`; of one that was rotated the rest comes first.

    Args:
        stems: as `to_read` has it.
    """
    if path.suffix.lower() in PACKED:
        return Batch(refused=[f"{path.as_posix()} is packed, and cannot be followed"] if not at else [], places={})
    try:
        # In this order: when the new file has something, the old one gets nothing more.
        is_over = has_something(path)
        now, is_old = to_read(path, at, stems=stems)
        found = _read(path, now, at, most, place, is_over=is_old and is_over, column=column, time=time)
        if is_old and is_over and not found.places:
            following = after(path, now, stems=stems)
            found = _read(path, following, {}, most, place, is_over=following != path, column=column, time=time)
            is_old = following != path
        return replace(found, has_more=True) if found.places and is_old else found
    except OSError as error:
        return Batch(refused=[f"{path.as_posix()} cannot be read: {error.strerror}"])


def _read(
    path: Path, now: Path, at: Json, most: int, place: str, *, is_over: bool, column: str | None, time: str | None
) -> Batch:
    """The next lines of `now`, which is the file at `path` or was. Raises OSError.

    Args:
        is_over: nothing more will be written, so that what is behind the last line break is a line.
    """
    with now.open("rb") as file:
        stat = os.fstat(file.fileno())
        if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            return Batch(refused=[f"{path.as_posix()} is UTF-16, and cannot be followed: write it as UTF-8"])
        file.seek(0)
        names = _names(file) if path.suffix.lower() in DELIMITED else b""
        start = at["bytes"] if _is_same(file, at, stat.st_size) else len(names)
        file.seek(start)
        whole = _whole_lines(file, most * BYTES_EACH, _delimiter(path, names) if names else b"")
        if is_over and not whole:
            file.seek(start)
            whole = file.read(MOST_QUOTED)
        stop = start + len(whole)
        place_now = {"bytes": stop, "head": head_of(file, stop), "inode": stat.st_ino}
    if not whole:
        return Batch()
    items, refused = _items(path, names, whole, stat.st_mtime, column, time)
    return Batch(items, {place: place_now}, has_more=stop < stat.st_size, refused=refused)


def _is_same(file: BinaryIO, at: Json, size: int) -> bool:
    """Whether a file only grew since it was at this place."""
    return bool(at) and size >= at["bytes"] and head_of(file, at["bytes"]) == at["head"]


def _names(file: BinaryIO) -> bytes:
    """The line of a csv's columns, with what the reader passes over in front of it: blank lines, Excel's `sep=;`."""
    found = line = file.readline()
    while line and (not line.strip() or _separator(line)):
        line = file.readline()
        found += line
    return found


def _separator(line: bytes) -> bytes:
    found = re.fullmatch(rb'"?sep=(.)"?', line.removeprefix(codecs.BOM_UTF8).rstrip(b"\r\n"), re.IGNORECASE)
    return found[1] if found else b""


def _delimiter(path: Path, names: bytes) -> bytes:
    """What is between cells, as the reader finds it."""
    *before, last = names.splitlines()
    said = next((found for line in before if (found := _separator(line))), b"")
    return said or (b"\t" if path.suffix.lower() == ".tsv" else max((b",", b";", b"\t"), key=last.count))


def _whole_lines(file: BinaryIO, wanted: int, delimiter: bytes) -> bytes:
    """About so many bytes, up to the end of a line; of a csv, of one on which no text in quotes goes on."""
    content = b""
    while block := file.read(max(wanted, len(content))):  # twice as much each time: looked at again, it stays linear
        content += block
        is_quoted = delimiter and len(content) < MOST_QUOTED
        if end := _end(content, delimiter) if is_quoted else content.rfind(b"\n") + 1:
            return content[:end]
    return b""


def _end(content: bytes, delimiter: bytes) -> int:
    """Behind the last line on which no text in quotes goes on; a quote within a cell (`5" wide`) is a letter."""
    opening = re.compile(rb"(?:\A|(?<=[\r\n" + re.escape(delimiter) + rb']))"')
    at = end = 0
    while found := opening.search(content, at):
        begins = found.start()
        end = max(end, content.rfind(b"\n", at, begins) + 1)
        close = QUOTED.match(content, begins + 1).end()  # type: ignore[union-attr]  # it matches nothing, too
        line_end = content.find(b"\n", begins)
        if line_end >= 0 and _is_letter(content, begins, line_end, close, delimiter):
            at = end = line_end + 1
        elif close + 1 >= len(content):
            return end
        else:
            at = close + 1
    return max(end, content.rfind(b"\n", at) + 1)


def _is_letter(content: bytes, begins: int, line_end: int, close: int, delimiter: bytes) -> bool:
    """Whether a quote that begins a cell opens no text: none may follow its end but another cell, or a new line.

    With tabs few programs quote; there it opens none if it goes on over the line although its cells are all there.
    """
    behind = content[close + 1 : close + 2]
    if behind and behind not in (delimiter, b"\r", b"\n"):
        return True
    return delimiter == b"\t" and close > line_end and b"\t" in content[begins:line_end]


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
        found.append(item if item.time is not None else replace(item, time=modified))
