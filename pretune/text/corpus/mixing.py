"""The mixture: how often each training document is taken, and in which order.

    a group is taken 2.3 times (`proportions`)
        every document twice; in the order of a keyed hash, until the bytes are reached, once more

A larger share contains a smaller one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from pretune.base.errors import SettingsError, did_you_mean
from pretune.text.corpus.deciding import Shards, Verdict
from pretune.text.corpus.proportions import Proportions, times

SHUFFLED = "shuffled"
_NOT_TO_SORT_BY = ("text", "meta", "digest", "signature", "blank")
_TAKEN, _PLACED = b"pretune mixture 1", b"pretune order 1"


class Mixture(Proportions):
    """How the training split is put together; as it is, every document once, in the order read."""

    bytes: float | None = Field(default=None, gt=0)
    """Size of the mixture; none: as many bytes as the documents have."""
    order: str = ""
    """A column of the corpus, rising (characters), or falling (-characters), or shuffled; none: as read."""

    @property
    def is_plain(self) -> bool:
        return self == Mixture(max_repeats=self.max_repeats)


@dataclass(frozen=True)
class MixedDocuments:
    """What a mixture comes to.

    Args:
        often: int64 [N], how often each document of the shards is taken; 1 outside of the training split.
        ranks: int64 [R], the place of every training row, copy after copy of each document; None: as they come.
        bytes: of all training rows, where they have ranks.
    """

    often: NDArray[np.int64]
    ranks: NDArray[np.int64] | None = None
    bytes: int = 0


def mix(shards: Shards, verdict: Verdict, mixture: Mixture) -> MixedDocuments:
    """How often each training document is taken, and where it stands, from the columns alone.

    Raises:
        SettingsError: `mixture` names a source or a column that is not there.
    """
    often = np.ones(len(shards), dtype=np.int64)
    sorted_by = order_column(mixture.order, [n for n in shards.columns if n not in _NOT_TO_SORT_BY])
    if mixture.is_plain:
        return MixedDocuments(often)
    is_train = np.array([split == "train" for split in verdict.splits], dtype=bool)
    rows = _Columns(shards, is_train, sorted_by)
    often[is_train] = copies(mixture, rows.groups, rows.bytes, hashed(rows.ids, _TAKEN))
    taken = often[is_train]
    if not mixture.order and taken.max(initial=0) <= 1:
        return MixedDocuments(often)
    placed = ranks(mixture.order, rows.values, hashed(rows.ids, _PLACED), taken)
    return MixedDocuments(often, placed, int(rows.bytes @ taken))


class _Columns:
    """The columns of the training documents that a mixture is about."""

    def __init__(self, shards: Shards, is_train: NDArray[np.bool_], sorted_by: str | None):
        names = ["id", "source", "language", "bytes", *([sorted_by] if sorted_by else [])]
        table = pa.concat_tables(shards.tables(list(dict.fromkeys(names)))).filter(pa.array(is_train))
        self.ids: list[str] = table["id"].to_pylist()
        self.groups = list(zip(table["source"].to_pylist(), table["language"].to_pylist(), strict=True))
        self.bytes = table["bytes"].to_numpy().astype(np.int64)
        self.values = np.asarray(table[sorted_by].to_numpy()) if sorted_by else None


def hashed(ids: Iterable[str], key: bytes) -> NDArray[np.float64]:
    """A keyed hash of each id, in [0, 1)."""
    digests = (hashlib.blake2b(one.encode(), key=key, digest_size=8).digest() for one in ids)
    # 53 bits are what a float64 holds: 64 could round up to 1.0.
    return np.array([int.from_bytes(d, "big") >> 11 for d in digests], dtype=np.float64) / 2**53


# ---- how often ----------------------------------------------------------------------------------


def copies(
    mixture: Mixture, groups: Sequence[tuple[str, str]], bytes_of: NDArray[np.int64], placed: NDArray[np.float64]
) -> NDArray[np.int64]:
    """How often each document is taken: int64 [N].

    Args:
        groups: [N], the source and language of each.
        bytes_of: int64 [N].
        placed: float64 [N], a hash: the lowest of a group are taken once more, until its bytes are reached.
    """
    names = sorted(set(groups))
    numbers = {name: k for k, name in enumerate(names)}
    number = np.array([numbers[g] for g in groups], dtype=np.int64)
    sizes = np.bincount(number, bytes_of, len(names))
    often = times(mixture, dict(zip(names, sizes.astype(int).tolist(), strict=True)), mixture.bytes)
    wanted = np.array([often[name] for name in names])
    order = np.lexsort((placed, number))
    ends = np.cumsum(bytes_of[order]) - np.concatenate([[0], np.cumsum(sizes)])[number[order]]
    is_more = np.empty(len(groups), dtype=bool)
    # Half a document more or less: what is nearest to the bytes that are wanted.
    is_more[order] = ends - bytes_of[order] / 2 < ((wanted - np.floor(wanted)) * sizes)[number[order]]
    whole: NDArray[np.int64] = np.floor(wanted).astype(np.int64)[number]
    return whole + is_more


# ---- in which order -----------------------------------------------------------------------------


def ranks(
    order: str, column: NDArray[np.generic] | None, placed: NDArray[np.float64], often: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The place of every row, int64 [R]; document after document, and copy after copy of each.

    Args:
        column: [N], the values to sort by, for an order by a column.
        often: int64 [N], copies of each document; R is their sum.
    """
    documents = np.repeat(np.arange(len(often)), often)
    copy = np.arange(len(documents)) - np.repeat(np.cumsum(often) - often, often)
    if order == SHUFFLED:
        # A step of the golden ratio sends each copy to another place, far from the one before it.
        keys = [documents, (placed[documents] + copy * 0.6180339887498949) % 1.0]
    elif column is not None:
        values = np.unique(column, return_inverse=True)[1].astype(np.int64)
        keys = [copy, documents, (-values if order.startswith("-") else values)[documents]]
    else:
        keys = [documents, copy]  # the whole of it once, then what is repeated
    found = np.empty(len(documents), dtype=np.int64)
    found[np.lexsort(keys)] = np.arange(len(documents))
    return found


def order_column(order: str, columns: Sequence[str]) -> str | None:
    """The column that an order is about.

    Raises:
        SettingsError: there is none of that name.
    """
    if order in ("", SHUFFLED):
        return None
    name = order.removeprefix("-")
    if name not in columns:
        raise SettingsError(
            f"mixture.order names {name!r}, which is no column of the corpus",
            hint=did_you_mean(name, [SHUFFLED, *columns]),
        )
    return name
