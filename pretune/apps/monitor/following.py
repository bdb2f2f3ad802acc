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
        busy = list[float]()
        for source in tuple(self.sources):
            batch = source.read(self.store.places(source.name), AT_ONCE)
            self._take(source, batch)
            if batch.has_more:
                busy.append(max((one.time for one in batch.items if one.time is not None), default=0.0))
        # While a source still has old texts, no window is over that one of them may belong to.
        self.store.judge(min([self.store.now(), *busy]))
        return bool(busy)

    def _take(self, source: Source, batch: Batch) -> None:
        is_known = batch.refused == self.problems.get(source.name, [])
        if batch.items or batch.places or not is_known:
            self.store.take(source.name, batch, self.models.see(batch.items))
        if batch.refused and not is_known:
            self.write(f"{source.name}: {'; '.join(batch.refused[:3])}")
        if batch.is_over:
            self.write(f"{source.name}: there is no more to come")
            self.sources.remove(source)
        self.problems[source.name] = batch.refused

    def run(self, stop: threading.Event) -> None:
        """Rounds until it is told to stop."""
        self.is_running = True
        try:
            while not stop.is_set():
                if not self.round():
                    stop.wait(PAUSE)
        except Exception:
            # A thread that dies says nothing: whoever watches the watch has to see it.
            self.write(f"the watch has stopped:\n{traceback.format_exc()}")
        finally:
            self.is_running = False


@contextmanager
def running(
    follower: Follower, channels: Mapping[str, Channel], *, utc_offset: float, write: Callable[[str], object]
) -> Iterator[None]:
    """Both threads, for as long as the block lasts."""
    stop, store = threading.Event(), follower.store

    def delivering() -> None:
        while not stop.is_set():
            seconds = store.watching.seconds
            deliver(store.state, channels, seconds=seconds, utc_offset=utc_offset, now=clock.time(), write=write)
            stop.wait(PAUSE)

    threads = [threading.Thread(target=follower.run, args=(stop,)), threading.Thread(target=delivering)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()
