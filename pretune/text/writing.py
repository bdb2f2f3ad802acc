"""Phase three of a corpus: its sides are written, row by row, and counted.

rows -> train (as often as the mixture takes them, in its order) | validation | test | dropped, with reasons
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pretune.text.document import document_id
from pretune.text.measuring import Told
from pretune.text.mixing import Mixed
from pretune.text.split import SPLITS, cluster_of
from pretune.text.tables import ShardWriter, read_rows

MIN_TAIL_CHARACTERS = 200
NUM_FILES_TOLD = 100
BUCKET_BYTES = 64 << 20


class Counts:
    """What the card says of the corpus."""

    def __init__(self) -> None:
        self.documents = self.bytes = self.characters = 0
        self.sources: dict[str, Counter[str]] = {}
        self.dropped: Counter[str] = Counter()
        self.languages: Counter[str] = Counter()

    def keep(self, row: Mapping[str, Any]) -> None:
        self.documents += 1
        self.bytes += row["bytes"]
        self.characters += row["characters"]
        facts = {"documents": 1, "bytes": row["bytes"], "characters": row["characters"]}
        self.sources.setdefault(row["source"], Counter()).update(facts)
        self.languages[row["language"]] += 1

    def card(self, told: Told) -> dict[str, Any]:
        return {
            "documents": self.documents,
            "bytes": self.bytes,
            "characters": self.characters,
            "sources": {name: dict(facts) for name, facts in sorted(self.sources.items())},
            "languages": dict(self.languages.most_common()),
            "dropped": dict(sorted(self.dropped.items())) | _files("empty file", told.empty_files),
            "changed": dict(sorted(told.changed.items())),
            "repaired": told.broken,
            "surrogates_mended": told.surrogates,
            "left_out_files": told.left_out[:NUM_FILES_TOLD],
            "quarantined": len(told.quarantine),
            "quarantine": [f"{file}: {why}" for file, why in told.quarantine[:NUM_FILES_TOLD]],
        }


def _files(name: str, number: int) -> dict[str, int]:
    return {name: number} if number else {}


class Sides:
    """One writer per side, made when it is first needed.

    Args:
        schema: names and types of the columns.
    """

    def __init__(self, out: Path, schema: pa.Schema):
        self._writers = {s: ShardWriter(out, s, schema) for s in SPLITS}
        more = [("reason", pa.string()), ("because_of", pa.string())]
        self._dropped = ShardWriter(out, "dropped", pa.schema([*schema, *more]))

    def keep(self, row: Mapping[str, Any], side: str) -> None:
        self._writers[side].write(row, row["bytes"])

    def drop(self, row: Mapping[str, Any], reason: str, because_of: str | None) -> None:
        self._dropped.write({**row, "reason": reason, "because_of": because_of}, row["bytes"])

    def close(self) -> None:
        for writer in [*self._writers.values(), self._dropped]:
            writer.close()


class InOrder:
    """Rows that come in any order leave by their rank; memory holds one bucket of them.

    Args:
        ranks: int64, of every row that will come, in the order they come.
        num_bytes: of all rows together.
        folder: for buckets; each is deleted once it is read.
    """

    def __init__(self, schema: pa.Schema, ranks: NDArray[np.int64], num_bytes: int, folder: Path):
        number = 1 + num_bytes // BUCKET_BYTES
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._ranks, self._at = folder, ranks, 0
        self._width = 1 + len(ranks) // number
        ranked = pa.schema([*schema, ("rank", pa.int64())])
        self._buckets = [ShardWriter(folder, f"bucket-{k}", ranked, numbered=False) for k in range(number)]

    def add(self, row: Mapping[str, Any]) -> None:
        rank = int(self._ranks[self._at])
        self._at += 1
        self._buckets[rank // self._width].write({**row, "rank": rank}, row["bytes"])

    def write(self, sides: Sides) -> None:
        for k, bucket in enumerate(self._buckets):
            bucket.close()
            for row in sorted(read_rows(self._folder, f"bucket-{k}"), key=lambda row: row["rank"]):
                del row["rank"]
                sides.keep(row, "train")
            (self._folder / f"bucket-{k}.parquet").unlink(missing_ok=True)


class Groups:
    """What the training side is made of: source by source, language by language."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], Counter[str]] = {}

    def add(self, row: Mapping[str, Any], copies: int) -> None:
        size = row["bytes"]
        facts = {"documents": copies, "bytes": copies * size, "documents_there": 1, "bytes_there": size}
        self._rows.setdefault((row["source"], row["language"]), Counter()).update(facts)

    def card(self) -> list[dict[str, Any]]:
        """Sources by name, and in each the largest language first."""
        ordered = sorted(self._rows.items(), key=lambda item: (item[0][0], -item[1]["bytes"], item[0][1]))
        return [{"source": source, "language": language, **facts} for (source, language), facts in ordered]


