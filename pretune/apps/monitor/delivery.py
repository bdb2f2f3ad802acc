"""Messages to channels, at least once: kept with the alerts they tell of, tried again until they arrive.

    messages: window 09:00, slack, tries 3, next 09:01:20, error "slack answers 503"

A message is marked as done after its channel took it. A watch that is killed between the two sends it once more.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from pretune.apps.monitor.channels.channel import Channel
from pretune.apps.monitor.words import message_of
from pretune.apps.state import State
from pretune.base.errors import NotDelivered, PretuneError
from pretune.base.json import Json

FIRST, LONGEST, GIVEN_UP = 10.0, 3600.0, 2 * 24 * 3600.0
"""Seconds to the second try, between two tries at most, and until nothing is tried any more."""


def deliver(
    state: State,
    channels: Mapping[str, Channel],
    *,
    seconds: int,
    utc_offset: float,
    now: float,
    write: Callable[[str], object],
) -> int:
    """Send every message whose turn it is; returns how many arrived.

    Args:
        seconds: length of a window.
    """
    waiting = state.rows(
        "select * from messages where done is null and not given_up and next <= ? order by id limit 100", now
    )
    return sum([_delivered(state, channels, row, seconds, utc_offset, now, write) for row in waiting])


def _delivered(
    state: State,
    channels: Mapping[str, Channel],
    row: Json,
    seconds: int,
    utc_offset: float,
    now: float,
    write: Callable[[str], object],
) -> bool:
    error = None
    try:
        if row["channel"] not in channels:
            raise NotDelivered(f"there is no channel {row['channel']!r} any more")
        channel = channels[row["channel"]]
        alerts = [state.one("select * from alerts where id = ?", one) for one in json.loads(row["alerts"])]
        there = [alert for alert in alerts if alert is not None]
        message = message_of(there, seconds=seconds, language=channel.language, utc_offset=utc_offset)
        channel.send(message, now=now, write=write)
    except PretuneError as caught:
        error = caught.problem
    _keep(state, row, error, now, write)
    return error is None


def _keep(state: State, row: Json, error: str | None, now: float, write: Callable[[str], object]) -> None:
    with state.writing() as db:
        if error is None:
            db.execute("update messages set done = ?, error = null where id = ?", (now, row["id"]))
            return
        wait = min(FIRST * 2 ** min(row["tries"], 20), LONGEST)
        is_over = now - row["made"] > GIVEN_UP
        db.execute(
            "update messages set tries = tries + 1, next = ?, error = ?, given_up = ? where id = ?",
            (now + wait, error, is_over, row["id"]),
        )
    if row["tries"] == 0 or is_over:
        what = "is given up" if is_over else f"is tried again in {wait:.0f} s"
        write(f"an alert for {row['channel']} did not arrive and {what}: {error}")
