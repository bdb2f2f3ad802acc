"""Token files of other programs: nanoGPT's .bin, Megatron's .bin and .idx, Arrow's lists; read and written.

    nanoGPT    train.bin, val.bin         uint16, nothing else; a document ends with the tokenizer's end token
    Megatron   NAME.bin, NAME.idx         below; ids as they are in our store, so NAME.bin has the same bytes
    Arrow      train.ids.arrow            a row per document: ids, id, source, bytes

    NAME.idx   "MMIDIDX\\0\\0", uint64 1 (version), uint8 code of the ids' type, uint64 S, uint64 D + 1;
               int32 [S] tokens of each sequence, int64 [S] its first byte in NAME.bin, int64 [D + 1] the first
               sequence of each document and one past the last. All little-endian; our documents are one sequence each.

Source: NVIDIA Megatron-LM, megatron/core/datasets/indexed_dataset.py; karpathy/nanoGPT, data/openwebtext/prepare.py.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pretune.base.errors import BadFile, NotSupported
from pretune.text.read.split import NAMES, SPLITS
from pretune.tokens.store.store import Store, dtype_for

if TYPE_CHECKING:
    import pyarrow as pa

    from pretune.tokens.rows import Ids


AT_ONCE = 1 << 22
MAGIC, VERSION = b"MMIDIDX\x00\x00", 1
HEADER = struct.Struct("<9sQBQQ")
CODES = {1: "<u1", 2: "<i1", 3: "<i2", 4: "<i4", 5: "<i8", 8: "<u2"}
"""Megatron's codes of whole numbers; it has none for uint32."""
FILE_NAMES = {"train": "train", "validation": "val", "test": "test"}
"""What nanoGPT calls our splits."""
LONGEST = 2**31 - 1
"""Tokens of a document that Megatron's and Arrow's 32 bits can count."""


@dataclass(frozen=True)
class TokenFile:
    """Some documents of a file.

    Args:
        ids: of all these documents, [N], whatever whole numbers the file has.
        ends: one past the last id of each document, int64 [D].
        table: id, source (and more) of each document, if the file says so.
    """

    ids: Ids
    ends: NDArray[np.int64]
    table: pa.Table | None = None


def split_of_file(path: Path) -> str:
    """`validation` of val.bin; what has no split's name is train."""
    return NAMES.get(path.name.lower().partition(".")[0], "train")


def read_files(paths: list[Path], *, vocab_size: int, end: int) -> Iterator[tuple[Path, TokenFile]]:
    """The documents of token files, about 4 M ids at a time, end tokens taken off.

    Args:
        vocab_size: of the tokenizer; a file without a type of its own is uint16, from 65,537 words on uint32.
        end: the id that ends a document.

    Raises:
        BadFile: not such a file, one that was cut, or one with ids outside of the vocabulary.
    """
    for path in paths:
        if path.suffix == ".bin" and path.with_suffix(".idx") in paths:
            continue
        if path.suffix == ".idx":
            parts = read_megatron(path)
        elif path.suffix == ".arrow":
            parts = read_arrow(path)
        else:
            parts = read_nanogpt(path, dtype_for(vocab_size), end)
        for part in parts:
            yield path, _without_ends(_checked(part, path, vocab_size), end)


def _checked(part: TokenFile, path: Path, vocab_size: int) -> TokenFile:
    low, high = int(part.ids.min(initial=0)), int(part.ids.max(initial=0))
    if low < 0 or high >= vocab_size:
        wrong = low if low < 0 else high
        hint = "give the tokenizer that these ids were made with"
        raise BadFile(f"{path.as_posix()!r} holds id {wrong}, but the vocabulary has {vocab_size:,} words", hint=hint)
    return part


def _without_ends(part: TokenFile, end: int) -> TokenFile:
    begins = np.concatenate([[0], part.ends[:-1]])
    is_ended = part.ends > begins
    is_ended[is_ended] = part.ids[part.ends[is_ended] - 1] == end
    ids = np.delete(part.ids, part.ends[is_ended] - 1)
    return TokenFile(ids.astype(np.uint32), part.ends - np.cumsum(is_ended), part.table)


