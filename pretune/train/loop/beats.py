"""A rank that is frozen ends the others within half a minute, named; else they would wait for it for half an hour.

    rank 0   beat 7   beat 8   beat 9          looks at rank 1: beat 5, beat 5, beat 5 ... for 20 s: it ends itself
    rank 1   beat 5   (stopped)                looks at rank 0

Each rank counts in the store of the group, in a thread of its own with a connection of its own, and looks at the rank
behind it. Whoever started them (`nproc=2`, torchrun) ends the others when one ends. A rank that works for long, and
lets others wait, beats on: a frozen process does not, and neither does one whose machine is gone.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from itertools import count
from threading import Event, Thread
from typing import Any

from pretune.train.loop.ranks import joined

EVERY_SECONDS = 2.0
MOST_SECONDS = 20.0
"""Without a beat of the rank that is looked at, or without an answer of the store."""
LEFT = b"left"
SILENT = "rank {} ends: the store of rank 0 does not answer, so that rank is frozen or gone"
_numbers = count()


@contextmanager
def watched() -> Iterator[None]:
    """Beat, and look at the next rank, as long as the block lasts; nothing in a process that is alone."""
    if (ranks := joined()) is None:
        yield
        return
    store = ranks.store.clone()  # a wait of the main thread would hold the connection
    store.set_timeout(timedelta(seconds=MOST_SECONDS))
    over, pulse = Event(), Pulse()
    arguments = (store, f"pretune/beats/{next(_numbers)}", ranks.rank, ranks.world, over, pulse)
    thread = Thread(target=beat, args=arguments, name="beats", daemon=True)
    thread.start()
    Thread(target=miss, args=(ranks.rank, over, pulse), name="pulse", daemon=True).start()
    try:
        yield
    finally:
        over.set()
        thread.join(MOST_SECONDS)


class Pulse:
    """When the store answered last, by time.monotonic()."""

    def __init__(self) -> None:
        self.at = time.monotonic()


def ended(told: str) -> None:
    """Say why, and end this process at once: its main thread waits for a rank that does not come."""
    print(f"{told}; the same command continues  [rank-died]", file=sys.stderr, flush=True)
    os._exit(1)


def beat(
    store: Any,
    name: str,
    rank: int,
    world: int,
    over: Event,
    pulse: Pulse,
    *,
    every: float = EVERY_SECONDS,
    most: float = MOST_SECONDS,
    end: Callable[[str], None] = ended,
) -> None:
    """Count in the store until it is `over`; call `end` when the next rank has not counted for `most` seconds."""
    other, seen, at = (rank + 1) % world, b"", time.monotonic()
    for number in count():
        try:
            store.set(f"{name}/{rank}", str(number))
            now = store.get(f"{name}/{other}") if store.check([f"{name}/{other}"]) else b""
        except RuntimeError as error:
            if not over.is_set():
                end(f"{SILENT.format(rank)} ({error})")
            return
        pulse.at = time.monotonic()
        if now != seen or now in (b"", LEFT):
            seen, at = now, time.monotonic()
        elif time.monotonic() - at > most:
            end(f"rank {other} has not moved for {most:.0f} s, it is frozen or gone; rank {rank} ends, and so do all")
            return
        if over.wait(every):
            with suppress(RuntimeError):
                store.set(f"{name}/{rank}", LEFT.decode())
            return


def miss(
    rank: int,
    over: Event,
    pulse: Pulse,
    *,
    every: float = EVERY_SECONDS,
    most: float = MOST_SECONDS,
    end: Callable[[str], None] = ended,
) -> None:
    """Call `end` when the store has not answered for `most` seconds.

    It lies in rank 0, and of a frozen one torch's client awaits an answer without end, whatever its time-out.
    """
    before = time.monotonic()
    while not over.wait(every):
        now = time.monotonic()
        if now - before > most:  # it was this process that stood still
            pulse.at = now
        elif now - pulse.at > most:
            end(SILENT.format(rank))
            return
        before = now
