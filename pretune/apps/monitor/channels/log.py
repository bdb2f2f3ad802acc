"""Alerts as lines of the watch's own output."""

from __future__ import annotations

from collections.abc import Callable

from pretune.apps.monitor.channels.channel import Channel
from pretune.apps.monitor.words import Message


class LogChannel(Channel):
    """A line for each alert, where the watch was started."""

    kind: str = "log"

    def send(self, message: Message, *, now: float, write: Callable[[str], object]) -> None:
        for line in message.lines:
            write(f"alert: {line}")