# ---- reading ------------------------------------------------------------------------------------


def read_nanogpt(path: Path, dtype: str, end: int) -> Iterator[TokenFile]:
    """Documents up to each end token; what follows the last one is a document too."""
    ids = _mapped(path, np.dtype(dtype).newbyteorder("<"))
    starts = range(0, len(ids), AT_ONCE)
    found = [np.flatnonzero(ids[at : at + AT_ONCE] == end) + at + 1 for at in starts]
    ends = np.concatenate([np.empty(0, np.int64), *found])
    if len(ids) and (not len(ends) or ends[-1] != len(ids)):
        ends = np.append(ends, len(ids))
    yield from _parts(ids, ends)


def read_megatron(path: Path) -> Iterator[TokenFile]:
    """Documents by their index."""
    data = path.read_bytes()
    where = path.as_posix()
    magic, version, code, sequences, documents = HEADER.unpack_from(data.ljust(HEADER.size, b"\0"))
    if magic != MAGIC or version != VERSION:
        raise BadFile(f"{where!r} is no index of Megatron's (MMIDIDX, version {VERSION})")
    if code not in CODES:
        raise BadFile(f"{where!r} says ids are of type {code}, which is no whole number")
    if len(data) < HEADER.size + 12 * sequences + 8 * documents or not documents:
        raise BadFile(f"{where!r} was cut: it tells of {sequences:,} sequences and has {len(data):,} bytes")
    sizes = np.frombuffer(data, "<i4", sequences, HEADER.size).astype(np.int64)
    pointers = np.frombuffer(data, "<i8", sequences, HEADER.size + 4 * sequences)
    firsts = np.frombuffer(data, "<i8", documents, HEADER.size + 12 * sequences)
    ids, stops = _mapped(path.with_suffix(".bin"), np.dtype(CODES[code])), np.concatenate([[0], np.cumsum(sizes)])
    if (sizes < 0).any() or not np.array_equal(pointers, stops[:-1] * ids.itemsize) or stops[-1] != len(ids):
        raise BadFile(
            f"{where!r} does not fit {path.with_suffix('.bin').name}: sequences leave gaps or reach beyond it"
        )
    if firsts[0] != 0 or firsts[-1] != sequences or (np.diff(firsts) < 0).any():
        raise BadFile(f"{where!r} gives its documents sequences that are not there")
    yield from _parts(ids, stops[firsts[1:]])


def read_arrow(path: Path) -> Iterator[TokenFile]:
    """Documents by rows of lists; `id` and `source` where there are such columns."""
    import pyarrow as pa

    try:
        with pa.memory_map(str(path)) as source, pa.ipc.open_file(source) as file:
            for k in range(file.num_record_batches):
                batch = file.get_batch(k)
                batch.validate(full=True)
                yield _arrow_part(batch)
    except (pa.ArrowException, KeyError) as error:
        raise BadFile(f"{path.as_posix()!r} is no Arrow file with lists of ids: {error}") from None


def _arrow_part(batch: pa.RecordBatch) -> TokenFile:
    import pyarrow as pa

    lists = batch.column("ids")
    flat, ends = lists.flatten(), np.cumsum(lists.value_lengths().to_numpy(zero_copy_only=False))
    if not pa.types.is_integer(flat.type) or lists.null_count or flat.null_count:
        raise pa.ArrowInvalid(f"`ids` must be lists of whole numbers, not {lists.type}")
    return TokenFile(flat.to_numpy(), ends.astype(np.int64), pa.Table.from_batches([batch]).drop_columns(["ids"]))


def _mapped(path: Path, kind: np.dtype[np.integer]) -> Ids:
    size = path.stat().st_size if path.is_file() else -1
    if size < 0 or size % kind.itemsize:
        told = "is not there" if size < 0 else f"has {size:,} bytes, which are no whole number of {kind.name} ids"
        raise BadFile(f"{path.as_posix()!r} {told}")
    return np.memmap(path, kind, mode="r") if size else np.empty(0, kind)


