"""What a watch does while it is served: one thread reads, labels, counts and judges; another delivers messages."""

from __future__ import annotations

import threading
import time as clock
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from pretune.apps.monitor.channels.channel import Channel
from pretune.apps.monitor.delivery import deliver
from pretune.apps.monitor.reading import Models
from pretune.apps.monitor.sources.source import Batch, Source
from pretune.apps.monitor.store import Store
from pretune.base.json import Json

AT_ONCE = 256
"""Texts of a batch: a kill costs the labelling of one."""
PAUSE = 1.0
"""Seconds between two rounds when nothing is new."""


class Follower:
    """Sources, models and the store they fill.

    Args:
        write: takes a line for who started the watch.
    """

    def __init__(
        self, store: Store, models: Models, sources: Sequence[Source], *, write: Callable[[str], object] = print
    ):
        self.store, self.models, self.sources, self.write = store, models, list(sources), write
        self.problems: dict[str, list[str]] = {}
        self.is_running = False

    def round(self) -> bool:
        """A batch of every source, then what is over is judged; returns whether there is more at once."""
        busy, now = list[float](), self.store.now()
        for source in tuple(self.sources):
            since = self.store.places(source.name)
            batch = source.read(since, AT_ONCE)
            self._take(source, batch, since)
            if batch.has_more:
                # A time that is ahead of the clock says nothing of how far the source has come.
                times = (one.time for one in batch.items if one.time is not None and one.time <= now)
                busy.append(max(times, default=0.0))
        # While a source still has old texts, no window is over that one of them may belong to.
        self.store.judge(min([now, *busy]))
        return bool(busy)

    def _take(self, source: Source, batch: Batch, since: Mapping[str, Json]) -> None:
        is_known = batch.refused == self.problems.get(source.name, [])
        if batch.items or batch.places or not is_known:
            self.store.take(source.name, batch, self.models.see(batch.items), since=since)
        if batch.refused and not is_known:
            self.write(f"{source.name}: {'; '.join(batch.refused[:3])}")
        if batch.is_over:
            self.write(f"{source.name}: there is no more to come")
            self.sources.remove(source)
        self.problems[source.name] = batch.refused


@contextmanager
def running(
    follower: Follower, channels: Mapping[str, Channel], *, utc_offset: float, write: Callable[[str], object]
) -> Iterator[None]:
    """Both threads, for as long as the block lasts."""
    stop, store = threading.Event(), follower.store

    def deliver_all() -> bool:
        seconds = store.watching.seconds
        deliver(store.state, channels, seconds=seconds, utc_offset=utc_offset, now=clock.time(), write=write)
        return False

    works = (follower.round, deliver_all)
    threads = [threading.Thread(target=_again, args=(work, follower, stop), name=work.__name__) for work in works]
    follower.is_running = True
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _again(work: Callable[[], bool], follower: Follower, stop: threading.Event) -> None:
    """Do it until it is told to stop, at once where there is more."""
    try:
        while not stop.is_set():
            if not work():
                stop.wait(PAUSE)
    except Exception:
        # A thread that dies says nothing: whoever watches the watch has to see it (`pretune_monitor_running`).
        follower.is_running = False
        follower.write(f"the watch has stopped:\n{traceback.format_exc()}")
