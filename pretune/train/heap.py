"""A heap of addresses alone: how far it reaches when blocks of these sizes are taken and given back in this order.

    taken    a b c d     given back   a . c .     e is larger than the gaps   a . c . e

What lives is not what is held: gaps stay. This is how glibc's malloc deals with large blocks once freed memory is kept
(runtime.keep_freed_memory): the smallest gap that is large enough; its rest stays a gap; neighbours that are free are
joined; what no gap holds lies at the top. An aligned block is cut out of one that is some bytes larger (torch aligns to
64). Where something small settles in the rest before the block is given back, the two are not joined again, and the
gap is too small for another block of the very same size.

Source: glibc 2.36 malloc.c: _int_malloc, _int_free, _int_memalign.
"""

from __future__ import annotations

from bisect import bisect_left, insort

HEADER, ALIGNMENT, SPARE = 16, 64, 96
"""Bytes in front of a block; what tensors are aligned to; how much larger the block is that one is cut out of."""
SETTLED = 5
"""In the rest of one block in so many something small settles: what came nearest on five shapes (docs/LOG.md)."""


class Heap:
    """Blocks in a row of addresses that begins at 0."""

    def __init__(self) -> None:
        self.top = 0
        self.reach = 0
        self.taken = 0
        self.gaps: list[tuple[int, int]] = []  # (bytes, address), ordered
        self.starts: dict[int, int] = {}  # address of a gap -> its bytes
        self.ends: dict[int, int] = {}  # one past a gap -> its address

    def take(self, size: int) -> tuple[int, int]:
        """(address, bytes that come back) of a new block."""
        own = -(-(size + HEADER) // ALIGNMENT) * ALIGNMENT
        address = self._place(own + SPARE)
        self.taken += 1
        return address, own if self.taken % SETTLED == 0 else own + SPARE

    def _place(self, need: int) -> int:
        at = bisect_left(self.gaps, (need, 0))
        if at == len(self.gaps):
            address, self.top = self.top, self.top + need
            self.reach = max(self.reach, self.top)
            return address
        found, address = self.gaps[at]
        self._forget(address, found)
        if found > need:
            self._remember(address + need, found - need)
        return address

    def give_back(self, address: int, size: int) -> None:
        """A block that was taken; gaps beside it are joined."""
        if (before := self.ends.get(address)) is not None:
            found = address - before
            self._forget(before, found)
            address, size = before, size + found
        if (behind := self.starts.get(address + size)) is not None:
            self._forget(address + size, behind)
            size += behind
        if address + size == self.top:
            self.top = address
        else:
            self._remember(address, size)

    def _remember(self, address: int, size: int) -> None:
        insort(self.gaps, (size, address))
        self.starts[address], self.ends[address + size] = size, address

    def _forget(self, address: int, size: int) -> None:
        del self.gaps[bisect_left(self.gaps, (size, address))]
        del self.starts[address], self.ends[address + size]
