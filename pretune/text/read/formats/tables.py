"""Tables in columns: Parquet, and Arrow's own files (.arrow, .feather, both the file and the stream layout).

Damaged files can carry offsets that point outside of the data, so every column is validated before a cell is read.
A value that Python has no type for costs no row: whoever asks for the text does not ask for the time next to it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pretune.base.errors import BadFile, NotText
from pretune.text.read.encoding import decode
from pretune.text.read.formats.record import PACKED, Record, Repairs, edge, open_bytes

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

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
                    yield from _group(file, group, repairs)
            except BadFile as error:
                repairs.refuse(error, f"{where}#group={group}")


def _group(file: pq.ParquetFile, group: int, repairs: Repairs) -> Iterator[Record]:
    wanted = [field.name for field in file.schema_arrow if not _is_media(field.type)]
    names = wanted if len(wanted) < len(file.schema_arrow) else None
    for batch in file.iter_batches(batch_size=ROWS, row_groups=[group], columns=names):
        yield from _rows(batch, repairs)


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
                yield from _rows(batch, repairs)


def _source(path: Path) -> pa.NativeFile:
    import pyarrow as pa

    if path.suffix.lower() not in PACKED:
        return pa.OSFile(str(path))
    with open_bytes(path) as raw:  # the file layout is read from its end, so it must be whole
        return pa.BufferReader(raw.read())


def _file_rows(file: pa.RecordBatchFileReader, where: str, repairs: Repairs) -> Iterator[Record]:
    for number in range(file.num_record_batches):
        try:
            with edge(f"{where}#batch={number}", "Arrow"):
                yield from _rows(file.get_batch(number), repairs)
        except BadFile as error:
            repairs.refuse(error, f"{where}#batch={number}")


# ---- cells --------------------------------------------------------------------------------------


def _rows(batch: pa.RecordBatch, repairs: Repairs) -> Iterator[Record]:
    """Each row as a record; pictures and sounds are left out of it."""
    sound = {f.name: _sound(batch.column(k)) for k, f in enumerate(batch.schema) if not _is_media(f.type)}
    for start in range(0, batch.num_rows, ROWS):
        cells = [_cells(column.slice(start, ROWS), repairs) for column in sound.values()]
        yield from (dict(zip(sound, row, strict=True)) for row in zip(*cells, strict=True))


def _is_media(kind: pa.DataType) -> bool:
    """A picture or a sound, as the `datasets` library keeps it."""
    import pyarrow as pa

    return bool(pa.types.is_struct(kind)) and {"bytes", "path"} == {field.name for field in kind}


def _sound(column: pa.Array) -> pa.Array:
    """The column, known to be safe to look at; texts that are no UTF-8 come as bytes."""
    import pyarrow as pa

    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        if not pa.types.is_string(column.type) and not pa.types.is_large_string(column.type):
            raise
        column = column.cast(pa.binary() if pa.types.is_string(column.type) else pa.large_binary())
        column.validate(full=True)
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _cells(column: pa.Array, repairs: Repairs) -> list[object]:
    """The values in a column: bytes that are text are text, a number that is none is None."""
    import pyarrow as pa

    values = _values(column)
    if pa.types.is_floating(column.type):
        return [value if value is not None and math.isfinite(value) else None for value in values]
    return [_decoded(value, repairs) for value in values] if "binary" in str(column.type) else values


def _values(column: pa.Array) -> list[Any]:
    """Python's values; a time that Python has no type for (nanoseconds, the year 20000) is written out."""
    import pyarrow as pa

    try:
        if pa.types.is_timestamp(column.type) and column.type.unit == "ns":
            column = column.cast(pa.timestamp("us", column.type.tz))  # with pandas installed it were a type of its own
        return list(column.to_pylist())
    except Exception:  # of Python's dates, of the library of time zones, of Arrow's own
        if not pa.types.is_temporal(column.type):
            return [_value(one) for one in column]
    try:
        return [text and text.replace(" ", "T") for text in column.cast(pa.string()).to_pylist()]
    except pa.ArrowInvalid:  # a zone that nobody knows
        return [None] * len(column)


def _value(scalar: pa.Scalar) -> object:
    try:
        return scalar.as_py()
    except Exception:  # as above, in a list or an object
        return None


def _decoded(value: object, repairs: Repairs) -> object:
    """Bytes as the text they are, also within lists and objects; others stay."""
    if isinstance(value, list):
        return [_decoded(one, repairs) for one in value]
    if isinstance(value, dict):
        return {name: _decoded(one, repairs) for name, one in value.items()}
    if not isinstance(value, bytes):
        return value
    try:
        return repairs.text_of(decode(value, "bytes"))
    except NotText:
        return value


def _refuse_packed(path: Path) -> None:
    if path.suffix.lower() in PACKED:
        raise BadFile(f"{path.as_posix()!r} is packed twice", hint="parquet is packed within; unpack the outer layer")
