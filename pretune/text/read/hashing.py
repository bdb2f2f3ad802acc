"""Hashes of many stretches of a text at once: running sums of code[k] * BASE^(k + 1) modulo 2^64, their differences.

The powers are in a table, so any stretch costs two look-ups and a product, however long it is. Equal stretches have
equal hashes wherever they are; `mixed` spreads these over all 64 bits.

Source: the mixing function is the finaliser of MurmurHash3 (Austin Appleby, public domain).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
# Odd, and 5 modulo 8: its powers modulo 2^64 repeat only after 2^62 of them.
BASE = 0x9E3779B97F4A7C15
_LEAST = 1 << 17


def running_sums(codes: NDArray[np.unsignedinteger]) -> Hashes:
    """The sum before each place, and after the last: [C + 1] from codes [C]."""
    sums = np.zeros(len(codes) + 1, dtype=np.uint64)
    np.cumsum(codes * _powers(len(codes))[0][: len(codes)], out=sums[1:])
    return sums


def hashed(sums: Hashes, starts: NDArray[np.int64] | slice, stops: NDArray[np.int64] | slice) -> Hashes:
    """The sum of code[start + k] * BASE^(k + 1) of each stretch, modulo 2^64."""
    return np.asarray((sums[stops] - sums[starts]) * _powers(len(sums))[1][starts], dtype=np.uint64)


def mixed(values: Hashes) -> Hashes:
    """`values`, each bit of which now depends on all bits; works in place. uint64 of any shape."""
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        values ^= values >> np.uint64(33)
        values *= np.uint64(factor)
    values ^= values >> np.uint64(33)
    return values


def _powers(size: int) -> tuple[Hashes, Hashes]:
    """BASE^(k + 1) and BASE^-k modulo 2^64, for `size` k or more."""
    return _table(max(_LEAST, 1 << max(size - 1, 0).bit_length()))


@lru_cache(maxsize=4)
def _table(size: int) -> tuple[Hashes, Hashes]:
    up, down = np.full(size, BASE, dtype=np.uint64), np.full(size, pow(BASE, -1, 2**64), dtype=np.uint64)
    down[0] = 1
    return np.multiply.accumulate(up), np.multiply.accumulate(down)
