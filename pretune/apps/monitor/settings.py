"""What a watch is told: kept in `watch.json` of its artifact, with the thresholds that a replay has chosen."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pretune.apps.monitor.channels.channel import CHANNEL, Channel
from pretune.apps.monitor.channels.log import LogChannel
from pretune.apps.monitor.series import Watching
from pretune.base.artifact import unlike
from pretune.base.config import Config, chosen

FILE, HISTORY, KNOWN = "watch.json", "history.parquet", "known.parquet"


class Setup(Config):
    """How a watch reads, judges and tells."""

    watch: Watching = Watching()
    """What is counted and when it is a change."""
    alert_on: tuple[str, ...] = ()
    """Sentiments that alerts are raised for (negative); every one where it is not given."""
    alerts: tuple[Annotated[Channel, *chosen(CHANNEL)], ...] = (LogChannel(),)
    """Where alerts go: log, email, webhook, slack, dingtalk, feishu, wecom. Addresses and passwords are in variables of
    the environment."""
    column: str | None = None
    """The column of the texts in tables; by default found by its name."""
    time: str | None = None
    """The column that says when a text was written; by default found by its name. Texts without one have the time at
    which they came (of a file: when it last grew)."""
    late_minutes: float = Field(5, ge=0)
    """How long after its end a window waits for texts that come late, before it is judged."""
    keep_days: float = Field(90, gt=0)
    """How long texts are kept, to be looked at and to be known when they come again, and counts of entities, at least
    for `usual.weeks`; all other counts are kept for good."""

    def channels(self) -> dict[str, Channel]:
        """The channels by their names."""
        named: dict[str, Channel] = {}
        for channel in self.alerts:
            named[unlike(channel.kind, named)] = channel
        return named
