"""Readers: a file becomes a stream of records (dicts); a text file is one record, `{"text": ...}`.

    notes.txt a.md code.py        the whole file is one record
    page.html paper.pdf           the main text, all pages; with its title
    book.epub report.docx         all chapters, the body; with its title
    log.jsonl x.json              one object each (an array, or one a line), one row of a table by its columns
    table.csv .tsv                one row each, by the names in the first line
    part.parquet .arrow .feather  one row each
    crawl.warc .wet               one page each, with its url
    wiki.xml                      one article each, if it is a MediaWiki dump
    pages.zip .tar .tgz           the records of every member

Behind any of these `.gz .bz2 .xz .zst`. A reader is one line in READERS and a function `(path, repairs) -> records`.
Whatever the bytes are, it gives records or raises a UserError.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from pretune.base.errors import BadFile, EmptyInput, NotText, UserError
from pretune.text.read.encoding import decode
from pretune.text.read.formats.archives import ARCHIVES, members
from pretune.text.read.formats.columnwise import rows_of
from pretune.text.read.formats.delimited import line_of_row, read_csv
from pretune.text.read.formats.html import read_html
from pretune.text.read.formats.jsonl import JSON, JSON_LINES, plain_record, read_jsonl
from pretune.text.read.formats.office import read_docx, read_epub
from pretune.text.read.formats.pdf import read_pdf
from pretune.text.read.formats.record import (
    PACKED,
    Reader,
    Record,
    Repairs,
    lines_of,
    open_bytes,
    opened,
    suffix_of,
)
from pretune.text.read.formats.tables import read_arrow, read_parquet
from pretune.text.read.formats.web import read_warc
from pretune.text.read.formats.wiki import is_dump, read_dump

__all__ = ["ARCHIVES", "PACKED", "READERS", "TABULAR", "Record", "Repairs", "members", "open_bytes", "read_records"]
__all__ += ["line_of", "lines_of", "suffix_of"]


def read_records(path: Path, repairs: Repairs | None = None) -> Iterator[Record]:
    """The records of one file, streaming.

    With `repairs.quarantine` a record that is damaged is set aside there and the next one read.

    Raises:
        NotText: binary, or in an unknown encoding; EmptyInput: no bytes at all;
        BadFile: not what its name says, with the line; MissingExtra: a format that needs the extra `data`.
    """
    with opened(path) as raw:
        if not raw.read(1):
            raise EmptyInput(f"{path.as_posix()!r} is empty")
    reader = READERS.get(suffix_of(path), read_text)
    return reader(path, Repairs() if repairs is None else repairs)


def line_of(path: Path, number: int) -> int | None:
    """The line (from 1) on which record `number` (from 0) of jsonl, csv or tsv begins; None for other formats."""
    suffix = suffix_of(path)
    if suffix in JSON_LINES:
        filled = (k for k, line in enumerate(lines_of(path, Repairs()), 1) if line.strip())
        return next(islice(filled, number, None), None)
    return line_of_row(path, number) if suffix in (".csv", ".tsv") else None


# ---- one function each --------------------------------------------------------------------------


def read_text(path: Path, repairs: Repairs) -> Iterator[Record]:
    """The whole file as one record."""
    with open_bytes(path) as stream:
        found = decode(stream.read(), path.as_posix())
    yield {"text": repairs.text_of(found)}


def read_json(path: Path, repairs: Repairs) -> Iterator[Record]:
    """An array of objects, one object, a table by its columns, or, as many do under this name, one object a line."""
    name, own = path.as_posix(), Repairs()
    text = "".join(lines_of(path, own))
    try:
        tree = JSON.decode(text)
    except json.JSONDecodeError as error:
        if error.msg != "Extra data":
            raise BadFile(f"{name}:{error.lineno} is not JSON: {error.msg}") from None
        yield from read_jsonl(path, repairs)  # which mends the same places
        return
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits, lists in lists without end
        raise BadFile(f"{name!r} is not JSON: {error}") from None
    repairs.take(own)
    for number, item in enumerate(tree if isinstance(tree, list) else rows_of(tree) or [tree]):
        try:
            record = plain_record(item, f"{name}#{number}")
        except BadFile as error:
            repairs.refuse(error, f"{name}#{number}")
            continue
        yield record


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
            named = type(error)(error.problem.replace(member.as_posix(), f"{path.as_posix()}/{name}"), hint=error.hint)
            repairs.refuse(named, f"{path.as_posix()}/{name}")


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
