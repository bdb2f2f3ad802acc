"""One document per row, padded: each is seen from its beginning, at the price of what stays empty."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pretune.tokens.store.packing import Arrays, Packing, RowForm, Rows, Shuffled, begun, num_pieces, side_by_side
from pretune.tokens.store.store import Store


class DocumentPacking(Packing):
    """One document per row, the rest of it empty."""

    longer: Literal["split", "cut"] = "split"
    """A document longer than a row goes on in the next ones (split), or ends with it and loses its rest (cut)."""

    def rows(self, store: Store, form: RowForm, seed: int) -> Rows:
        counts = num_pieces(store.lengths, form)
        counts = np.minimum(counts, 1) if self.longer == "cut" else counts
        return Shuffled(Documents(store, form, np.cumsum(counts)), seed)


@dataclass(frozen=True)
class Documents:
    """Rows of one document, or of a piece of one.

    Args:
        lasts: one past the last row of each document, [num_documents].
    """

    store: Store
    form: RowForm
    lasts: NDArray[np.int64]

    def __len__(self) -> int:
        return int(self.lasts[-1]) if len(self.lasts) else 0

    def take(self, numbers: NDArray[np.int64]) -> Arrays:
        document = np.searchsorted(self.lasts, numbers, "right")
        begins, ends = self.store.spans(document)
        number = numbers - np.where(document > 0, self.lasts[document - 1], 0)
        starts = begins + number * (self.form.room - self.form.shared)
        sizes = np.minimum(ends - starts, self.form.room)
        ones = np.ones(len(numbers), np.int64)
        return begun(side_by_side(self.store, starts, sizes, ones, self.form.room), self.form.cls)
