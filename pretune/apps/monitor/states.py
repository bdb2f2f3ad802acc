"""The states of all series while windows are judged, and which of them are forgotten.

A watch over names has no end of them. So a series of an entity begins with a window that has texts enough for an alert,
and is forgotten after `usual.weeks` without any text: begun again, it expects less than it did, and finds what it would
have found.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from sqlite3 import Connection

from pretune.apps.monitor.reading import ALL
from pretune.apps.monitor.series import Signal, Watching, is_idle, judge, newcomer
from pretune.base.json import Json

Key = tuple[str, str, str]
"""A series: kind and name of its subject, sentiment."""


class States:
    """What is known of every series, from the database and back.

    Args:
        beginning: the first window of the watch.
    """

    def __init__(self, db: Connection, watching: Watching, beginning: int):
        self.db, self.watching, self.beginning = db, watching, beginning
        rows = db.execute("select kind, name, sentiment, state from series")
        self.states: dict[Key, Json] = {(row[0], row[1], row[2]): json.loads(row[3]) for row in rows}
        self.forgotten: set[Key] = set()

    def counts(self, window: int) -> Mapping[Key, int]:
        rows = self.db.execute("select kind, name, sentiment, number from counts where window = ?", (window,))
        return {(row[0], row[1], row[2]): row[3] for row in rows}

    def mean(self, window: int) -> float:
        """Texts that usually come in a window."""
        all_texts = [state["usual"] for (kind, _, _), state in self.states.items() if kind == ALL.kind]
        return sum(self.watching.usual.mean(one, window) for one in all_texts)

    def keys(self, counts: Mapping[Key, int]) -> list[Key]:
        """Every series so far, and those that begin: an entity only when it has texts enough for an alert."""
        begun = [k for k, number in counts.items() if k[0] != "entity" or number >= self.watching.least]
        return sorted({*self.states, *begun})

    def judge(self, key: Key, window: int, counts: Mapping[Key, int]) -> list[Signal]:
        if key not in self.states:
            self.states[key] = newcomer(self.watching, self.beginning, window)
        found = judge(self.watching, self.states[key], window, counts.get(key, 0))
        if key[0] == "entity" and is_idle(self.watching, self.states[key], window):
            del self.states[key]
            self.forgotten.add(key)
        return found

    def save(self) -> None:
        gone = self.forgotten - self.states.keys()
        self.db.executemany("delete from series where kind = ? and name = ? and sentiment = ?", sorted(gone))
        rows = [(*key, json.dumps(state)) for key, state in self.states.items()]
        self.db.executemany("insert or replace into series values (?, ?, ?, ?)", rows)
