"""The validation split by source: which part of the mixture is learnt, and which is not. No torch.

A source is a store of the run where there are several, and within a store the `source` of its documents.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pretune.tokens.rows import Row
from pretune.tokens.store.packing import Packing, RowForm, spread
from pretune.tokens.store.store import Store
from pretune.train.loop.stream import rows_of

SOURCES = 8
"""The largest ones are told apart; of a corpus of a thousand sites nobody reads a thousand curves."""
VALIDATION_ROWS = 128
"""Rows of all sources together, and of the whole split: what the last validation reads."""
BEGINNINGS, BEGINNING_TOKENS = 2, 8


@dataclass(frozen=True)
class SourceRows:
    """Rows of a source, evenly spread over some of its documents, and what those documents are.

    Args:
        held_out: tokens, documents and num_bytes of the documents.
    """

    rows: list[Row]
    held_out: dict[str, int]


def parts(stores: Mapping[str, tuple[Path, Store]], packing: Packing, form: RowForm) -> dict[str, SourceRows]:
    """The largest sources of these stores' validation split, by name; none where there is one source."""
    found = [one for name, (folder, store) in stores.items() for one in _sources(name, folder, store)]
    if len(found) < 2:
        return {}
    largest = sorted(found, key=lambda one: -one.num_tokens)[:SOURCES]
    most, made = max(1, VALIDATION_ROWS // len(largest)), {}
    for one in largest:
        some = some_of(one.store, one.folder, one.numbers, most * form.room)
        rows = packing.rows(some, form, 0)
        if len(rows):
            made[one.name if len(stores) > 1 else one.source] = SourceRows(rows_of(rows.sample(most)), facts_of(some))
    return made


@dataclass(frozen=True)
class HeldOutSource:
    """The validation documents of one source in one store."""

    name: str
    source: str
    folder: Path
    store: Store
    numbers: NDArray[np.int64]

    @property
    def num_tokens(self) -> int:
        return int(self.store.lengths[self.numbers].sum())


def _sources(name: str, folder: Path, store: Store) -> list[HeldOutSource]:
    """Of a store that has one source, the store's own name is enough."""
    groups = sources_of(folder)
    return [
        HeldOutSource(name if len(groups) == 1 else f"{name}/{source}", source, folder, store, numbers)
        for source, numbers in groups.items()
    ]


def sources_of(folder: Path) -> dict[str, NDArray[np.int64]]:
    """The numbers of the validation documents of each source."""
    import pyarrow.parquet as pq

    column = pq.read_table(folder / "validation.documents.parquet", columns=["source"]).column("source")
    names = np.asarray(column.to_pylist(), dtype=object)
    return {str(name): np.flatnonzero(names == name) for name in sorted(set(names.tolist()))}


def some_of(store: Store, folder: Path, numbers: NDArray[np.int64], num_tokens: int) -> Store:
    """Documents of these numbers, evenly spread, with about so many tokens (one at least), as a store in memory."""
    import pyarrow.parquet as pq

    mean = max(1.0, float(store.lengths[numbers].mean()))
    chosen = numbers[spread(len(numbers), max(1, int(-(-num_tokens // mean))))]
    documents = [store.document(int(number)) for number in chosen]
    size = pq.read_table(folder / "validation.documents.parquet", columns=["bytes"]).column("bytes").to_numpy()
    ends = np.cumsum([len(one) for one in documents]).astype(np.uint64)
    return Store(np.concatenate(documents), ends, int(size[chosen].sum()), store.vocab_size, store.end_id)


def facts_of(store: Store) -> dict[str, int]:
    return {"tokens": store.num_tokens, "documents": store.num_documents, "num_bytes": store.num_bytes}


def beginnings(store: Store) -> list[list[int]]:
    """The first eight tokens of two documents that are longer."""
    long = np.flatnonzero(store.lengths > BEGINNING_TOKENS)
    chosen = long[spread(len(long), BEGINNINGS)]
    return [store.document(int(number))[:BEGINNING_TOKENS].tolist() for number in chosen]
