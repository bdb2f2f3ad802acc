"""How often each word occurs in a text of any size, exactly, within a memory cap.

    texts -> blocks of 4 MB -> words by the pattern -> counts of the block \
                                                                            > one table, merged as it doubles
    (two threads, one block each)                      counts of the block /
                                                       the table reaches the cap: a sorted run on disk, a new table
    at the end: the runs merged, range by range

Counts are exact whatever the cap; only the time depends on it. numpy and pyarrow do the work and let go of the
interpreter's lock, so threads are enough.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pretune.base.limits import usable_cores
from pretune.text.read.values import mend_surrogates
from pretune.tokens.learn.splitting import TEXT_BORDER, Digits, word_starts

Flat = tuple[NDArray[np.uint8], NDArray[np.int64]]
"""(the bytes of all words, where each begins and the last ends [W + 1])."""
BLOCK_CHARACTERS = 2 << 20
SHARES = 12
"""What is held and what waits take a twelfth of the memory each: putting them together takes four times both."""
ROW_BYTES = 24
"""Of one word in a table, next to its own bytes: count, offset, and what merging takes."""
LEFT_OUT = b"left_out"
EMPTY = pa.table({"word": pa.array([], pa.large_binary()), "count": pa.array([], pa.int64())})


def count_words(
    texts: Iterable[str],
    *,
    digits: Digits = "one",
    memory: float = 1e9,
    scratch: Path | None = None,
    most: int | None = None,
    single: bool = False,
) -> pa.Table:
    """The distinct words of many texts and how often each occurs, in no promised order.

    Args:
        texts: each is cut for itself; lone surrogates are U+FFFD.
        memory: bytes that counting may take; what does not fit goes to disk.
        scratch: folder for what goes to disk; None: nothing does.
        most: bytes of words that will be asked for (`most_frequent`): the rarest beyond need not come back into
            memory. None: all do.
        single: whether words of one byte, which have no pairs, will be asked for too.

    Returns:
        A table with the columns word (UTF-8, large_binary) and count (int64).
    """
    held = Held(memory, scratch)
    for block in _counted(_blocks(texts), digits):
        held.add(block)
    return held.close(most, single)


def _blocks(texts: Iterable[str]) -> Iterator[str]:
    """Texts joined with borders, about BLOCK_CHARACTERS each."""
    waiting: list[str] = []
    size = 0
    for text in texts:
        waiting.append(mend_surrogates(text))
        size += len(text) + 1
        if size >= BLOCK_CHARACTERS:
            yield TEXT_BORDER.join(waiting)
            waiting, size = [], 0
    if waiting:
        yield TEXT_BORDER.join(waiting)


def _counted(blocks: Iterator[str], digits: Digits) -> Iterator[pa.Table]:
    """The counts of each block, in order; as many at once as there are cores, four at most."""
    cores = min(4, usable_cores())
    with ThreadPoolExecutor(cores) as threads:
        coming: list[Future[pa.Table]] = []
        for block in blocks:
            coming.append(threads.submit(count_block, block, digits))
            if len(coming) > cores:
                yield coming.pop(0).result()
        for future in coming:
            yield future.result()


def count_block(block: str, digits: Digits = "one") -> pa.Table:
    """Words and counts of texts that are joined with borders."""
    codes = np.frombuffer(block.encode("utf-32-le", "surrogatepass"), "<u4")
    starts = np.flatnonzero(word_starts(codes, digits))
    data = block.encode("utf-8", "surrogatepass")
    offsets = np.append(_byte_offsets(codes, len(data))[starts] if len(data) > len(codes) else starts, len(data))
    buffers = [None, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(data)]
    counted = pc.value_counts(pa.Array.from_buffers(pa.binary(), len(starts), buffers))
    words = counted.field(0).cast(pa.large_binary())
    table = pa.table({"word": words, "count": counted.field(1)})
    return table.filter(pc.not_equal(words, pa.scalar(TEXT_BORDER.encode("utf-8", "surrogatepass"), pa.large_binary())))


def _byte_offsets(codes: NDArray[np.uint32], size: int) -> NDArray[np.int64]:
    """The byte at which each character begins in UTF-8, int64 [C]."""
    lengths = 1 + (codes >= 0x80).view(np.int8) + (codes >= 0x800).view(np.int8) + (codes >= 0x10000).view(np.int8)
    ends = np.cumsum(lengths, dtype=np.int64)
    assert not len(ends) or ends[-1] == size, "UTF-8 has other lengths"
    return ends - lengths


class Held:
    """Tables of counts put together; what outgrows the memory waits on disk, sorted.

    Args:
        memory: bytes that putting tables together may take; scratch: where runs are written, None: never.
    """

    def __init__(self, memory: float, scratch: Path | None):
        self.memory, self.scratch, self.least = memory, scratch, 64 << 20
        self._tables: list[pa.Table] = [EMPTY]
        self._waiting = self._merged = 0
        self._runs: list[Path] = []

    def add(self, table: pa.Table) -> None:
        """Add the counts of one block."""
        self._tables.append(table)
        self._waiting += table_bytes(table)
        if self._waiting > min(max(self._merged, self.least), self.memory / SHARES):
            self._merge()

    def _merge(self) -> None:
        self._tables = [_summed(self._tables)]
        self._merged, self._waiting = table_bytes(self._tables[0]), 0
        if self.scratch is not None and SHARES * self._merged > self.memory:
            self._spill(self.scratch)
        pa.default_memory_pool().release_unused()

    def _spill(self, scratch: Path) -> None:
        path = scratch / f"words-{len(self._runs):04d}.arrow"
        table = self._tables[0].sort_by("word")
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=1 << 14)
        self._runs.append(path)
        self._tables, self._merged = [EMPTY], 0

    def close(self, most: int | None = None, single: bool = False) -> pa.Table:
        """All words with their counts; of those on disk at least the most frequent up to `most` bytes."""
        self._merge()
        if not self._runs:
            return self._tables[0]
        assert self.scratch is not None
        if len(self._tables[0]):
            self._spill(self.scratch)
        table = _collected(merged_runs(self._runs), most, single)
        for path in self._runs:
            path.unlink()
        return table


def _collected(tables: Iterator[pa.Table], most: int | None, single: bool) -> pa.Table:
    """The tables as one; with `most`, words that cannot be among the most frequent are dropped on the way."""
    held, size, dropped = [EMPTY], 0, 0
    for table in tables if most is None or single else map(_with_pairs, tables):
        held.append(table)
        size += table_bytes(table)
        if most is not None and size > 4 * most:
            # One word more: at the end it is the one that does not fit, and nothing shorter takes its place.
            kept, gone = _frequent(pa.concat_tables(held), most, beyond=1)
            held, size, dropped = [kept], table_bytes(kept), dropped + gone
    return pa.concat_tables(held).replace_schema_metadata({LEFT_OUT: str(dropped)})


def _with_pairs(table: pa.Table) -> pa.Table:
    """Without the words of one byte."""
    return table.filter(pc.greater(pc.binary_length(table["word"]), 1))


def _frequent(table: pa.Table, most: int, beyond: int = 0) -> tuple[pa.Table, int]:
    """The most frequent words (of equal ones the smallest) up to `most` bytes, and how many others there were.

    Args:
        beyond: words that are kept although they do not fit.
    """
    if (pc.sum(pc.binary_length(table["word"])).as_py() or 0) <= most:
        return table, 0
    table = table.sort_by([("count", "descending"), ("word", "ascending")])
    kept = int(np.searchsorted(np.cumsum(pc.binary_length(table["word"]).to_numpy()), most, side="right")) + beyond
    return table.slice(0, kept).combine_chunks(), len(table) - kept


def table_bytes(table: pa.Table) -> int:
    """About what a table takes in memory."""
    return int(pc.sum(pc.binary_length(table["word"])).as_py() or 0) + ROW_BYTES * len(table)


def _summed(tables: list[pa.Table]) -> pa.Table:
    """Tables of counts as one: every word once."""
    if len(tables) == 1:
        return tables[0]
    summed = pa.concat_tables(tables).group_by("word", use_threads=False).aggregate([("count", "sum")])
    return summed.rename_columns(["word", "count"] if summed.column_names[0] == "word" else ["count", "word"])


def merged_runs(paths: list[Path]) -> Iterator[pa.Table]:
    """The words of sorted runs with their counts added up, range by range: each table lies behind the one before."""
    readers = [_batches(path) for path in paths]
    heads = [next(reader, None) for reader in readers]
    while any(head is not None for head in heads):
        bound = min(head["word"][-1].as_py() for head in heads if head is not None)
        ready: list[pa.Table] = []
        for k, head in enumerate(heads):
            if head is None:
                continue
            inside = pc.sum(pc.less_equal(head["word"], pa.scalar(bound, pa.large_binary()))).as_py() or 0
            ready.append(head.slice(0, inside))
            rest = head.slice(inside)
            heads[k] = rest if len(rest) else next(readers[k], None)
        yield _summed([EMPTY, *ready])


def _batches(path: Path) -> Iterator[pa.Table]:
    with pa.OSFile(str(path), "rb") as source, pa.ipc.open_file(source) as reader:
        for k in range(reader.num_record_batches):
            yield pa.Table.from_batches([reader.get_batch(k)])


def frequent_words(table: pa.Table, most: int, single: bool = False) -> tuple[pa.Table, int]:
    """The most frequent words (of equal ones the smallest) up to `most` bytes, and how many others there were.

    Args:
        table: from `count_words` with the same `most` and `single`; whatever its memory was, the answer is the same.
    """
    dropped = int((table.schema.metadata or {}).get(LEFT_OUT, b"0"))
    kept, left_out = _frequent(table if single else _with_pairs(table), most)
    return kept, dropped + left_out


def most_frequent(table: pa.Table, most: int) -> tuple[Flat, NDArray[np.int64], int]:
    """The words that merging reads: those of `frequent_words`.

    Returns:
        ((bytes of all words [uint8], where each begins and the last ends [int64, W + 1]), counts [int64, W], number
        of words left out). Words of one byte have no pairs and are left away.
    """
    kept, left_out = frequent_words(table, most)
    return flat(kept["word"]), kept["count"].to_numpy(), left_out


def flat(column: pa.ChunkedArray) -> Flat:
    """(the bytes of all texts or words [uint8], where each begins and the last ends [int64, T + 1])."""
    parts = [_flat(chunk) for chunk in column.chunks if len(chunk)]
    sizes = [np.diff(offsets) for _, offsets in parts]
    data = [part for part, _ in parts]
    ends = np.cumsum(np.concatenate([np.zeros(1, np.int64), *sizes]), dtype=np.int64)
    return data[0] if len(data) == 1 else np.concatenate([np.empty(0, np.uint8), *data]), ends


def _flat(array: pa.Array) -> Flat:
    wide = "i8" if array.type in (pa.large_string(), pa.large_binary()) else "i4"
    _, places, data = array.buffers()
    offsets = np.frombuffer(places, wide)[array.offset : array.offset + len(array) + 1]
    return np.frombuffer(data or b"", np.uint8)[offsets[0] : offsets[-1]], offsets
