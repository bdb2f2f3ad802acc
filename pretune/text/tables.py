"""Parquet files written row by row, in shards; the same rows give the same bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

ROWS_PER_GROUP = 1024
GROUP_BYTES = 16 << 20
SHARD_BYTES = 256 << 20


class ShardWriter:
    """Writes `STEM-00000.parquet`, `STEM-00001.parquet` ... of about `SHARD_BYTES` of text each.

    Args:
        schema: names and types of the columns.
        numbered: False writes one file, `STEM.parquet`.
    """

    def __init__(self, folder: Path, stem: str, schema: pa.Schema, *, numbered: bool = True):
        self.folder, self.stem, self.schema, self.numbered = folder, stem, schema, numbered
        self.rows: list[Mapping[str, Any]] = []
        self.num_rows, self._shard, self._group_bytes, self._shard_bytes = 0, 0, 0, 0
        self._file: Any = None

    def write(self, row: Mapping[str, Any], num_bytes: int = 0) -> None:
        """Add a row; `num_bytes` is about its size."""
        self.rows.append(row)
        self.num_rows += 1
        self._group_bytes += num_bytes
        if len(self.rows) >= ROWS_PER_GROUP or self._group_bytes >= GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        if not self.rows:
            return
        if self._file is None:
            name = f"{self.stem}-{self._shard:05d}" if self.numbered else self.stem
            self._file = pq.ParquetWriter(self.folder / f"{name}.parquet", self.schema, compression="zstd")
        self._file.write_table(pa.Table.from_pylist(self.rows, schema=self.schema))
        self._shard_bytes += self._group_bytes
        self.rows, self._group_bytes = [], 0
        if self.numbered and self._shard_bytes >= SHARD_BYTES:
            self._end_shard()

    def _end_shard(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file, self._shard, self._shard_bytes = None, self._shard + 1, 0

    def close(self) -> None:
        self._flush()
        self._end_shard()


def read_rows(folder: Path, stem: str, columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
    """Rows of `STEM.parquet` or of its shards, in order; none if there is no such file."""
    for table in read_tables(folder, stem, columns):
        yield from table.to_pylist()


def read_tables(folder: Path, stem: str, columns: list[str] | None = None) -> Iterator[pa.Table]:
    """The rows that read_rows gives, in tables of at most ROWS_PER_GROUP rows and of about GROUP_BYTES."""
    whole = folder / f"{stem}.parquet"
    for path in [whole] if whole.exists() else sorted(folder.glob(f"{stem}-[0-9]*.parquet")):
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                yield file.read_row_group(group, columns=columns)