class Written:
    """The rows of a corpus on their way to its files, counted.

    Args:
        folder: for what waits until its place has come, where the mixture has an order.
    """

    def __init__(self, out: Path, schema: pa.Schema, mixed: Mixed, folder: Path):
        self.counts, self.groups = Counts(), Groups()
        self._sides = Sides(out, schema)
        self._waiting = InOrder(schema, mixed.ranks, mixed.bytes, folder) if mixed.ranks is not None else None

    def keep(self, row: Mapping[str, Any], side: str, often: int) -> None:
        if side == "train":
            self.groups.add(row, often)
        for number in range(often):
            self.counts.keep(row)
            copy = copy_of(row, number)
            if self._waiting and side == "train":
                self._waiting.add(copy)
            else:
                self._sides.keep(copy, side)

    def drop(self, row: Mapping[str, Any], reason: str, because_of: str | None) -> None:
        self.counts.dropped[reason.partition(":")[0]] += 1
        if reason == "mixture":
            self.groups.add(row, 0)
        self._sides.drop(row, reason, because_of)

    def close(self) -> None:
        if self._waiting:
            self._waiting.write(self._sides)
        self._sides.close()


def copy_of(row: Mapping[str, Any], number: int) -> Mapping[str, Any]:
    """The row as it stands in the mixture for the `number`-th time, counted from 0."""
    if not number:
        return row
    identity = document_id(row["source"], f"{row['id']}/copy", number)
    return {**row, "id": identity, "origin": f"{row['origin']}/copy {number + 1}"}


def side_facts(out: Path, split: str) -> dict[str, int]:
    sizes = [row["bytes"] for row in read_rows(out, split, ["bytes"])]
    return {"documents": len(sizes), "bytes": sum(sizes)}


def hold_out_tails(out: Path, validation: float, schema: pa.Schema) -> int:
    """Fill an empty validation side of one or two documents (a book); returns how many were cut for it.

    The last tenth of each that is long enough becomes a document of its own.
    """
    if not validation or next(read_rows(out, "validation", ["id"]), None):
        return 0
    # One cluster, or validation would not be empty: it fits into memory.
    parts = [_cut(row, max(validation, 0.1)) for side in ("train", "test") for row in read_rows(out, side)]
    tails = [tail for _, tail in parts if tail]
    if tails:
        _rewrite(out, {"train": [head for head, _ in parts], "validation": tails, "test": []}, schema)
    return len(tails)


def _rewrite(out: Path, sides: Mapping[str, Sequence[Mapping[str, Any]]], schema: pa.Schema) -> None:
    for side, group in sides.items():
        for old in out.glob(f"{side}-*.parquet"):
            old.unlink()
        writer = ShardWriter(out, side, schema)
        for row in group:
            writer.write(row, row["bytes"])
        writer.close()


def _cut(row: dict[str, Any], share: float) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """A document's head and its tail (None if it is too short to cut)."""
    text = row["text"]
    at = text.rfind("\n", 0, int(len(text) * (1 - share))) + 1 or int(len(text) * (1 - share))
    if len(text) - at < MIN_TAIL_CHARACTERS or at < MIN_TAIL_CHARACTERS:
        return row, None
    head, tail = text[:at], text[at:]
    return _part(row, head, "head"), _part(row, tail, "tail")


def _part(row: dict[str, Any], text: str, name: str) -> dict[str, Any]:
    identity = document_id(row["source"], f"{row['id']}/{name}", 0)
    sizes = {"bytes": len(text.encode()), "characters": len(text), "cluster": cluster_of(text)}
    return {**row, "id": identity, "text": text, "origin": f"{row['origin']}/{name}", **sizes}
