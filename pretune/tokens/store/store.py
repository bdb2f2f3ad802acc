"""The token store: raw files that any program can map into memory.

train.bin                 ids, little-endian uint16 (uint32 from 65,536 words on)
train.ends                uint64; ends[k] is one past document k, its end token included
train.documents.parquet   row k: id, source, bytes of document k
manifest.json             dtype, vocab_size, end_id, counts of every split
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pretune.base.errors import BadFile, Changed, NotAnArtifact
from pretune.base.json import Json

if TYPE_CHECKING:
    import pyarrow as pa

    from pretune.tokens.rows import Ids


MANIFEST = "manifest.json"
ROWS_PER_GROUP = 1 << 20


def dtype_for(vocab_size: int) -> str:
    """The smallest type that holds every id."""
    return "uint16" if vocab_size <= 1 << 16 else "uint32"


def read_manifest(folder: Path) -> Json:
    """The manifest of a token store; raises NotAnArtifact if there is none, BadFile if it cannot be one."""
    path = folder / MANIFEST
    if not path.is_file():
        raise NotAnArtifact(f"{folder.as_posix()!r} has no {MANIFEST}", hint="make it with `pretune tokens`")
    try:
        manifest: Json = json.loads(path.read_text(encoding="utf-8"))
        missing = [name for name in ("dtype", "vocab_size", "end_id", "splits") if name not in manifest]
    except (ValueError, TypeError) as error:
        raise BadFile(f"{path.as_posix()!r} is no manifest of tokens: {error}") from None
    if missing:
        raise BadFile(f"{path.as_posix()!r} is no manifest of tokens: it says nothing of {', '.join(missing)}")
    if manifest["dtype"] != dtype_for(manifest["vocab_size"]):
        told = f"{manifest['dtype']!r} for a vocabulary of {manifest['vocab_size']:,}"
        raise BadFile(f"{path.as_posix()!r}: ids are {told}, not {dtype_for(manifest['vocab_size'])!r}")
    return manifest


@dataclass(frozen=True)
class Store:
    """One split of a token store.

    Args:
        ids: all tokens, [num_tokens], mapped from disk.
        ends: one past each document, [num_documents].
        num_bytes: bytes of UTF-8 text that the tokens stand for.
    """

    ids: Ids
    ends: npt.NDArray[np.uint64]
    num_bytes: int
    vocab_size: int
    end_id: int

    @classmethod
    def open(cls, folder: str | Path, split: str) -> Store:
        """Open `train`, `validation` or `test`; an absent split is empty.

        Raises:
            NotAnArtifact: no token store; BadFile: a manifest that cannot be one.
            Changed: a file is missing, has another length than the manifest says, or ends elsewhere than its documents.
        """
        folder = Path(folder)
        manifest = read_manifest(folder)
        facts = manifest["splits"].get(split, {"tokens": 0, "documents": 0, "bytes": 0})
        ids = _map(folder / f"{split}.bin", manifest["dtype"], facts["tokens"])
        ends = np.asarray(_map(folder / f"{split}.ends", "uint64", facts["documents"]), np.uint64)
        if (last := int(ends[-1]) if len(ends) else 0) != len(ids):
            told = f"its last document ends at token {last:,} of {len(ids):,}"
            raise Changed(f"{(folder / split).as_posix()}.ends: {told}", hint="build the tokens again")
        return cls(ids, ends, facts["bytes"], manifest["vocab_size"], manifest["end_id"])

    @property
    def num_tokens(self) -> int:
        return len(self.ids)

    @property
    def num_documents(self) -> int:
        return len(self.ends)

    def document(self, number: int) -> Ids:
        """The tokens of one document, its end token included."""
        start = int(self.ends[number - 1]) if number else 0
        return self.ids[start : int(self.ends[number])]

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens of each document, its end token included: [num_documents]."""
        lengths = self.ends.astype(np.int64)
        lengths[1:] -= lengths[:-1].copy()
        return lengths

    def spans(self, numbers: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """(first token, one past the last) of these documents."""
        begins = np.where(numbers > 0, self.ends[numbers - 1].astype(np.int64), 0)
        return begins, self.ends[numbers].astype(np.int64)

    def number_of(self, token: int) -> int:
        """The document that a token lies in."""
        return int(np.searchsorted(self.ends, np.uint64(token), "right"))


def _map(path: Path, dtype: str, length: int) -> Ids:
    kind = np.dtype(dtype).newbyteorder("<")
    if length == 0:  # an empty file cannot be mapped
        return np.empty(0, kind)
    size = path.stat().st_size if path.is_file() else -1
    if size != length * kind.itemsize:
        told = "is missing" if size < 0 else f"has {size} bytes, not {length * kind.itemsize}"
        raise Changed(f"{path.as_posix()!r} {told}", hint="build the tokens again")
    return np.memmap(path, kind, mode="r", shape=(length,))


class StoreWriter:
    """Writes one split; `close` returns what the manifest says of it."""

    def __init__(self, folder: Path, split: str, *, vocab_size: int, end_id: int):
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._dtype = np.dtype(dtype_for(vocab_size)).newbyteorder("<")
        self._vocab_size, self._end_id = vocab_size, end_id
        self._ids, self._ends = (folder / f"{split}.bin").open("wb"), (folder / f"{split}.ends").open("wb")
        self._schema = pa.schema([("id", pa.string()), ("source", pa.string()), ("bytes", pa.int64())])
        # Every id is another: a dictionary of them costs time and room.
        self._file = pq.ParquetWriter(
            folder / f"{split}.documents.parquet", self._schema, compression="zstd", use_dictionary=["source"]
        )
        self._waiting: list[pa.Table] = []
        self._facts = {"tokens": 0, "documents": 0, "bytes": 0}

    def add(self, ids: Ids, ends: npt.NDArray[np.int64], documents: pa.Table) -> None:
        """Add documents: the tokens of each, and one end token behind them.

        Args:
            ids: uint32 [N], of all these documents.
            ends: int64 [D], one past the last id of each.
            documents: table of D rows with the columns id, source, bytes.
        """
        assert ids.max(initial=0) < self._vocab_size, "an id outside the vocabulary"
        self._ids.write(np.insert(ids.astype(self._dtype), ends, self._end_id).data)
        stops = self._facts["tokens"] + ends + np.arange(1, len(ends) + 1)
        self._ends.write(stops.astype("<u8").data)
        self._facts["tokens"] += len(ids) + len(ends)
        self._facts["documents"] += len(ends)
        self._facts["bytes"] += int(np.asarray(documents["bytes"]).sum())
        self._waiting.append(documents.select(self._schema.names).cast(self._schema))
        self._write_groups(least=ROWS_PER_GROUP)

    def _write_groups(self, least: int) -> None:
        import pyarrow as pa

        if sum(map(len, self._waiting)) >= least:
            self._file.write_table(pa.concat_tables(self._waiting), row_group_size=ROWS_PER_GROUP)
            self._waiting = []

    def close(self) -> dict[str, int]:
        self._write_groups(least=1)
        for file in (self._ids, self._ends, self._file):
            file.close()
        return self._facts


def write_manifest(folder: Path, *, vocab_size: int, end_id: int, splits: dict[str, dict[str, int]]) -> None:
    manifest = {
        "format": 1,
        "dtype": dtype_for(vocab_size),
        "vocab_size": vocab_size,
        "end_id": end_id,
        "splits": splits,
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8", newline="\n")
