"""A rank that beats no more is named; one that left, or has not begun, is not."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from threading import Event, Thread

import pytest
from torch.distributed import TCPStore

from pretune.train.loop.beats import Pulse, beat, miss

QUICK = {"every": 0.02, "most": 0.3}


@pytest.fixture
def store() -> Iterator[TCPStore]:
    yield TCPStore("127.0.0.1", 0, 1, is_master=True, timeout=timedelta(seconds=1))


def run(store: TCPStore, rank: int, over: Event, told: list[str], world: int = 2) -> Thread:
    thread = Thread(
        target=beat, args=(store.clone(), "b", rank, world, over, Pulse()), kwargs={**QUICK, "end": told.append}
    )
    thread.start()
    return thread


def test_a_rank_that_stops_beating_is_named_within_the_time_and_not_before_it_has_begun(store: TCPStore) -> None:
    told: list[str] = []
    thread = run(store, 0, Event(), told)
    time.sleep(0.6)  # rank 1 is still loading its data
    assert told == []
    store.set("b/1", "7")
    started = time.monotonic()
    thread.join(5)
    assert told == ["rank 1 has not moved for 0 s, it is frozen or gone; rank 0 ends, and so do all"]
    assert 0.3 <= time.monotonic() - started < 2


def test_ranks_that_beat_and_leave_one_after_the_other_end_nobody(store: TCPStore) -> None:
    told: list[str] = []
    over = [Event(), Event(), Event()]
    threads = [run(store, rank, one, told, world=3) for rank, one in enumerate(over)]
    time.sleep(0.5)
    over[1].set()
    threads[1].join(5)
    time.sleep(0.5)
    assert told == [] and threads[0].is_alive() and threads[2].is_alive()
    for one in over:
        one.set()
    for thread in threads:
        thread.join(5)
    assert told == []


def test_a_store_that_is_gone_is_told_as_rank_0(store: TCPStore) -> None:
    told: list[str] = []

    class Gone:
        def set(self, key: str, value: str) -> None:
            raise RuntimeError("Broken pipe")

    beat(Gone(), "b", 1, 2, Event(), Pulse(), end=told.append)
    assert len(told) == 1 and "rank 0" in told[0]


def test_a_store_that_never_answers_is_told_as_rank_0(store: TCPStore) -> None:
    """Rank 0 was stopped by SIGSTOP: torch's client waits in `set`, past its own time-out."""
    told: list[str] = []
    pulse, over, thaw = Pulse(), Event(), Event()

    class Frozen:
        def set(self, key: str, value: str) -> None:
            if key == "b/1" and value == "3":
                thaw.wait(10)
            store.set(key, value)

        def check(self, keys: list[str]) -> bool:
            return False

    beats = Thread(target=beat, args=(Frozen(), "b", 1, 2, over, pulse), kwargs={**QUICK, "end": told.append})
    beats.start()
    started = time.monotonic()
    miss(1, over, pulse, **QUICK, end=told.append)
    assert 0.3 <= time.monotonic() - started < 2
    assert len(told) == 1 and "the store of rank 0 does not answer" in told[0]
    over.set()
    thaw.set()
    beats.join(5)
    assert len(told) == 1


def test_a_process_that_stood_still_itself_accuses_nobody() -> None:
    """Ctrl-Z, and `fg` a minute later: the store had no time to answer."""
    told: list[str] = []

    class Stopped(Event):
        def wait(self, timeout: float | None = None) -> bool:
            time.sleep(0.5)  # longer than `most`, in one sleep of 0.02 s
            self.waits = getattr(self, "waits", 0) + 1
            return self.waits == 3

    miss(1, Stopped(), Pulse(), **QUICK, end=told.append)
    assert told == []
