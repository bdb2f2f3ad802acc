"""How far a heap reaches when blocks of these sizes are taken and given back in this order: asked of malloc itself.

    taken    a b c d     given back   a . c .     e is larger than the gaps   a . c . e

What lives is not what is held: gaps stay where freed memory is kept (runtime.keep_freed_memory), a quarter to two
thirds of what lives, and by no constant share. So the blocks are really taken, from the heap of this process, and
never written to: the system gives addresses for them and no memory. Everything small that a step allocates beside its
tensors settles between them, as it does in a real step; a simulation without it was wrong by half (docs/LOG.md).

All of it happens in a fork of this process: a heap that has grown by gigabytes of addresses never shrinks again, and
with it no program could be started any more.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil
import torch
from torch import Tensor

from pretune.train.runtime import keep_freed_memory, limited

LARGEST, SMALLEST = 2**30, 2**11
"""Bytes of what gaps are filled with: never so many that the system refuses them, and not worth it for fewer."""

PATIENCE = 120.0
"""Seconds after which a fork is given up; the longest rehearsal seen took 12."""


class Told(ctypes.Structure):
    """What mallinfo2 tells, in bytes; of its ten figures the two that are asked for (fordblks, keepcost)."""

    _fields_ = [("others", ctypes.c_size_t * 8), ("free", ctypes.c_size_t), ("free_at_top", ctypes.c_size_t)]


class Heap:
    """The heap of this process, from its top on.

    Args:
        start: the address where what is in use ends; up to the break malloc keeps the rest for later.
        gaps: bytes that are free below.
        reach: how far beyond `start` blocks have lain.
        room: how far they may: all memory of the machine.
        is_left: malloc has gone on somewhere else, so `reach` means nothing (it does once it was refused memory).
    """

    def __init__(self, libc: ctypes.CDLL) -> None:
        self.libc = libc
        libc.malloc.restype = libc.sbrk.restype = ctypes.c_void_p
        libc.mallinfo2.restype = Told
        told = libc.mallinfo2()
        self.gaps = told.free - told.free_at_top
        self.start = int(libc.sbrk(ctypes.c_ssize_t(0))) - told.free_at_top
        self.reach, self.room, self.is_left = 0, psutil.virtual_memory().total, False

    def take(self, size: int) -> list[Tensor]:
        """A new block, held as long as the list has it.

        Where it may not fit into the machine any more, none is asked for: then `reach` is `room` and stays there.
        A malloc that was refused once would go on in another heap, and so would the training after it.
        """
        if self.reach + size > self.room:
            self.reach = self.room
            return []
        block = torch.empty(size, dtype=torch.uint8, device="cpu")
        end = block.data_ptr() + size
        self.is_left |= end > self.libc.sbrk(ctypes.c_ssize_t(0))
        self.reach = max(self.reach, end - self.start)
        return [block]

    def _plain(self, size: int) -> int:
        """Not aligned as tensors are, which leaves a rest that would keep it from joining its neighbours again."""
        return int(self.libc.malloc(ctypes.c_size_t(size)) or 0)

    def _give_back(self, address: int) -> None:
        self.libc.free(ctypes.c_void_p(address))

    @contextmanager
    def without_gaps(self) -> Iterator[None]:
        """What the process did before leaves gaps; nothing shall find room in them."""
        fillers, size = [], min(self.gaps, LARGEST)
        while size >= SMALLEST:
            address = self._plain(size)
            if address and address + size <= self.start:
                fillers.append(address)
            else:
                self._give_back(address)
                size //= 2
        try:
            yield
        finally:
            for address in fillers:
                self._give_back(address)


@contextmanager
def heap_of_process() -> Iterator[Heap | None]:
    """The heap; None where there is no such heap: not glibc 2.33, a limited address space, not the main thread."""
    try:
        libc = ctypes.CDLL("libc.so.6")
        asked = libc.mallinfo2
    except (OSError, AttributeError):
        asked = None
    if not asked or limited() or threading.current_thread() is not threading.main_thread():
        yield None
        return
    keep_freed_memory()
    heap = Heap(libc)
    with heap.without_gaps():
        yield heap


def in_a_fork(call: Callable[[], int]) -> int | None:
    """What the call gives, found in a fork of this process; None where that fails or there is no such heap."""
    if sys.platform != "linux" or threading.current_thread() is not threading.main_thread():
        return None
    reading, writing = os.pipe()
    try:
        child = os.fork()
    except OSError:
        os.close(reading)
        os.close(writing)
        return None
    if not child:
        _answer(call, writing)
    os.close(writing)
    if not select.select([reading], [], [], PATIENCE)[0]:
        os.kill(child, signal.SIGKILL)
    told = os.read(reading, 32)
    os.close(reading)
    os.waitpid(child, 0)
    return int(told) if told else None


def _answer(call: Callable[[], int], pipe: int) -> None:
    """In the fork: nothing of it may be seen, neither an error nor what is done at the end of a process."""
    with contextlib.suppress(BaseException):
        torch.set_num_threads(1)  # the other threads were not forked: torch would wait for them for ever
        os.write(pipe, str(call()).encode())
    os._exit(0)
