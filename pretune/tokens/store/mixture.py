"""Rows of several token stores in proportion, without tokenising anything again.

    3 : 1    a a b a  a a b a  a a b a ...     every stretch of the order has the shares, to one row
             0 1 0 2  3 4 1 5                  the how-manieth row of its store each is

An epoch holds a number of rows of each store: weight times size, as in a corpus's mixture, so a small store with a
large weight comes several times and a large one perhaps in part. Each store keeps its own order, in which the next
epoch goes on where this one ends: none of its rows is seen twice more than another. What stands at a position
is arithmetic on whole numbers, so the state is one integer here too, and ranks and cuts change nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pretune.base.errors import EmptyInput
from pretune.text.corpus.proportions import Proportions, times
from pretune.tokens.store.packing import Arrays, Rows


def mixed(parts: Mapping[str, Rows], proportions: Proportions) -> Rows:
    """The rows of all parts in proportion; of one part, that part.

    Raises:
        EmptyInput: a part has no rows; SettingsError: the weights name other parts than there are.
    """
    if empty := [name for name, rows in parts.items() if not len(rows)]:
        raise EmptyInput(f"{empty[0]} has no rows to train on", hint="leave it out of `tokens`, or give more text")
    if len(parts) == 1:
        return next(iter(parts.values()))
    sizes = {(name, name): len(rows) for name, rows in parts.items()}
    often = times(proportions, sizes)
    counts = [max(1, round(often[key] * size)) for key, size in sizes.items()]
    return MixedRows(dict(parts), np.array(counts, np.int64))


@dataclass(frozen=True)
class MixedRows:
    """Rows of several parts (the protocol Rows).

    Args:
        parts: by name.
        counts: rows of each part in an epoch, [K].
    """

    parts: Mapping[str, Rows]
    counts: NDArray[np.int64]

    def __len__(self) -> int:
        return int(self.counts.sum())

    def at(self, positions: NDArray[np.int64]) -> Arrays:
        part, place = self.places(positions)
        found: Arrays = {}
        for k, rows in enumerate(self.parts.values()):
            for name, array in (rows.at(place[part == k]) if (part == k).any() else {}).items():
                found.setdefault(name, np.zeros((len(part), *array.shape[1:]), array.dtype))[part == k] = array
        return found

    def sample(self, number: int) -> Arrays:
        """At most so many rows of all parts, of each as many as it is large."""
        whole = sum(len(rows) for rows in self.parts.values())
        found = [rows.sample(-(-number * len(rows) // whole)) for rows in self.parts.values()]
        return {name: np.concatenate([one[name] for one in found])[:number] for name in found[0]}

    def where(self, positions: NDArray[np.int64]) -> str:
        part, place = self.places(positions)
        there = [(name, place[part == k]) for k, name in enumerate(self.parts)]
        return "; ".join(f"{name}: {self.parts[name].where(places)}" for name, places in there if len(places))

    def places(self, positions: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(part, position in that part's own order) of each position.

        The first part stands where its share of the rows so far grows by one; the others share out the rest alike.
        """
        assert len(self) < 3_000_000_000, "a product of two numbers of rows must fit 63 bits"
        epochs, left = np.divmod(np.asarray(positions, np.int64), len(self))
        part, place = np.full(left.shape, len(self.counts) - 1), np.empty_like(left)
        is_open = np.ones(left.shape, bool)
        for k, count in enumerate(self.counts):
            whole = self.counts[k:].sum()
            before = left * count // whole
            mine = is_open & ((left + 1) * count // whole > before)
            part[mine], place[mine] = k, (epochs * count + before)[mine]
            is_open &= ~mine
            left = left - before
        return part, place
