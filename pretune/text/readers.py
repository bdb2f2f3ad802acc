"""Readers: a file becomes a stream of records (dicts); a text file is one record, `{"text": ...}`.

    notes.txt a.md code.py        the whole file is one record
    page.html paper.pdf           the main text, all pages; with its title
    book.epub report.docx         all chapters, the body; with its title
    log.jsonl x.json              one object each (an array, or one a line)
    table.csv .tsv                one row each, by the names in the first line
    part.parquet .arrow .feather  one row each
    crawl.warc .wet               one page each, with its url
    wiki.xml                      one article each, if it is a MediaWiki dump
    pages.zip .tar .tgz           the records of every member

Behind any of these `.gz .bz2 .xz .zst`. A reader is one line in READERS and a function `(path, repairs) -> records`.
Whatever the bytes are, it gives records or raises a UserError.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pretune.base.errors import BadFile, EmptyInput, NotText, UserError
from pretune.text.encoding import BROKEN, SAMPLE_BYTES, decode, detect, text_lines
from pretune.text.formats.archives import ARCHIVES, members
from pretune.text.formats.base import (
    PACKED,
    Reader,
    Record,
    Repairs,
    edge,
    open_bytes,
    opened,
    stem_of,
    suffix_of,
)
from pretune.text.formats.html import read_html
from pretune.text.formats.office import read_docx, read_epub
from pretune.text.formats.pdf import read_pdf
from pretune.text.formats.tables import read_arrow, read_parquet
from pretune.text.formats.web import read_warc
from pretune.text.formats.wiki import is_dump, read_dump

__all__ = ["ARCHIVES", "PACKED", "READERS", "TABULAR", "Record", "Repairs", "members", "open_bytes", "read_records"]
__all__ += ["line_of", "lines_of", "stem_of", "suffix_of"]


def read_records(path: Path, repairs: Repairs | None = None) -> Iterator[Record]:
    """The records of one file, streaming.

    With `repairs.quarantine` a record that is damaged is set aside there and the next one read.

    Raises:
        NotText: binary, or in no encoding that could be told; EmptyInput: no bytes at all;
        BadFile: not what its name says, with the line; MissingExtra: a format that needs the extra `data`.
    """
    with opened(path) as raw:
        if not raw.read(1):
            raise EmptyInput(f"{path.as_posix()!r} is empty")
    reader = READERS.get(suffix_of(path), read_text)
    return reader(path, Repairs() if repairs is None else repairs)


def lines_of(path: Path, repairs: Repairs, newline: str | None = None) -> Iterator[str]:
    """The lines of a text file with their ends, unpacked and decoded; broken UTF-8 is mended and counted."""
    name = path.as_posix()
    with open_bytes(path) as stream:
        encoding = detect(stream, name)
    with open_bytes(path) as stream:
        for line, broken in text_lines(stream, encoding, name, newline):
            repairs.broken += broken
            yield line


def line_of(path: Path, number: int) -> int | None:
    """The line (from 1) on which record `number` (from 0) of jsonl, csv or tsv begins; None for other formats."""
    suffix = suffix_of(path)
    if suffix in (".jsonl", ".ndjson"):
        filled = (k for k, line in enumerate(lines_of(path, Repairs()), 1) if line.strip())
        return next(islice(filled, number, None), None)
    if suffix not in (".csv", ".tsv"):
        return None
    rows = _Rows(lines_of(path, Repairs(), newline=""))
    delimiter = _delimiter(path, rows.peek())
    for _ in range(number + 2):  # the names, then the records up to this one
        while rows.next_row(delimiter) == []:
            pass
    return rows.first_line


# ---- one function each --------------------------------------------------------------------------


def read_text(path: Path, repairs: Repairs) -> Iterator[Record]:
    """The whole file as one record."""
    with open_bytes(path) as stream:
        found = decode(stream.read(), path.as_posix())
    repairs.broken += found.repaired
    yield {"text": found.text}


def read_jsonl(path: Path, repairs: Repairs) -> Iterator[Record]:
    """One JSON object (or text) a line; blank lines are passed over. A line of broken bytes costs only itself."""
    name = path.as_posix()
    for number, line in enumerate(_json_lines(path, repairs), 1):
        try:
            text = _line_text(line, name, number) if isinstance(line, bytes) else line
            if not text.strip():
                continue
            record = _parse(text, name, number)
            if not isinstance(record, dict):
                record = _record(record, f"{name}:{number}")
        except UserError as error:
            repairs.refuse(error, f"{name}:{number}")
            continue
        yield record


def _json_lines(path: Path, repairs: Repairs) -> Iterator[bytes | str]:
    """Lines: text, or bytes where the file's beginning does not tell what broken bytes would be."""
    with open_bytes(path) as stream:
        sample = stream.read(SAMPLE_BYTES) + stream.readline()
        sound = _json_encoding(sample, path.as_posix())
        if sound:
            lines = chain(io.BytesIO(sample.removeprefix(codecs.BOM_UTF8)), stream)
            yield from lines if sound == "perhaps" else (_mended(line, repairs) for line in lines)
            return
    yield from lines_of(path, repairs)