def _parts(ids: Ids, ends: NDArray[np.int64]) -> Iterator[TokenFile]:
    """Whole documents, about AT_ONCE ids at a time."""
    for first, last in batches(ends):
        begin = int(ends[first - 1]) if first else 0
        yield TokenFile(np.asarray(ids[begin : int(ends[last - 1])]), ends[first:last] - begin)


def batches(ends: Ids) -> Iterator[tuple[int, int]]:
    """(first, one past the last) document of stretches of about AT_ONCE tokens."""
    first = 0
    while first < len(ends):
        begin = int(ends[first - 1]) if first else 0
        last = int(np.searchsorted(ends, np.asarray(begin + AT_ONCE, ends.dtype), "right"))
        yield first, max(last, first + 1)
        first = max(last, first + 1)


# ---- writing ------------------------------------------------------------------------------------


def write_nanogpt(folder: Path, out: Path) -> list[Path]:
    """train.bin, val.bin, test.bin; raises NotSupported for a vocabulary that uint16 cannot hold."""
    made = []
    for split, store in _stores(folder).items():
        if store.ids.itemsize != 2:
            raise NotSupported(f"nanoGPT reads uint16, and a vocabulary of {store.vocab_size:,} words needs more")
        path = out / f"{FILE_NAMES[split]}.bin"
        path.write_bytes(b"")
        with path.open("ab") as file:
            for start in range(0, store.num_tokens, AT_ONCE):
                file.write(np.ascontiguousarray(store.ids[start : start + AT_ONCE]).data)
        made.append(path)
    return made


def write_megatron(folder: Path, out: Path) -> list[Path]:
    """SPLIT.bin and SPLIT.idx; ids beyond uint16 are int32. Raises NotSupported for a document of 2^31 tokens."""
    made = []
    for split, store in _stores(folder).items():
        code = 8 if store.ids.itemsize == 2 else 4
        lengths = _countable(store, "Megatron")
        data, index = out / f"{split}.bin", out / f"{split}.idx"
        with data.open("wb") as file:
            for start in range(0, store.num_tokens, AT_ONCE):
                file.write(np.ascontiguousarray(store.ids[start : start + AT_ONCE], CODES[code]).data)
        with index.open("wb") as file:
            file.write(HEADER.pack(MAGIC, VERSION, code, len(lengths), len(lengths) + 1))
            file.write(lengths.astype("<i4").data)
            file.write(((store.ends.astype(np.int64) - lengths) * store.ids.itemsize).astype("<i8").data)
            file.write(np.arange(len(lengths) + 1, dtype="<i8").data)
        made += [data, index]
    return made


def write_arrow(folder: Path, out: Path) -> list[Path]:
    """SPLIT.ids.arrow; a document's ids end with its end token. Raises NotSupported for a document of 2^31 tokens."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    made = []
    for split, store in _stores(folder).items():
        _countable(store, "Arrow")
        about = pq.read_table(folder / f"{split}.documents.parquet")
        kind = pa.list_(pa.uint16() if store.ids.itemsize == 2 else pa.uint32())
        path = out / f"{split}.ids.arrow"
        with (
            pa.OSFile(str(path), "wb") as sink,
            pa.ipc.new_file(sink, about.schema.append(pa.field("ids", kind))) as file,
        ):
            for first, last in batches(store.ends):
                begin = int(store.ends[first - 1]) if first else 0
                offsets = np.concatenate([[begin], store.ends[first:last]]).astype(np.int64) - begin
                ids = np.ascontiguousarray(store.ids[begin : begin + int(offsets[-1])])
                lists = pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), pa.array(ids))
                file.write_table(about.slice(first, last - first).append_column("ids", lists))
        made.append(path)
    return made


def _stores(folder: Path) -> dict[str, Store]:
    """Every split that holds tokens."""
    stores = {split: Store.open(folder, split) for split in SPLITS}
    return {split: store for split, store in stores.items() if store.num_tokens}


def _countable(store: Store, reader: str) -> NDArray[np.int64]:
    lengths = store.lengths
    if lengths.max(initial=0) > LONGEST:
        number = int(lengths.argmax())
        raise NotSupported(
            f"document {number:,} has {int(lengths[number]):,} tokens, and {reader} counts to {LONGEST:,}"
        )
    return lengths
