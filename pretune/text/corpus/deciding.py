"""Phase two of a corpus: which documents stay, and in which split, from the columns of the shards alone.

    empty -> filters -> exact copies -> near copies -> cluster        then repeats.py, splits.py, mixing.py

Texts are read again only to verify near copies. What is kept in memory is a few hundred bytes per document.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pretune.base.errors import SettingsError
from pretune.base.log import Log
from pretune.text.clean.filters import Filter, reject_table
from pretune.text.dedup import near

Dedup = Literal["minhash", "exact", "none"]


@dataclass
class Verdict:
    """One entry per document, in the order of the shards.

    Args:
        reasons: why it is left out, None to keep it.
        duplicate_of: the document that was kept in its place, -1 if there is none.
        clusters: 32 hex digits, equal for documents that must be in one split.
        splits: train, validation or test; "" for one that is left out (splits.py).
    """

    reasons: list[str | None] = field(default_factory=list)
    duplicate_of: list[int] = field(default_factory=list)
    clusters: list[str] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)


@dataclass
class Shards:
    """Measured shards as one list of documents."""

    paths: Sequence[Path]

    def __post_init__(self) -> None:
        self.sizes = [pq.read_metadata(path).num_rows for path in self.paths]
        self.ends = list(accumulate(self.sizes))

    def __len__(self) -> int:
        return self.ends[-1] if self.ends else 0

    @cached_property
    def columns(self) -> list[str]:
        """The columns that every shard has."""
        named = [pq.read_schema(path).names for path in self.paths]
        return [n for n in named[0] if all(n in others for others in named)] if named else []

    def tables(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        for path in self.paths:
            yield pq.read_table(path, columns=list(columns))

    def values(self, column: str) -> Iterator[Any]:
        """One column of all documents."""
        return (value for table in self.tables([column]) for value in table[column].to_pylist())

    def texts(self, wanted: Sequence[int]) -> list[str]:
        """The texts of these documents; each shard is read once."""
        by_shard: dict[int, list[int]] = {}
        for k in wanted:
            by_shard.setdefault(bisect_right(self.ends, k), []).append(k)
        found: dict[int, str] = {}
        for shard, mine in by_shard.items():
            start = self.ends[shard] - self.sizes[shard]
            table = pq.read_table(self.paths[shard], columns=["text"]).take([k - start for k in mine])
            found.update(zip(mine, table["text"].to_pylist(), strict=True))
        return [found[k] for k in wanted]


def decide(
    shards: Shards,
    filters: Sequence[Filter],
    dedup: Dedup,
    *,
    threshold: float,
    memory_bytes: int,
    scratch: Path,
    log: Log,
) -> Verdict:
    """The verdict over all documents; of copies the first that passes the filters is kept.

    Args:
        threshold: Jaccard similarity of shingle sets from which two documents are copies of each other.
        memory_bytes: at most so much for finding near copies.
        scratch: folder for signatures and sorted runs.
    """
    verdict = _filtered(shards, filters)
    if dedup != "none":
        _drop_exact(shards, verdict)
    if dedup == "minhash":
        _drop_near(shards, verdict, threshold, memory_bytes, scratch, log)
    return verdict


def _filtered(shards: Shards, filters: Sequence[Filter]) -> Verdict:
    verdict = Verdict()
    needed = sorted({column for rule in filters for column in rule.needs} | {"blank", "cluster"})
    missing = [name for name in needed if shards.paths and name not in shards.columns]
    if missing:
        raise SettingsError(
            f"a filter needs the column {missing[0]!r}", hint=f"give `{missing[0]}`: it is made of that"
        )
    for table in shards.tables(needed):
        reasons = reject_table(filters, table)
        blank = table["blank"].to_pylist()
        verdict.reasons += ["empty" if b else reason for b, reason in zip(blank, reasons, strict=True)]
        verdict.clusters += table["cluster"].to_pylist()
    verdict.duplicate_of = [-1] * len(verdict.reasons)
    return verdict


def _drop_exact(shards: Shards, verdict: Verdict) -> None:
    seen: dict[bytes, int] = {}
    for k, key in enumerate(shards.values("digest")):
        if verdict.reasons[k] is None and (first := seen.setdefault(key, k)) != k:
            verdict.reasons[k], verdict.duplicate_of[k] = "duplicate", first


def _drop_near(shards: Shards, verdict: Verdict, threshold: float, memory_bytes: int, scratch: Path, log: Log) -> None:
    left = [k for k, reason in enumerate(verdict.reasons) if reason is None]
    if not left:
        return
    signatures = _signatures(shards, left, scratch / "signatures.bin")
    with log.progress("near copies", total=len(left), unit="documents") as bar:

        def text_of(wanted: Sequence[int]) -> list[str]:
            bar.advance(wanted[-1] - bar.done)
            return shards.texts([left[k] for k in wanted])

        found = near.clusters(signatures, text_of, threshold=threshold, memory_bytes=memory_bytes, scratch=scratch)
    roots = near.Roots[str]()
    for k, (first, kept) in enumerate(zip(found.cluster.tolist(), found.because_of.tolist(), strict=True)):
        if kept >= 0:
            verdict.reasons[left[k]], verdict.duplicate_of[left[k]] = "near duplicate", left[kept]
        if first != k:
            roots.join(verdict.clusters[left[first]], verdict.clusters[left[k]])
    verdict.clusters = [roots.of(cluster) for cluster in verdict.clusters]


def _signatures(shards: Shards, left: Sequence[int], path: Path) -> NDArray[np.uint32]:
    """Signatures of the documents that are left, on disk: uint32 [N, K]."""
    wanted = np.zeros(len(shards), dtype=bool)
    wanted[left] = True
    at = 0
    with path.open("wb") as file:
        for table in shards.tables(["signature"]):
            mine = wanted[at : at + table.num_rows]
            at += table.num_rows
            for row in table["signature"].filter(pa.array(mine)).to_pylist():
                file.write(row)
    return np.memmap(path, np.uint32, "r").reshape(len(left), -1)


def decided(shards: Shards, verdict: Verdict) -> Iterator[tuple[int, pa.Table]]:
    """(number of its first document, table with the final clusters) of every shard."""
    at = 0
    for path in shards.paths:
        names = [n for n in pq.read_schema(path).names if n not in ("digest", "signature", "blank")]
        table = pq.read_table(path, columns=names)
        clusters = pa.array(verdict.clusters[at : at + len(table)], pa.string())
        yield at, table.set_column(names.index("cluster"), "cluster", clusters)
        at += len(table)
