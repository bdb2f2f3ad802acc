"""Do training texts hold what a model will be judged on? Shared 13-grams of units (units.py) tell.

Thirteen words in a row, or thirteen Chinese characters, hardly ever agree by chance. A text of fewer units is
compared whole: only a training text that is equal to it, but for case, spaces and marks, holds it.

Price: 8 bytes per 13-gram of the evaluation texts and a table of at most 16 MB.

Source: Brown et al. 2020, arXiv:2005.14165, appendix C (13-grams of lower-case words without punctuation).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pretune.text.dedup.shingles import mixed
from pretune.text.dedup.units import BASE, batches, units_of

_BASE = np.uint64(BASE)
_WHOLE = np.uint64(0xA0761D6478BD642F)


@dataclass(frozen=True)
class Hits:
    """Of `total` n-grams of a text, `found` stand in the other texts too; a short text is one n-gram."""

    found: int
    total: int

    @property
    def share(self) -> float:
        return self.found / self.total


@dataclass(frozen=True)
class Ngrams:
    """All n-grams of some texts.

    Args:
        length: units per n-gram.
        hashes: uint64, sorted, each once.
        prefixes: bool [2^b], which top b bits the hashes begin with; nearly all that is not there is told here.
    """

    length: int
    hashes: NDArray[np.uint64]
    prefixes: NDArray[np.bool_]

    @classmethod
    def of(cls, texts: Iterable[str], *, length: int = 13) -> Ngrams:
        """The n-grams of evaluation texts; a text without letters and figures has none."""
        found = [_ngrams(text, length) for text in texts if any(map(str.isalnum, text))]
        hashes = np.unique(np.concatenate([np.empty(0, dtype=np.uint64), *found]))
        prefixes = np.zeros(1 << min(16 + len(hashes).bit_length(), 24), dtype=bool)
        prefixes[_top(hashes, prefixes)] = True
        return cls(length, hashes, prefixes)

    def hits(self, text: str) -> Hits:
        """How many n-grams of a training text are among these; repeated ones count each time."""
        mine = _ngrams(text, self.length)
        likely = mine[self.prefixes[_top(mine, self.prefixes)]]
        places = np.searchsorted(self.hashes, likely)
        found = self.hashes[np.minimum(places, len(self.hashes) - 1)] == likely if len(likely) else likely
        return Hits(int(np.count_nonzero(found)), len(mine))


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
