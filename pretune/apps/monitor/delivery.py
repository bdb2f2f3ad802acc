"""Messages to channels, at least once: kept with the alerts they tell of, tried again until they arrive.

    messages: window 09:00, slack, tries 3, next 09:01:20, error "slack answers 503"

A message is marked as done after its channel took it. A watch that is killed between the two sends it once more, after
a while in which another one over the same state leaves it alone. A channel that fails is asked again in the next round,
so that one that is down holds up no other.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from itertools import takewhile

from pretune.apps.monitor.channels.channel import Channel
from pretune.apps.monitor.words import message_of
from pretune.apps.state import State
from pretune.base.errors import NotDelivered, PretuneError
from pretune.base.json import Json

FIRST, LONGEST, GIVEN_UP = 10.0, 3600.0, 2 * 24 * 3600.0
"""Seconds to the second try, between two tries at most, and until nothing is tried any more."""
TRYING = 120.0
"""Seconds in which a try is over: for so long nobody else sends the same."""
DUE = "done is null and not given_up and next <= ?"


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

    def arrives(row: Json) -> bool:
        return _delivered(state, channels, row, seconds, utc_offset, now, write)

    names = [row["channel"] for row in state.rows(f"select distinct channel from messages where {DUE}", now)]
    due = f"select * from messages where channel = ? and {DUE} order by id limit 100"
    return sum(len([*takewhile(arrives, state.rows(due, name, now))]) for name in names)


def _delivered(
    state: State,
    channels: Mapping[str, Channel],
    row: Json,
    seconds: int,
    utc_offset: float,
    now: float,
    write: Callable[[str], object],
) -> bool:
    if not _claimed(state, row, now):
        return False
    error = None
    try:
        if row["channel"] not in channels:
            raise NotDelivered(f"there is no channel {row['channel']!r} any more")
        channel = channels[row["channel"]]
        alerts = [state.one("select * from alerts where id = ?", one) for one in json.loads(row["alerts"])]
        there = [alert for alert in alerts if alert is not None]
        late = bool(row["late"])
        message = message_of(there, seconds=seconds, language=channel.language, utc_offset=utc_offset, late=late)
        channel.send(message, now=now, write=write)
    except PretuneError as caught:
        error = caught.problem
    _keep(state, row, error, now, write)
    return error is None


def _claimed(state: State, row: Json, now: float) -> bool:
    """Whether this process is the one that sends a message now."""
    sql = "update messages set next = ? where id = ? and next = ? and done is null"
    with state.writing() as db:
        return db.execute(sql, (now + TRYING, row["id"], row["next"])).rowcount == 1


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
