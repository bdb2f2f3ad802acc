"""Near copies: candidates by MinHash, each verified by the true Jaccard similarity of its shingles.

    sign        text -> 32 band hashes (128 bytes), document by document, in any process
    candidates  per band, (hash, document) sorted within the memory cap: neighbours with one hash are candidates
    clusters    the shingles of all candidates to disk, every pair compared, union-find over what was verified

A document is dropped only for a document that is kept, and only if those two were compared: in a chain A ~ B ~ C
where C is not near A, A and C stay (in one cluster, so that both are in one split).

Price: 9 bytes of memory per document and 40 more per document with a candidate, besides `memory_bytes`; on
disk 8 bytes per shingle of those.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import BinaryIO, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from pretune.text.dedup import minhash
from pretune.text.dedup.runs import Sorter
from pretune.text.dedup.shingles import jaccard, shingle_batches, shingle_sets
from pretune.text.dedup.units import PIECE
from pretune.text.read.characters import batches

_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_ROWS_TOGETHER = 1 << 14
_TEXTS_TOGETHER = 1024
K = TypeVar("K", int, str)


@dataclass(frozen=True)
class Clusters:
    """What was found; one entry per document.

    Args:
        cluster: int64 [N], the first document of its cluster; its own number for a document without near copies.
        because_of: int64 [N], the kept document for which it is dropped, -1 for a document that is kept.
    """

    cluster: NDArray[np.int64]
    because_of: NDArray[np.int64]


# ---- signatures ---------------------------------------------------------------------------------


def sign(texts: Iterable[str]) -> NDArray[np.uint32]:
    """The band hashes of each text: uint32 [N, minhash.NUM_BANDS], each a function of its text alone."""
    signed = [_signed(together) for together in batches(texts, PIECE, _TEXTS_TOGETHER)]
    return np.concatenate([np.empty((0, minhash.NUM_BANDS), dtype=np.uint32), *signed])


def _signed(texts: Sequence[str]) -> NDArray[np.uint32]:
    minima = minhash.no_minima(len(texts))
    for hashes, numbers in shingle_batches(texts):
        minhash.add_minima(minima, hashes, numbers)
    return minhash.bands(minhash.densified(minima))


# ---- candidates ---------------------------------------------------------------------------------


def _sorted_pairs(signatures: NDArray[np.uint32], memory_bytes: int, scratch: Path) -> Sorter:
    """Pairs of documents that share a band, newer << 32 | older.

    In a bucket every document is paired with the first and with its predecessor, not with all others.
    """
    assert len(signatures) < 2**32, "a document's number takes 32 bits"
    num_bands = signatures.shape[1]
    pairs = Sorter(scratch / "pairs.run", memory_bytes=memory_bytes // 4)
    together = max(1, min(num_bands, memory_bytes // (64 * len(signatures) + 1)))
    for low in range(0, num_bands, together):
        for sorter in _records(signatures, range(low, min(low + together, num_bands)), memory_bytes // 4, scratch):
            for found in _pairs(sorter.blocks()):
                pairs.add(found)
            sorter.close()
    return pairs


def _records(signatures: NDArray[np.uint32], wanted: Sequence[int], memory_bytes: int, scratch: Path) -> list[Sorter]:
    """One sorter per band, with hash << 32 | document of every document."""
    sorters = [Sorter(scratch / f"band{band}.run", memory_bytes=memory_bytes // len(wanted)) for band in wanted]
    for start, rows in _row_blocks(signatures):
        documents = np.arange(start, start + len(rows), dtype=np.uint64)
        for band, sorter in zip(wanted, sorters, strict=True):
            sorter.add(rows[:, band].astype(np.uint64) << _HALF | documents)
    return sorters


def _row_blocks(signatures: NDArray[np.uint32]) -> Iterator[tuple[int, NDArray[np.uint32]]]:
    """Rows in blocks; pages of a memory map would count as memory of this process, so its file is read instead."""
    base = signatures.base if not isinstance(signatures, np.memmap) else signatures
    name = base.filename if isinstance(base, np.memmap) else None
    # Of the same size and in one piece: the array is the whole file, not a view of a part.
    whole = name is not None and signatures.flags.c_contiguous and Path(name).stat().st_size == signatures.nbytes
    for start in range(0, len(signatures), _ROWS_TOGETHER):
        rows = signatures[start : start + _ROWS_TOGETHER]
        if whole and name is not None:
            size, width = rows.size, signatures.shape[1]
            rows = np.fromfile(name, np.uint32, size, offset=4 * start * width).reshape(-1, width)
        yield start, rows


def _pairs(blocks: Iterable[NDArray[np.uint64]]) -> Iterator[NDArray[np.uint64]]:
    """newer << 32 | older of neighbours that share a hash, and of each with the first of its bucket."""
    carried = np.empty(0, dtype=np.uint64)
    for block in blocks:
        records = np.concatenate([carried, block])
        hashes, documents = records >> _HALF, records & _LOW
        opens = np.concatenate(([True], hashes[1:] != hashes[:-1]))
        firsts = np.maximum.accumulate(np.where(opens, np.arange(len(records)), 0))
        later = np.flatnonzero(~opens)
        newer = documents[later] << _HALF
        yield newer | documents[firsts[later]]
        yield newer | documents[later - 1]
        # The bucket may go on in the next block: its first and its last are all that is needed then.
        last = len(records) - 1
        carried = records[sorted({int(firsts[last]), last})]


def _once(pairs: Sorter) -> Iterator[NDArray[np.uint64]]:
    """The pairs, ascending, each once, in blocks."""
    before = -1
    for block in pairs.blocks():
        fresh = np.concatenate(([int(block[0]) != before], block[1:] != block[:-1]))
        before = int(block[-1])
        yield block[fresh]


# ---- verification -------------------------------------------------------------------------------


def clusters(
    signatures: NDArray[np.uint32],
    text_of: Callable[[Sequence[int]], list[str]],
    *,
    threshold: float = 0.8,
    memory_bytes: int = 256_000_000,
    scratch: Path,
) -> Clusters:
    """Near copies among N documents; which of them are dropped, and for whom.

    The first of near copies is kept. The result depends on the texts and their order alone.

    Args:
        signatures: uint32 [N, NUM_BANDS] of sign(), row k of document k.
        text_of: the texts of these documents (their numbers rise), in this order.
        threshold: Jaccard similarity of the sets of shingles from which two documents are near copies;
            below 0.65 many pairs do not become candidates (minhash.py).
        memory_bytes: for all buffers together; a document that is larger than a thirtieth of it may break it.
        scratch: folder for sorted runs and shingles; nothing stays there.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        pairs = _sorted_pairs(signatures, memory_bytes, Path(folder))
        involved = _involved(pairs, len(signatures))
        with (Path(folder) / "shingles.bin").open("w+b") as file:
            sets = _written_sets(involved, text_of, file, memory_bytes // 32)
            return _decided(_by_newer(pairs), sets, len(signatures), threshold)


def _involved(pairs: Sorter, num_documents: int) -> NDArray[np.int64]:
    """The documents that are in a pair, rising."""
    found = np.zeros(num_documents, dtype=bool)
    for block in _once(pairs):
        found[(block >> _HALF).astype(np.int64)] = True
        found[(block & _LOW).astype(np.int64)] = True
    return np.flatnonzero(found)


def _by_newer(pairs: Sorter) -> Iterator[tuple[int, list[int]]]:
    """(document, its older candidates, rising), documents rising."""
    flat = (pair for block in _once(pairs) for pair in block.tolist())
    for newer, group in groupby(flat, key=lambda pair: pair >> 32):
        yield newer, [pair & 0xFFFFFFFF for pair in group]


@dataclass(frozen=True)
class _Sets:
    """Sets of shingles on disk: document documents[k] has the uint64 from ends[k] up to ends[k + 1].

    What is read often stays in the system's file cache.
    """

    file: BinaryIO
    documents: NDArray[np.int64]
    ends: NDArray[np.int64]

    def of(self, document: int) -> NDArray[np.uint64]:
        k = int(np.searchsorted(self.documents, document))
        start, stop = self.ends[k : k + 2].tolist()
        self.file.seek(8 * start)
        return np.frombuffer(self.file.read(8 * (stop - start)), dtype=np.uint64)


def _written_sets(
    documents: NDArray[np.int64], text_of: Callable[[Sequence[int]], list[str]], file: BinaryIO, budget: int
) -> _Sets:
    """Each text is read once, in rising order, some `budget` characters at a time."""
    ends = [0]
    at, count = 0, 16
    while at < len(documents):
        texts = text_of(documents[at : at + count].tolist())
        for shingles in shingle_sets(texts):
            file.write(shingles.data)
            ends.append(ends[-1] + len(shingles))
        at += len(texts)
        mean = 1 + sum(map(len, texts)) // len(texts)
        # Shingles take up to 24 bytes of a character while they are made; 4 times as many as before at most.
        count = max(1, min(4 * count, 4096, budget // (24 * mean)))
    return _Sets(file, documents, np.array(ends, dtype=np.int64))


class Roots(Generic[K]):
    """Union-find; the root of a cluster is its least member, in whichever order they are joined."""

    def __init__(self) -> None:
        self.parents: dict[K, K] = {}

    def of(self, member: K) -> K:
        root = member
        while (parent := self.parents.get(root, root)) != root:
            root = parent
        while member != root:  # next time in one step
            self.parents[member], member = root, self.parents[member]
        return root

    def join(self, one: K, other: K) -> None:
        low, high = sorted((self.of(one), self.of(other)))
        if low != high:
            self.parents[high] = low


def _decided(pairs: Iterable[tuple[int, list[int]]], sets: _Sets, num_documents: int, threshold: float) -> Clusters:
    because_of = np.full(num_documents, -1, dtype=np.int64)
    roots = Roots[int]()
    # Rising: when a document is looked at, all older ones are settled.
    for newer, olders in pairs:
        compared = _Compared(newer, sets)
        for older in olders:
            dropped = because_of[newer] >= 0
            if (dropped and roots.of(older) == roots.of(newer)) or compared.to(older) < threshold:
                continue
            roots.join(older, newer)
            kept = int(because_of[older]) if because_of[older] >= 0 else older
            if not dropped and compared.to(kept) >= threshold:
                because_of[newer] = kept
    cluster = np.arange(num_documents)
    for document in list(roots.parents):
        cluster[document] = roots.of(document)
    return Clusters(cluster, because_of)


class _Compared:
    """One document's similarity to others, each computed once."""

    def __init__(self, document: int, sets: _Sets):
        self._mine, self._sets = sets.of(document), sets
        self._known: dict[int, float] = {}

    def to(self, other: int) -> float:
        if other not in self._known:
            self._known[other] = jaccard(self._mine, self._sets.of(other))
        return self._known[other]