def _json_encoding(sample: bytes, name: str) -> str:
    """utf-8; perhaps (ASCII so far, or with some broken bytes); or "": another encoding, or no JSON at all."""
    if sample.removeprefix(codecs.BOM_UTF8).lstrip()[:1] not in (b"{", b"[", b'"'):
        return ""
    try:
        found = detect(io.BytesIO(sample), name)
    except NotText:  # a zero in a thousand bytes is damage, not UTF-16
        return "" if sample.count(0) * 1000 > len(sample) else "perhaps"
    return "" if not found.startswith("utf-8") else "perhaps" if sample.isascii() else "utf-8"


def _mended(line: bytes, repairs: Repairs) -> str:
    """The line; broken bytes become U+FFFD and are counted."""
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        text, broken = BROKEN.subn("\ufffd", line.decode("utf-8", errors="surrogateescape"))
    repairs.broken += broken
    return text


def _line_text(line: bytes, name: str, number: int) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotText(f"{name}:{number} is not UTF-8: {error.reason}", hint="mend or delete this line") from None


def read_json(path: Path, repairs: Repairs) -> Iterator[Record]:
    """An array of objects, one object, or, as many do under this name, one object a line."""
    name = path.as_posix()
    text = "".join(lines_of(path, repairs))
    try:
        tree = json.loads(text)
    except json.JSONDecodeError as error:
        if error.msg != "Extra data":
            raise BadFile(f"{name}:{error.lineno} is not JSON: {error.msg}") from None
        yield from read_jsonl(path, Repairs(quarantine=repairs.quarantine))
        return
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits, lists in lists without end
        raise BadFile(f"{name!r} is not JSON: {error}") from None
    for number, item in enumerate(tree if isinstance(tree, list) else [tree]):
        try:
            record = _record(item, f"{name}#{number}")
        except BadFile as error:
            repairs.refuse(error, f"{name}#{number}")
            continue
        yield record


def _parse(line: str, name: str, number: int) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadFile(f"{name}:{number} is not JSON: {error}", hint="mend or delete this line") from None


def _record(item: Any, where: str) -> Record:
    if isinstance(item, str):
        return {"text": item}
    if not isinstance(item, dict):
        raise BadFile(f"{where} is {type(item).__name__}, not an object", hint='each must be like {"text": ...}')
    return item


def read_csv(path: Path, repairs: Repairs) -> Iterator[Record]:
    """Rows by the names in the first line; `,` `;` or a tab between cells, whichever the first line has most of."""
    csv.field_size_limit(1 << 30)
    lines = _Rows(lines_of(path, repairs, newline=""))
    delimiter = _delimiter(path, lines.peek())
    with edge(f"{path.as_posix()}:1", "the first line of a csv"):
        names = [name.strip() for name in lines.next_row(delimiter) or []]
    if len(set(names)) < len(names):
        raise BadFile(f"{path.as_posix()!r} has two columns of one name: {', '.join(names)}")
    yield from _rows(path, lines, delimiter, names, repairs)


def _delimiter(path: Path, first: str) -> str:
    return "\t" if suffix_of(path) == ".tsv" else max(",;\t", key=first.count)


