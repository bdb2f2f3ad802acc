"""Tables in columns: Parquet, and Arrow's own files (.arrow, .feather, both the file and the stream layout).

Damaged files can carry offsets that point outside of the data, so every batch is validated before a cell is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pretune.base.errors import BadFile
from pretune.text.formats.base import PACKED, Record, Repairs, edge, open_bytes

ROWS = 1024


def read_parquet(path: Path, repairs: Repairs) -> Iterator[Record]:
    """One record a row; a group of rows that is damaged is refused and the next one read."""
    import pyarrow.parquet as pq

    _refuse_packed(path)
    where = path.as_posix()
    with edge(where, "parquet"):
        file = pq.ParquetFile(path)
    with file:
        for group in range(file.num_row_groups):
            try:
                with edge(f"{where}#group={group}", "parquet"):
                    yield from _group(file, group)
            except BadFile as error:
                repairs.refuse(error, f"{where}#group={group}")


def _group(file: Any, group: int) -> Iterator[Record]:
    for batch in file.iter_batches(batch_size=ROWS, row_groups=[group]):
        yield from _rows(batch)


def read_arrow(path: Path, repairs: Repairs) -> Iterator[Record]:
    """One record a row; a damaged batch of a file is refused and the next one read, a damaged stream ends there."""
    import pyarrow as pa

    where = path.as_posix()
    with open_bytes(path) as raw:
        is_file = raw.read(6) == b"ARROW1"
    with edge(where, "Arrow"), _source(path) as source:
        if is_file:
            file = pa.ipc.open_file(source)
            yield from _file_rows(file, where, repairs)
        else:
            for batch in pa.ipc.open_stream(source):
                yield from _rows(batch)


def _source(path: Path) -> Any:
    import pyarrow as pa

    if path.suffix.lower() not in PACKED:
        return pa.OSFile(str(path))
    with open_bytes(path) as raw:  # the file layout is read from its end, so it must be whole
        return pa.BufferReader(raw.read())


def _file_rows(file: Any, where: str, repairs: Repairs) -> Iterator[Record]:
    for number in range(file.num_record_batches):
        try:
            with edge(f"{where}#batch={number}", "Arrow"):
                yield from _rows(file.get_batch(number))
        except BadFile as error:
            repairs.refuse(error, f"{where}#batch={number}")


def _rows(batch: Any) -> Iterator[Record]:
    batch.validate(full=True)
    for start in range(0, batch.num_rows, ROWS):
        yield from batch.slice(start, ROWS).to_pylist()


def _refuse_packed(path: Path) -> None:
    if path.suffix.lower() in PACKED:
        raise BadFile(f"{path.as_posix()!r} is packed twice", hint="parquet is packed within; unpack the outer layer")
