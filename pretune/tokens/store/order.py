"""The order in which rows are seen: a pure function of (seed, position), with no index file and no state.

    position = step * batch + slot      counts on over epochs
    row      = permutation of epoch position // num_rows, at position % num_rows

So resume state is one integer, ranks and micro-batches cut one and the same order, and every epoch has
an order of its own. The permutation is a Feistel network on the next even power of two; values that fall
outside are sent through again until they fall inside (cycle walking, fewer than four rounds on average).

Source: Black & Rogaway 2002, "Ciphers with arbitrary finite domains", section 5.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

ROUNDS = 8
STRETCH = 1024
"""Positions whose rows are found at once and kept: of a small batch, numpy's calls would cost more than its rows."""
U = np.uint64


@dataclass(frozen=True)
class Order:
    """An endless order over `num_rows` rows."""

    num_rows: int
    seed: int

    def __post_init__(self) -> None:
        assert self.num_rows > 0, "an order needs rows"

    def row(self, position: int) -> int:
        """The row at one position."""
        return int(self.rows(np.array([position]))[0])

    def rows(self, positions: NDArray[np.integer]) -> NDArray[np.int64]:
        """The rows at many positions, in 0 ... num_rows - 1."""
        at = np.asarray(positions, dtype=np.uint64)
        first, last = (int(at.min()), int(at.max())) if at.size else (0, STRETCH)
        if first // STRETCH == last // STRETCH:
            return _stretch(self, first // STRETCH)[(at % U(STRETCH)).astype(np.int64)]
        return self._rows(at)

    def _rows(self, at: NDArray[np.uint64]) -> NDArray[np.int64]:
        epochs, offsets = at // U(self.num_rows), at % U(self.num_rows)
        keys = _mix(epochs ^ _mix(np.full_like(epochs, self.seed % 2**64)))
        found = _permute(offsets, keys, self._half_bits)
        while (outside := found >= self.num_rows).any():
            found[outside] = _permute(found[outside], keys[outside], self._half_bits)
        return found.astype(np.int64)

    @property
    def _half_bits(self) -> int:
        return max(1, ((self.num_rows - 1).bit_length() + 1) // 2)


@lru_cache(maxsize=64)
def _stretch(order: Order, number: int) -> NDArray[np.int64]:
    return order._rows(np.arange(number * STRETCH, (number + 1) * STRETCH, dtype=np.uint64))


def keyed(values: NDArray[np.integer], seed: int) -> NDArray[np.uint64]:
    """A keyed hash of each row of whole numbers, [N, K] -> [N]: what is drawn from (seed, epoch, place)."""
    found = _mix(np.full(len(values), seed % 2**64, np.uint64))
    for column in np.asarray(values, np.uint64).T:
        found = _mix(found ^ column)
    return found


def _permute(values: NDArray[np.uint64], keys: NDArray[np.uint64], half: int) -> NDArray[np.uint64]:
    """One pass through the network: a bijection on 0 ... 4 ** half - 1 for each key."""
    mask = U((1 << half) - 1)
    left, right = values >> U(half), values & mask
    for number in range(ROUNDS):
        left, right = right, left ^ (_mix(keys + right + U(number << 48)) & mask)
    return (left << U(half)) | right


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """splitmix64: every input bit moves every output bit."""
    x = x + U(0x9E3779B97F4A7C15)  # wraps round, as meant
    x = (x ^ (x >> U(30))) * U(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> U(27))) * U(0x94D049BB133111EB)
    return x ^ (x >> U(31))