def _rows(path: Path, lines: _Rows, delimiter: str, names: list[str], repairs: Repairs) -> Iterator[Record]:
    while True:
        try:
            row = _row(path, lines, delimiter, names)
        except BadFile as error:
            repairs.refuse(error, f"{path.as_posix()}:{lines.first_line}")
            lines.try_again_after_first()
            continue
        if row is None:
            return
        if row:
            yield row


def _row(path: Path, lines: _Rows, delimiter: str, names: list[str]) -> Record | None:
    """The next row, {} for an empty line, None at the end."""
    try:
        cells = lines.next_row(delimiter)
    except csv.Error as error:
        raise BadFile(f"{path.as_posix()}:{lines.first_line} is not csv: {error}") from None
    if cells and len(cells) != len(names):
        raise BadFile(
            f"{path.as_posix()}:{lines.first_line} has {len(cells)} cells, the first line has {len(names)}",
            hint='put texts with commas in "',
        )
    return None if cells is None else dict(zip(names, cells, strict=True)) if cells else {}


class _Rows:
    """Rows of a csv that can be left and entered again at the next line.

    A quote that is opened and never closed makes one row of all that follows; only its first line is at fault.
    """

    MAX_AGAIN = 1 << 20  # lines that are read again, over the whole file

    def __init__(self, lines: Iterable[str]):
        self.lines = iter(lines)
        self.waiting: deque[str] = deque()
        self.taken: list[str] = []
        self.next_line = 1
        self.first_line = 1
        self.num_again = 0

    def peek(self) -> str:
        line = next(self.lines, "")
        self.waiting.append(line)
        return line

    def next_row(self, delimiter: str) -> list[str] | None:
        """Cells of the next row; None at the end."""
        self.first_line, self.taken = self.next_line, []
        return next(csv.reader(self._feed(), delimiter=delimiter, strict=True), None)

    def _feed(self) -> Iterator[str]:
        while (line := self.waiting.popleft() if self.waiting else next(self.lines, None)) is not None:
            self.taken.append(line)
            self.next_line += 1
            yield line

    def try_again_after_first(self) -> None:
        """Take back all lines of the last row but its first."""
        again = self.taken[1:]
        self.num_again += len(again)
        if self.num_again <= self.MAX_AGAIN:
            self.waiting.extendleft(reversed(again))
            self.next_line -= len(again)


def read_xml(path: Path, repairs: Repairs) -> Iterator[Record]:
    """The articles of a MediaWiki dump; any other XML is text."""
    return read_dump(path, repairs) if is_dump(path) else read_text(path, repairs)


def read_archive(path: Path, repairs: Repairs) -> Iterator[Record]:
    """The records of every member; one that cannot be read is refused, one that is no text is left out."""
    with TemporaryDirectory() as scratch:
        for name, member in members(path, Path(scratch), repairs):
            yield from _member(path, name, member, repairs)


def _member(path: Path, name: str, member: Path, repairs: Repairs) -> Iterator[Record]:
    if member.stat().st_size == 0:
        return
    try:
        yield from read_records(member, repairs)
    except UserError as error:
        if isinstance(error, NotText) and suffix_of(member) not in READERS:
            repairs.left_out.append(f"{path.as_posix()}/{name}")
        else:
            told = type(error)(error.problem.replace(member.as_posix(), f"{path.as_posix()}/{name}"), hint=error.hint)
            repairs.refuse(told, f"{path.as_posix()}/{name}")


READERS: dict[str, Reader] = {
    ".jsonl": read_jsonl,
    ".ndjson": read_jsonl,
    ".json": read_json,
    ".csv": read_csv,
    ".tsv": read_csv,
    ".parquet": read_parquet,
    ".arrow": read_arrow,
    ".feather": read_arrow,
    ".txt": read_text,
    ".md": read_text,
    ".html": read_html,
    ".htm": read_html,
    ".xhtml": read_html,
    ".pdf": read_pdf,
    ".docx": read_docx,
    ".epub": read_epub,
    ".warc": read_warc,
    ".wet": read_warc,
    ".xml": read_xml,
    ".zip": read_archive,
    ".tar": read_archive,
}
"""By suffix, packings left off; every other file is read as text."""

TABULAR = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".arrow", ".feather")
"""The suffixes of files that hold one example a record."""
