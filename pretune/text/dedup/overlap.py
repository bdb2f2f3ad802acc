"""Do training texts hold what a model will be judged on? By shared 13-grams of units (units.py).

Thirteen words in a row, or thirteen Chinese characters, hardly ever agree by chance. A text of fewer units is
compared whole: only a training text that is equal to it, but for case, spaces and marks, holds it.

A training text may be small inside a held-out one, or hold it among much else: both shares are reported.

Price: 12 bytes per 13-gram of the held-out texts and a table of at most 16 MB.

Source: Brown et al. 2020, arXiv:2005.14165, appendix C (13-grams of lower-case words without punctuation).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pretune.text.dedup.units import batches, units_of
from pretune.text.read.hashing import BASE, mixed

_BASE = np.uint64(BASE)
_WHOLE = np.uint64(0xA0761D6478BD642F)
_NONE: NDArray[np.uint64] = np.empty(0, dtype=np.uint64)


@dataclass(frozen=True)
class Hits:
    """What a training text shares with the held-out ones.

    Args:
        found, total: of `total` n-grams of the text, `found` are in held-out texts too; a short text is one n-gram.
        covered: the largest share of one held-out text's different n-grams that are in it.
        of: the number of that held-out text, -1 if there is none.
    """

    found: int
    total: int
    covered: float = 0.0
    of: int = -1

    @property
    def share(self) -> float:
        return self.found / self.total


@dataclass(frozen=True)
class Ngrams:
    """All n-grams of some held-out texts.

    Args:
        length: units per n-gram.
        hashes: uint64 [K], sorted, once per text that has it.
        owners: int32 [K], the text of each.
        sizes: int64 [number of texts], different n-grams of each.
        prefixes: bool [2^b], which top b bits the hashes begin with; they rule out nearly all that is not there.
    """

    length: int
    hashes: NDArray[np.uint64]
    owners: NDArray[np.int32]
    sizes: NDArray[np.int64]
    prefixes: NDArray[np.bool_]

    @classmethod
    def of(cls, texts: Iterable[str], *, length: int = 13) -> Ngrams:
        """The n-grams of held-out texts; a text without letters and figures has none."""
        found = [np.unique(_ngrams(t, length)) if any(map(str.isalnum, t)) else _NONE for t in texts]
        sizes = np.array([len(one) for one in found], dtype=np.int64)
        hashes = np.concatenate([_NONE, *found])
        owners = np.repeat(np.arange(len(found), dtype=np.int32), sizes)
        order = np.argsort(hashes, kind="stable")
        prefixes = np.zeros(1 << min(16 + len(hashes).bit_length(), 24), dtype=bool)
        prefixes[_top(hashes, prefixes)] = True
        return cls(length, hashes[order], owners[order], sizes, prefixes)

    def hits(self, text: str) -> Hits:
        """What a training text shares with these; its repeated n-grams count each time."""
        mine = _ngrams(text, self.length)
        likely = mine[self.prefixes[_top(mine, self.prefixes)]]
        lows, highs = (np.searchsorted(self.hashes, likely, side) for side in ("left", "right"))
        found = int(np.count_nonzero(highs > lows))
        return Hits(found, len(mine), *self._covered(likely[highs > lows])) if found else Hits(0, len(mine))

    def _covered(self, shared: NDArray[np.uint64]) -> tuple[float, int]:
        """The largest share of one text's n-grams among these, and that text; of equal ones the first."""
        once = np.unique(shared)
        lows, highs = (np.searchsorted(self.hashes, once, side) for side in ("left", "right"))
        places = np.concatenate([np.arange(low, high) for low, high in zip(lows, highs, strict=True)])
        owners, counts = np.unique(self.owners[places], return_counts=True)
        shares = counts / self.sizes[owners]
        best = int(shares.argmax())
        return float(shares[best]), int(owners[best])


def _top(hashes: NDArray[np.uint64], table: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The first bits of hashes, as many as number the table."""
    return (hashes >> np.uint64(65 - len(table).bit_length())).astype(np.int64)


def _ngrams(text: str, length: int) -> NDArray[np.uint64]:
    """The hash of every run of `length` units: uint64, in the order of the text; of all units if there are fewer."""
    units = mixed(np.concatenate([units_of(pieces).hashes for pieces, _ in batches([text])]))
    size = min(length, len(units))
    hashes = np.zeros(len(units) - size + 1, dtype=np.uint64)
    for k in range(size):
        hashes = hashes * _BASE + units[k : k + len(hashes)]
    # A short text must not be found inside a long one, nor the other way round.
    return mixed(hashes + (_WHOLE if len(units) < length else np.uint64(0)))
