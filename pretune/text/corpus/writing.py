"""Phase three of a corpus: its splits are written, table by table, and counted.

tables -> train (as often as the mixture takes them, in its order) | validation | test | dropped, with reasons
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pretune.base.json import Json, JsonMap
from pretune.text.corpus.deciding import Verdict
from pretune.text.corpus.documents import Tally
from pretune.text.corpus.mixing import MixedDocuments
from pretune.text.corpus.reporting import Seen
from pretune.text.read.document import document_id
from pretune.text.read.shards import GROUP, ShardWriter, read_rows, read_tables, sums_of
from pretune.text.read.split import SPLITS, cluster_of

MIN_TAIL_CHARACTERS = 200
NUM_FILES_NAMED = 100
BUCKET_BYTES = 64 << 20

Key = tuple[str, str]
"""A source and a language in it."""


class Counts:
    """What the card says of the corpus."""

    def __init__(self) -> None:
        self.sources: dict[str, Counter[str]] = {}
        self.languages: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self.mixture: dict[Key, Counter[str]] = {}

    def keep(self, key: Key, facts: Mapping[str, int]) -> None:
        self.sources.setdefault(key[0], Counter()).update(facts)
        self.languages[key[1]] += facts["documents"]

    def mix(self, key: Key, facts: Mapping[str, int]) -> None:
        self.mixture.setdefault(key, Counter()).update(facts)

    def card(self, tally: Tally) -> Json:
        # Sources by name, and in each the largest language first.
        mixture = sorted(self.mixture.items(), key=lambda item: (item[0][0], -item[1]["bytes"], item[0][1]))
        dropped = self.dropped + Counter({"empty file": tally.empty_files})
        return {
            **{n: sum(of[n] for of in self.sources.values()) for n in ("documents", "bytes", "characters")},
            "sources": {name: dict(facts) for name, facts in sorted(self.sources.items())},
            "languages": dict(self.languages.most_common()),
            "mixture": [{"source": source, "language": language, **facts} for (source, language), facts in mixture],
            "dropped": dict(sorted(dropped.items())),
            "changed": dict(sorted(tally.changed.items())),
            "mended": dict(sorted(tally.mended.items())),
            "repaired": tally.broken,
            **({"forgotten": tally.forgotten} if tally.forgotten else {}),
            "surrogates_mended": tally.surrogates,
            "left_out_files": tally.left_out[:NUM_FILES_NAMED],
            "quarantined": len(tally.quarantine),
            "quarantine": [f"{file}: {why}" for file, why in tally.quarantine[:NUM_FILES_NAMED]],
        }


def _sizes(table: pa.Table) -> NDArray[np.int64]:
    return np.asarray(table["bytes"].to_numpy(), dtype=np.int64)


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

    def add(self, table: pa.Table) -> None:
        ranks = self._ranks[self._at : self._at + len(table)]
        self._at += len(table)
        ranked = table.append_column("rank", pa.array(ranks))
        for bucket in np.unique(ranks // self._width).tolist():
            mine = ranked.filter(pa.array(ranks // self._width == bucket))
            self._buckets[bucket].add(mine, _sizes(mine))

    def tables(self) -> Iterator[pa.Table]:
        """All rows by their rank; call it when all were added."""
        for k, bucket in enumerate(self._buckets):
            bucket.close()
            found = list(read_tables(self._folder, f"bucket-{k}"))
            if found:
                yield pa.concat_tables(found).sort_by("rank").drop_columns("rank")
            (self._folder / f"bucket-{k}.parquet").unlink(missing_ok=True)


class Written:
    """The documents of a corpus on their way to its files, counted.

    Args:
        ids: of the documents that are kept in another's place.
        folder: for what waits until its place has come, where the mixture has an order.
    """

    def __init__(
        self,
        out: Path,
        schema: pa.Schema,
        verdict: Verdict,
        mixed: MixedDocuments,
        ids: Mapping[int, str],
        folder: Path,
    ):
        self.counts, self.seen = Counts(), Seen()
        self._verdict, self._often, self._ids, self._names = verdict, mixed.often, ids, schema.names
        self._writers = {split: ShardWriter(out, split, schema) for split in SPLITS}
        more = [("reason", pa.string()), ("because_of", pa.string())]
        self._dropped = ShardWriter(out, "dropped", pa.schema([*schema, *more]))
        self._waiting = InOrder(schema, mixed.ranks, mixed.bytes, folder) if mixed.ranks is not None else None

    def add(self, table: pa.Table, start: int) -> None:
        """Add documents of the shards, all those from number `start` on that the table has."""
        numbers = range(start, start + len(table))
        reasons = [self._verdict.reasons[k] or ("" if self._often[k] else "mixture") for k in numbers]
        table = table.select(self._names)
        kept = np.array([not reason for reason in reasons], dtype=bool)
        splits = np.array(self._verdict.splits[start : start + len(table)])
        often = np.where(kept, self._often[start : start + len(table)], 0)
        self._count(table, splits == "train", often)
        self.counts.dropped.update(reason.partition(":")[0] for reason in reasons if reason)
        self._drop(table.filter(pa.array(~kept)), [(reasons[k - start], k) for k in numbers if reasons[k - start]])
        for split in SPLITS:
            self._keep(_copied(table, np.where(splits == split, often, 0)), split)

    def _count(self, table: pa.Table, train: NDArray[np.bool_], often: NDArray[np.int64]) -> None:
        sizes, lengths = (np.asarray(table[name].to_numpy(), np.int64) for name in ("bytes", "characters"))
        self.seen.add(lengths, often > 0)
        kept = {"documents": often, "bytes": often * sizes, "characters": often * lengths}
        for key, facts in sums_of(table, kept):
            if facts["documents"]:
                self.counts.keep(key, facts)
        del kept["characters"]
        there = {**kept, "documents_there": np.ones_like(often), "bytes_there": sizes}
        light = table.select(GROUP).filter(pa.array(train))
        for key, facts in sums_of(light, {name: of[train] for name, of in there.items()}):
            self.counts.mix(key, facts)

    def _drop(self, table: pa.Table, why: Sequence[tuple[str, int]]) -> None:
        for at, (reason, _) in enumerate(why):
            if self.seen.wants(reason):
                self.seen.show(table.slice(at, 1).to_pylist()[0], reason)
        because_of = [self._ids.get(self._verdict.duplicate_of[k]) for _, k in why]
        table = table.append_column("reason", pa.array([reason for reason, _ in why], pa.string()))
        self._dropped.add(table.append_column("because_of", pa.array(because_of, pa.string())), _sizes(table))

    def _keep(self, table: pa.Table, split: str) -> None:
        if self._waiting and split == "train":
            self._waiting.add(table)
        else:
            self._writers[split].add(table, _sizes(table))

    def close(self) -> None:
        for table in self._waiting.tables() if self._waiting else ():
            self._writers["train"].add(table, _sizes(table))
        for writer in [*self._writers.values(), self._dropped]:
            writer.close()


def _copied(table: pa.Table, often: NDArray[np.int64]) -> pa.Table:
    """Each row `often` times [N], copy after copy; all but the first have an id and an origin of their own."""
    copies = table.take(pa.array(np.repeat(np.arange(len(table)), often)))
    numbers = np.arange(len(copies)) - np.repeat(np.cumsum(often) - often, often)
    if not numbers.any():
        return copies
    light = copies.select(["id", "source", "origin"]).to_pylist()
    named = [_name_of_copy(row, number) for row, number in zip(light, numbers.tolist(), strict=True)]
    for name, values in zip(("id", "origin"), zip(*named, strict=True), strict=True):
        copies = copies.set_column(copies.column_names.index(name), name, pa.array(values, pa.string()))
    return copies


def _name_of_copy(row: Mapping[str, str], number: int) -> tuple[str, str]:
    """(id, origin) of the row when the mixture takes it for the `number`-th time, counted from 0."""
    if not number:
        return row["id"], row["origin"]
    identity = document_id(row["source"], f"{row['id']}/copy", number)
    return identity, f"{row['origin']}/copy {number + 1}"


def split_facts(out: Path, split: str) -> dict[str, int]:
    sizes = [row["bytes"] for row in read_rows(out, split, ["bytes"])]
    return {"documents": len(sizes), "bytes": sum(sizes)}


def hold_out_tails(out: Path, validation: float, schema: pa.Schema) -> int:
    """Fill an empty validation split of one or two documents (a book); returns how many were cut for it.

    The last tenth of each that is long enough becomes a document of its own.
    """
    if not validation or next(read_rows(out, "validation", ["id"]), None):
        return 0
    # One cluster, or validation would not be empty: it fits into memory.
    halves = [_halves(row, max(validation, 0.1)) for split in ("train", "test") for row in read_rows(out, split)]
    tails = [tail for _, tail in halves if tail]
    if tails:
        _rewrite(out, {"train": [head for head, _ in halves], "validation": tails, "test": []}, schema)
    return len(tails)


def _rewrite(out: Path, splits: Mapping[str, Sequence[JsonMap]], schema: pa.Schema) -> None:
    for split, group in splits.items():
        for old in out.glob(f"{split}-*.parquet"):
            old.unlink()
        writer = ShardWriter(out, split, schema)
        table = pa.Table.from_pylist(list(group), schema=schema)
        writer.add(table, _sizes(table))
        writer.close()


def _halves(row: Json, share: float) -> tuple[Json, Json | None]:
    """A document's head and its tail (None if it is too short to cut)."""
    text = row["text"]
    at = text.rfind("\n", 0, int(len(text) * (1 - share))) + 1 or int(len(text) * (1 - share))
    if len(text) - at < MIN_TAIL_CHARACTERS or at < MIN_TAIL_CHARACTERS:
        return row, None
    head, tail = text[:at], text[at:]
    return _half(row, head, "head"), _half(row, tail, "tail")


def _half(row: Json, text: str, name: str) -> Json:
    identity = document_id(row["source"], f"{row['id']}/{name}", 0)
    sizes = {"bytes": len(text.encode()), "characters": len(text), "cluster": cluster_of(text)}
    return {**row, "id": identity, "text": text, "origin": f"{row['origin']}/{name}", **sizes}
