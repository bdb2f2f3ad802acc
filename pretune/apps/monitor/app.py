"""A watch, opened: what it says of a text, what it does while it is served, and what it measures."""

from __future__ import annotations

import json
import time as clock
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pretune.apps.app import App, Started
from pretune.apps.monitor.following import Follower, running
from pretune.apps.monitor.reading import Models
from pretune.apps.monitor.settings import FILE, HISTORY, KNOWN, Setup
from pretune.apps.monitor.sources.choosing import source_of
from pretune.apps.monitor.store import MIGRATIONS, Store, undelivered
from pretune.apps.state import State, is_there
from pretune.base.artifact import Artifact
from pretune.base.json import Json
from pretune.infer.answers import Answer, Many
from pretune.infer.predictor import Advance, unheard

if TYPE_CHECKING:
    from starlette.routing import Route

    from pretune.serve.metrics import Gauge
    from pretune.serve.requests import Limits


class Monitor(App):
    """A watch with its models in memory."""

    follows: ClassVar[bool] = True

    def __init__(self, artifact: Artifact, models: Models, setup: Setup, folder: Path):
        self.artifact, self.models, self.setup, self.folder = artifact, models, setup, folder
        self.store: Store | None = None
        self.follower: Follower | None = None

    @classmethod
    def open(cls, artifact: Artifact, state: Path) -> Monitor:
        return cls(artifact, Models.of(artifact), setup_of(artifact), state)

    @classmethod
    def told(cls, artifact: Artifact, state: Path) -> Json:
        if not is_there(state):
            return {}
        kept = State(state, MIGRATIONS, reads=True)
        try:
            (row,) = kept.rows("select count(*) as texts, (select count(*) from alerts) as alerts from texts")
            waiting = undelivered(kept)
            problems = [f"{n} alerts for {channel} wait to be delivered" for channel, n in waiting.items() if n]
            return {**row, **({"problems": problems} if problems else {})}
        finally:
            kept.close()

    @property
    def gives(self) -> type[Answer]:
        return Many

    def answer(
        self, inputs: Sequence[Any], *, max_tokens: int = 256, strict: bool = True, advance: Advance = unheard
    ) -> list[Answer]:
        found: list[Answer] = [Many(parts) for parts in self.models.say(inputs)]
        advance(len(inputs))
        return found

    def routes(self, limits: Limits) -> list[Route]:
        from pretune.apps.monitor.pages import routes

        return routes(self.opened_store, limits, name=self.artifact.path.name)

    def gauges(self) -> list[Gauge]:
        from pretune.apps.monitor.measuring import gauges

        is_running = self.follower is not None and self.follower.is_running
        return gauges(self.opened_store(), is_running=is_running, now=clock.time())

    def opened_store(self) -> Store:
        """The store of a watch that is served."""
        assert self.store is not None, "a watch that answers requests is running"
        return self.store

    @contextmanager
    def running(self, started: Started) -> Iterator[None]:
        setup, channels = self.setup, self.setup.channels()
        for channel in channels.values():
            channel.check()
        sources = [source_of(one, column=setup.column, time=setup.time) for one in started.sources]
        if not sources:
            started.write("no source is followed: --source DIR, FILE, the address of a feed, or -")
        state = State(self.folder, MIGRATIONS)
        try:
            self.store = store_of(state, setup)
            self.store.begin_with(history_of(self.artifact), known_of(self.artifact))
            self.follower = Follower(self.store, self.models, sources, write=started.write)
            with running(self.follower, channels, utc_offset=setup.watch.usual.utc_offset, write=started.write):
                yield
        finally:
            state.close()


def store_of(state: State, setup: Setup) -> Store:
    """The store of a watch with these settings."""
    return Store(
        state,
        setup.watch,
        alert_on=setup.alert_on,
        channels=list(setup.channels()),
        keep_days=setup.keep_days,
        late_minutes=setup.late_minutes,
    )


def setup_of(artifact: Artifact) -> Setup:
    """What the stage wrote."""
    return Setup.model_validate(json.loads((artifact.path / FILE).read_text(encoding="utf-8")))


def history_of(artifact: Artifact) -> list[tuple[int, str, str, str, int]]:
    """The counts of the history that was replayed, if there was one."""
    return _rows(artifact.path / HISTORY, ("window", "kind", "name", "sentiment", "number"))


def known_of(artifact: Artifact) -> list[tuple[str, int]]:
    """By what its texts are known again, each with its window."""
    return _rows(artifact.path / KNOWN, ("key", "window"))


def _rows(file: Path, names: Sequence[str]) -> list[Any]:
    if not file.is_file():
        return []
    from pyarrow import parquet

    columns = parquet.read_table(file).to_pydict()
    return list(zip(*(columns[name] for name in names), strict=True))
