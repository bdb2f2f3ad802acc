"""A rank that beats no more is named; one that left, or has not begun, is not."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from threading import Event, Thread

import pytest
from torch.distributed import TCPStore

from pretune.train.loop.beats import beat

QUICK = {"every": 0.02, "most": 0.3}


@pytest.fixture
def store() -> Iterator[TCPStore]:
    yield TCPStore("127.0.0.1", 0, 1, is_master=True, timeout=timedelta(seconds=1))


def run(store: TCPStore, rank: int, over: Event, told: list[str], world: int = 2) -> Thread:
    thread = Thread(target=beat, args=(store.clone(), "b", rank, world, over), kwargs={**QUICK, "end": told.append})
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

    beat(Gone(), "b", 1, 2, Event(), end=told.append)
    assert len(told) == 1 and "rank 0" in told[0]
