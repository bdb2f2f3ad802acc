"""Parquet files written in shards; the same rows give the same bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pretune.base.json import Json

T = TypeVar("T")

ROWS_PER_GROUP = 1024
GROUP_BYTES = 16 << 20
SHARD_BYTES = 256 << 20
UNIQUE = ("id", "text", "origin", "cluster", "meta")
"""Columns whose values differ from row to row: a dictionary of them takes a third of the time and saves nothing."""

GROUP = ["source", "language"]
"""By what the training split is reported."""


class ShardWriter:
    """Writes `STEM-00000.parquet`, `STEM-00001.parquet` ... of about `SHARD_BYTES` of text each.

    Args:
        schema: names and types of the columns.
        numbered: False writes one file, `STEM.parquet`.
    """

    def __init__(self, folder: Path, stem: str, schema: pa.Schema, *, numbered: bool = True):
        self.folder, self.stem, self.schema, self.numbered = folder, stem, schema, numbered
        self._shard, self._group_rows, self._group_bytes, self._shard_bytes = 0, 0, 0, 0
        self._tables: list[pa.Table] = []
        self._file: pq.ParquetWriter | None = None
        self._thread = ThreadPoolExecutor(1)  # packing a group takes as long as making the next one
        self._writing: Future[None] | None = None

    def add(self, table: pa.Table, sizes: NDArray[np.int64]) -> None:
        """Add rows in the schema's columns; how many at a time changes no byte.

        Args:
            sizes: about the bytes of each row, [N].
        """
        at = 0
        while at < len(table):
            full = int(np.searchsorted(np.cumsum(sizes[at:]), GROUP_BYTES - self._group_bytes)) + 1
            count = min(full, ROWS_PER_GROUP - self._group_rows, len(table) - at)
            self._tables.append(table.slice(at, count))
            self._group_rows += count
            self._group_bytes += int(sizes[at : at + count].sum())
            at += count
            if self._group_rows >= ROWS_PER_GROUP or self._group_bytes >= GROUP_BYTES:
                self._flush()

    def _flush(self) -> None:
        if self._group_rows:
            self._ended()
            self._writing = self._thread.submit(self._write_group, self._tables, self._group_bytes)
        self._tables, self._group_rows, self._group_bytes = [], 0, 0

    def _ended(self) -> None:
        """Wait for the group that is being written: at most one is on its way, and its error comes up here."""
        if self._writing is not None:
            self._writing.result()

    def _write_group(self, tables: list[pa.Table], num_bytes: int) -> None:
        if self._file is None:
            name = f"{self.stem}-{self._shard:05d}" if self.numbered else self.stem
            path, repeated = self.folder / f"{name}.parquet", [n for n in self.schema.names if n not in UNIQUE]
            self._file = pq.ParquetWriter(path, self.schema, compression="zstd", use_dictionary=repeated)
        self._file.write_table(pa.concat_tables(tables).combine_chunks())
        self._shard_bytes += num_bytes
        if self.numbered and self._shard_bytes >= SHARD_BYTES:
            self._end_shard()

    def _end_shard(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file, self._shard, self._shard_bytes = None, self._shard + 1, 0

    def close(self) -> None:
        self._flush()
        self._ended()
        self._thread.shutdown()
        self._end_shard()


def ahead(items: Iterator[T]) -> Iterator[T]:
    """The same items; the next one is made in a thread while this one is worked on."""
    end = object()
    with ThreadPoolExecutor(1) as thread:
        coming: Future[Any] = thread.submit(next, items, end)
        while (item := coming.result()) is not end:
            coming = thread.submit(next, items, end)
            yield item


def sums_of(
    table: pa.Table, columns: Mapping[str, NDArray[np.int64]]
) -> Iterator[tuple[tuple[str, str], dict[str, int]]]:
    """((source, language), sums of the columns [N] over its rows) of each source and language in a table."""
    keyed = pa.table({**{name: table[name] for name in GROUP}, **columns})
    sums = [(name, "sum") for name in columns]
    for row in keyed.group_by(GROUP, use_threads=False).aggregate(sums).to_pylist():  # threads cost more than they do
        yield (row["source"], row["language"]), {name: row[f"{name}_sum"] for name in columns}


def read_rows(folder: Path, stem: str, columns: list[str] | None = None) -> Iterator[Json]:
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
