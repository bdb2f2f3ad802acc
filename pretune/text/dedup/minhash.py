"""MinHash: signatures that agree in a share of places close to the Jaccard similarity of two sets.

One permutation hashing: a shingle's hash says which of 192 bins it falls into and its rank there; a bin keeps the
lowest rank. One pass over the shingles instead of 192. Bins that stay empty take the value of another bin, each by
an order of its own that is the same for all documents; so the places of a short text agree as often as they should.

The 192 places are 32 bands of 6. Two documents meet if all 6 places of a band agree, which happens for a pair of
similarity J with probability 1 - (1 - J^6)^32:

    J    0.1      0.3    0.5    0.6    0.7    0.8     0.9
         0.00003  0.02   0.40   0.78   0.98   0.9999  1

Meeting makes two documents candidates, no more: near.py verifies them. What is stored is one uint32 per
band, 128 bytes per document.

Source: Li, Owen and Zhang 2012, "One Permutation Hashing" (NIPS); Shrivastava 2017, "Optimal Densification for
Fast and Accurate Minwise Hashing", arXiv:1703.04664 (here each bin's probes are a permutation, so they end).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pretune.text.read.hashing import mixed

NUM_BANDS, NUM_ROWS = 32, 6
NUM_BINS = NUM_BANDS * NUM_ROWS
EMPTY = np.uint32(0xFFFFFFFF)


def no_minima(num_documents: int) -> NDArray[np.uint32]:
    """Bins without shingles, uint32 [num_documents, NUM_BINS]."""
    return np.full((num_documents, NUM_BINS), EMPTY, dtype=np.uint32)


def add_minima(minima: NDArray[np.uint32], hashes: NDArray[np.uint64], documents: NDArray[np.int64]) -> None:
    """Take shingles into the bins of their documents; shingle k is of the document (row) documents[k]."""
    ranks = np.minimum(hashes.astype(np.uint32), EMPTY - np.uint32(1))
    bins = ((hashes >> np.uint64(32)) * np.uint64(NUM_BINS)) >> np.uint64(32)
    np.minimum.at(minima.reshape(-1), documents * NUM_BINS + bins.astype(np.int64), ranks)


def bands(signatures: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """One hash per band: uint32 [N, NUM_BANDS] from uint32 [N, NUM_BINS]."""
    places = signatures.reshape(len(signatures), NUM_BANDS, NUM_ROWS).astype(np.uint64)
    hashes = np.zeros(places.shape[:2], dtype=np.uint64)
    for row in range(NUM_ROWS):
        hashes = mixed(hashes + places[:, :, row])
    return (hashes >> np.uint64(32)).astype(np.uint32)


# ---- empty bins ---------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def probes() -> NDArray[np.int64]:
    """probes[i, k]: the bin at which bin i looks k-th; first at itself. int64 [NUM_BINS, NUM_BINS]."""
    keys = mixed(np.arange(NUM_BINS * NUM_BINS, dtype=np.uint64).reshape(NUM_BINS, NUM_BINS) + np.uint64(1 << 40))
    np.fill_diagonal(keys, 0)
    return np.argsort(keys, axis=1, kind="stable")


@lru_cache(maxsize=1)
def _turns() -> NDArray[np.uint8]:
    """turns[j, i]: when bin i looks at bin j."""
    return np.argsort(probes(), axis=1, kind="stable").T.astype(np.uint8, order="C")


def densified(minima: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Signatures, uint32 [N, NUM_BINS], from the bins of documents that have shingles.

    Every bin takes the value of the first full bin in its own order of probes.
    """
    full = minima != EMPTY
    few = np.count_nonzero(full, axis=1) < NUM_BINS // 2
    filled = minima.copy()
    filled[few] = _look_from_full(minima[few])
    _probe(filled, minima, *np.nonzero(~full & ~few[:, None]))
    return filled


def _probe(
    filled: NDArray[np.uint32], minima: NDArray[np.uint32], documents: NDArray[np.int64], bins: NDArray[np.int64]
) -> None:
    """Where most bins are full: the empty ones look one after the other."""
    turn = 1
    while len(documents):
        values = minima[documents, probes()[bins, turn]]
        found = values != EMPTY
        filled[documents[found], bins[found]] = values[found]
        documents, bins, turn = documents[~found], bins[~found], turn + 1


def _look_from_full(minima: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Where few bins are full: for each of these, when all others would look at it; the earliest wins."""
    documents, bins = np.nonzero(minima != EMPTY)
    counts = np.bincount(documents, minlength=len(minima))
    assert counts.all(), "a document has at least one shingle"
    starts = np.cumsum(counts) - counts
    earliest = np.full(minima.shape, NUM_BINS - 1, dtype=np.uint8)
    for k in range(int(counts.max(initial=0))):
        np.minimum(earliest, _turns()[bins[starts + np.minimum(k, counts - 1)]], out=earliest)
    return np.take_along_axis(minima, probes()[np.arange(NUM_BINS), earliest], axis=1)
