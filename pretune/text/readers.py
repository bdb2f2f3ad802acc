"""Readers: a file becomes a stream of records (dicts); a text file is one record, `{"text": ...}`.

    notes.txt a.md code.py        the whole file is one record
    log.jsonl(.gz|.zst) x.json    one object each (an array, or one a line)
    table.csv .tsv                one row each, by the names in the first line
    part.parquet                  one row each

A reader is one line in READERS and a function `(path, count) -> records`.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from pretune.base.errors import BadFile, EmptyInput
from pretune.base.extras import need
from pretune.text.encoding import decode, detect, text_lines

Record = dict[str, Any]
PACKED = (".gz", ".zst")


@dataclass
class Repairs:
    """How many broken sequences of bytes became U+FFFD, over all that was read."""

    broken: int = 0


def suffix_of(path: Path) -> str:
    """`.jsonl` of `log.jsonl.gz`, in lower case."""
    suffixes = [s.lower() for s in path.suffixes if s.lower() not in PACKED]
    return suffixes[-1] if suffixes else ""


def stem_of(path: Path) -> str:
    """`train` of `train.jsonl.gz`, in lower case."""
    name = path.name.lower()
    for packed in PACKED:
        name = name.removesuffix(packed)
    return name.removesuffix(suffix_of(path))


def read_records(path: Path, repairs: Repairs | None = None) -> Iterator[Record]:
    """The records of one file, streaming.

    Raises:
        NotText: binary, or in no encoding that could be told; EmptyInput: no bytes at all;
        BadFile: not what its name says, with the line; MissingExtra: `.zst` without the extra `data`.
    """
    if path.stat().st_size == 0:
        raise EmptyInput(f"{path.as_posix()!r} is empty")
    reader = READERS.get(suffix_of(path), read_text)
    return reader(path, repairs or Repairs())


@contextmanager
def open_bytes(path: Path) -> Iterator[BinaryIO]:
    """A file's bytes, unpacked; raises BadFile for a damaged archive."""
    with path.open("rb") as raw:
        try:
            if path.suffix.lower() == ".gz":
                with gzip.open(raw) as unpacked:
                    yield cast(BinaryIO, unpacked)
            elif path.suffix.lower() == ".zst":
                need(["data"])
                import zstandard

                with zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True) as unpacked:
                    yield io.BufferedReader(unpacked)  # type: ignore[type-var,unused-ignore]
            else:
                yield raw
        except _broken_archive() as error:
            raise BadFile(f"{path.as_posix()!r} is a damaged archive: {error}") from None


def _broken_archive() -> tuple[type[Exception], ...]:
    zstandard = sys.modules.get("zstandard")  # only if it was needed
    return (gzip.BadGzipFile, zlib.error, EOFError, *([zstandard.ZstdError] if zstandard else []))


def _lines(path: Path, repairs: Repairs, newline: str | None = None) -> Iterator[str]:
    name = path.as_posix()
    with open_bytes(path) as stream:
        encoding = detect(stream, name)
    with open_bytes(path) as stream:
        for line, broken in text_lines(stream, encoding, name, newline):
            repairs.broken += broken
            yield line


# ---- one function each --------------------------------------------------------------------------


def read_text(path: Path, repairs: Repairs) -> Iterator[Record]:
    """The whole file as one record."""
    with open_bytes(path) as stream:
        found = decode(stream.read(), path.as_posix())
    repairs.broken += found.repaired
    yield {"text": found.text}


def read_jsonl(path: Path, repairs: Repairs) -> Iterator[Record]:
    """One JSON object (or text) a line; blank lines are passed over."""
    for number, line in enumerate(_lines(path, repairs), 1):
        if line.strip():
            yield _record(_parse(line, f"{path.as_posix()}:{number}"), f"{path.as_posix()}:{number}")


def read_json(path: Path, repairs: Repairs) -> Iterator[Record]:
    """An array of objects, one object, or, as many do under this name, one object a line."""
    text = "".join(_lines(path, repairs))
    try:
        tree = json.loads(text)
    except json.JSONDecodeError as error:
        if error.msg != "Extra data":
            raise BadFile(f"{path.as_posix()}:{error.lineno} is not JSON: {error.msg}") from None
        yield from read_jsonl(path, Repairs())
        return
    for number, item in enumerate(tree if isinstance(tree, list) else [tree]):
        yield _record(item, f"{path.as_posix()}#{number}")


def _parse(line: str, where: str) -> Any:
    try:
        return json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        raise BadFile(f"{where} is not JSON: {error}", hint="mend or delete this line") from None


def _record(item: Any, where: str) -> Record:
    if isinstance(item, str):
        return {"text": item}
    if not isinstance(item, dict):
        raise BadFile(f"{where} is {type(item).__name__}, not an object", hint='each must be like {"text": ...}')
    return item


def read_csv(path: Path, repairs: Repairs) -> Iterator[Record]:
    """Rows by the names in the first line; `,` `;` or a tab between cells, whichever the first line has most of."""
    csv.field_size_limit(1 << 30)
    lines = _lines(path, repairs, newline="")
    first = next(lines, "")
    delimiter = "\t" if suffix_of(path) == ".tsv" else max(",;\t", key=first.count)
    rows = csv.reader(_with_first(first, lines), delimiter=delimiter, strict=True)
    names = [name.strip() for name in next(rows, [])]
    if len(set(names)) < len(names):
        raise BadFile(f"{path.as_posix()!r} has two columns of one name: {', '.join(names)}")
    yield from _rows(path, rows, names)


def _rows(path: Path, rows: Any, names: list[str]) -> Iterator[Record]:
    try:
        for cells in rows:
            if cells and len(cells) != len(names):
                where = f"{path.as_posix()}:{rows.line_num}"
                raise BadFile(
                    f"{where} has {len(cells)} cells, the first line has {len(names)}",
                    hint='put texts with commas in "',
                )
            if cells:
                yield dict(zip(names, cells, strict=True))
    except csv.Error as error:
        raise BadFile(f"{path.as_posix()}:{rows.line_num} is not csv: {error}") from None


def _with_first(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def read_parquet(path: Path, repairs: Repairs) -> Iterator[Record]:
    import pyarrow
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                yield from batch.to_pylist()
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise BadFile(f"{path.as_posix()!r} is not parquet, or damaged: {error}") from None


READERS: dict[str, Callable[[Path, Repairs], Iterator[Record]]] = {
    ".jsonl": read_jsonl,
    ".ndjson": read_jsonl,
    ".json": read_json,
    ".csv": read_csv,
    ".tsv": read_csv,
    ".parquet": read_parquet,
    ".txt": read_text,
    ".md": read_text,
}
"""By suffix, `.gz` and `.zst` left off; every other file is read as text."""

TABULAR = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")
"""The suffixes of files that hold one example a record."""
