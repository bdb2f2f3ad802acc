"""Counts per window, exactly once: what came, the places of its sources, and what was found are one transaction.

    take(source, batch)    texts, counts and places of a batch together: a watch that is killed goes on behind it
    judge(until)           the windows that are over, in order: states of the series, alerts and their messages together

Texts that come again (a feed that is asked twice, a file that was sent once more) are known by their keys for as long
as texts are kept. Texts of a window that was judged already are counted there, and told as late.
"""

from __future__ import annotations

import json
import time as clock
from collections.abc import Callable, Iterable, Mapping, Sequence
from sqlite3 import Connection

from pretune.apps.monitor.reading import ALL, Seen
from pretune.apps.monitor.series import Signal, Watching
from pretune.apps.monitor.sources.source import Batch
from pretune.apps.monitor.states import Key, States
from pretune.apps.monitor.usual import WEEK
from pretune.apps.state import State
from pretune.base.digest import digest
from pretune.base.errors import WrongValue
from pretune.base.json import Json

MIGRATIONS = [
    """
    create table sources (name text primary key, texts integer not null default 0, repeated integer not null default 0,
      late integer not null default 0, ahead integer not null default 0, refused integer not null default 0,
      problem text, last real);
    create table places (source text, place text, at text not null, primary key (source, place)) without rowid;
    create table seen (key text primary key, time real not null) without rowid;
    create table texts (id integer primary key, time real not null, window integer not null, source text not null,
      sentiment text not null, score real not null, text text not null);
    create index texts_by_window on texts (window);
    create table subjects (text integer not null references texts (id) on delete cascade, kind text not null,
      name text not null, primary key (text, kind, name)) without rowid;
    create table counts (window integer, kind text, name text, sentiment text, number integer not null,
      primary key (window, kind, name, sentiment)) without rowid;
    create table series (kind text, name text, sentiment text, state text not null,
      primary key (kind, name, sentiment)) without rowid;
    create table watch (one integer primary key check (one = 1), settings text not null, live real not null,
      first integer, upto integer);
    create table alerts (id integer primary key, window integer not null, until integer not null, kind text not null,
      name text not null, sentiment text not null, method text not null, what text not null, score real not null,
      rises integer not null, count integer not null, usual real not null, acknowledged real, by text);
    create table messages (id integer primary key, window integer not null, channel text not null, alerts text not null,
      made real not null, tries integer not null default 0, next real not null default 0, error text, done real,
      given_up integer not null default 0)
    """,
    "create table history (key text primary key, time real not null) without rowid",
    """
    alter table watch add column seconds integer;
    alter table messages add column late integer not null default 0;
    create index counts_of_entities on counts (window) where kind = 'entity'
    """,
]
FUTURE = 3600.0
"""Seconds that a text may be ahead of the clock; one that is further has its time from the clock."""
HISTORY = 2 * 366 * 24 * 3600
"""Seconds that the first window may be in the past."""
FRESH = 24 * 3600.0
"""Alerts of windows that ended longer ago are sent as late where the watch was there by then (it had stopped), and else
kept and not sent: a history that is read is no news."""
SILENCE = 10.0
"""Windows without any text are a gap, and no zeros, where so many texts were expected in them together: by chance one
such time in 22,000 is empty."""


class Store:
    """The state of a watch.

    Args:
        alert_on: sentiments that alerts are raised for; all of them where it is empty.
        channels: names of what messages go to.
    """

    def __init__(
        self,
        state: State,
        watching: Watching,
        *,
        alert_on: Sequence[str] = (),
        channels: Sequence[str] = (),
        keep_days: float = 90,
        late_minutes: float = 5,
        now: Callable[[], float] = clock.time,
    ):
        self.state, self.watching, self.alert_on, self.channels = state, watching, alert_on, channels
        self.keep, self.late, self.now = keep_days * 24 * 3600, late_minutes * 60, now
        self.undecided: tuple[int, int] | None = None
        self._adopt()

    # ---- what comes in -------------------------------------------------------------------------

    def places(self, source: str) -> dict[str, Json]:
        """Where a source stood when its last batch was counted."""
        rows = self.state.rows("select place, at from places where source = ?", source)
        return {row["place"]: json.loads(row["at"]) for row in rows}

    def take(self, source: str, batch: Batch, seen: Sequence[Seen], *, since: Mapping[str, Json]) -> int:
        """Count a batch, once; returns how many of its texts are new.

        Args:
            since: the places from which it was read. Where they are others by now, another watch has counted it.
        """
        with self.state.writing() as db:
            now = self.places(source)
            if any(now.get(place) != since.get(place) for place in batch.places):
                return 0
            db.execute("insert or ignore into sources (name) values (?)", (source,))
            upto = self._watch()["upto"]
            new = [one for one in seen if self._is_new(db, one)]
            late = sum([self._add(db, source, one, upto) for one in new])
            ahead = sum((one.item.time or 0) > self.now() + FUTURE for one in new)
            db.executemany(
                "insert or replace into places values (?, ?, ?)",
                [(source, place, json.dumps(at)) for place, at in batch.places.items()],
            )
            db.execute(
                "update sources set texts = texts + ?, repeated = repeated + ?, late = late + ?, ahead = ahead + ?, "
                "refused = refused + ?, problem = ?, last = case when ? then ? else last end where name = ?",
                (
                    *(len(new), len(seen) - len(new), late, ahead, len(batch.refused)),
                    *("; ".join(batch.refused[:3]) or None, bool(new), self.now(), source),
                ),
            )
        return len(new)

    def _is_new(self, db: Connection, one: Seen) -> bool:
        keys = [key for key in (one.item.key, one.item.copied) if key]
        added = [db.execute("insert or ignore into seen values (?, ?)", (key, self.now())).rowcount for key in keys]
        return all(added)

    def _add(self, db: Connection, source: str, one: Seen, upto: int | None) -> bool:
        """A text and its counts, but if a history counted it; whether its window was judged already."""
        now = self.now()
        time = now if one.item.time is None or one.item.time > now + FUTURE else one.item.time
        window = self.watching.window_of(time)
        added = db.execute(
            "insert into texts (time, window, source, sentiment, score, text) values (?, ?, ?, ?, ?, ?)",
            (time, window, source, one.sentiment, one.score, one.item.text),
        )
        db.executemany("insert into subjects values (?, ?, ?)", [(added.lastrowid, *s) for s in one.subjects])
        if db.execute("delete from history where key = ?", (one.item.anywhere,)).rowcount:
            return False
        counted = [(window, *subject, one.sentiment, 1) for subject in one.subjects]
        count(db, counted)
        return upto is not None and window < upto

    # ---- what is found -------------------------------------------------------------------------

    def judge(self, until: float) -> list[int]:
        """Judge every window that was over at a time; returns the ids of new alerts."""
        end = self.watching.window_of(until - self.late)
        if not self._is_due(end):
            return []
        with self.state.writing() as db:
            watch = self._watch()
            first = watch["upto"] if watch["upto"] is not None else self._first()
            if first is not None and first > self.now() + self.watching.seconds:  # no second that was put right
                self._come_back(db, end)
            if first is None or first >= end:
                return []
            found = self._judge(db, first, end, watch["first"] if watch["first"] is not None else first)
            upto = self._watch()["upto"]
            if upto not in (None, first):
                self._prune(db, end)
        self.undecided = (first if upto is None else upto, end)
        return found

    def _is_due(self, end: int) -> bool:
        """Whether there is anything to judge, which is asked every second: nothing is locked or written for it."""
        upto = self._watch()["upto"]
        first = self._first() if upto is None else upto
        if first is None or first >= end:
            return first is not None and first > self.now() + self.watching.seconds
        sql = "select 1 from counts where window >= ? and window < ? limit 1"
        return self.undecided != (first, end) or self.state.one(sql, first, end) is not None

    def _judge(self, db: Connection, first: int, end: int, beginning: int, *, silent: bool = False) -> list[int]:
        states, found, empty = States(db, self.watching, beginning), list[int](), list[int]()
        awaited = SILENCE if self._is_silent(db, first) else 0.0
        for window in range(first, end, self.watching.seconds):
            counts = states.counts(window)
            if not counts:
                empty.append(window)
                awaited += states.mean(window)
                continue
            found += self._end_silence(db, states, empty, awaited, silent=silent)
            empty, awaited = [], 0.0
            signals = [(key, one) for key in states.keys(counts) for one in states.judge(key, window, counts)]
            wanted = [] if silent else [(k, s) for k, s in signals if not self.alert_on or k[2] in self.alert_on]
            found += self._raise(db, window, wanted)
        if empty and awaited >= SILENCE:
            found += self._end_silence(db, states, empty, awaited, silent=silent)
        elif empty:
            end = empty[0]  # whether they are zeros or a gap is not known yet
        if empty and end == first:
            return found
        states.save()
        db.execute("update watch set first = ?, upto = ?", (beginning, end))
        return found

    def _come_back(self, db: Connection, end: int) -> None:
        """Go on at the clock, which was ahead when windows were judged that are not over yet."""
        db.execute("update watch set upto = ?, first = min(first, ?)", (end, end))
        db.execute("update alerts set until = ? where until > ?", (end, end))

    def _end_silence(
        self, db: Connection, states: States, empty: Sequence[int], awaited: float, *, silent: bool
    ) -> list[int]:
        """Windows without a text: zeros like any other, or a gap, which is told and not learnt."""
        if awaited < SILENCE:
            for window in empty:
                for key in states.keys({}):
                    states.judge(key, window, {})
            return []
        # What was not there before the watch was is no news.
        is_told = empty and not silent and empty[0] >= self._watch()["live"] - self.watching.seconds
        return self._raise(db, empty[0], [self._silence(db, empty, awaited)], until=empty[-1]) if is_told else []

    def _is_silent(self, db: Connection, window: int) -> bool:
        """Whether a silence was told of that goes on in this window."""
        sql = "select 1 from alerts where method = 'silence' and until = ?"
        return db.execute(sql, (window,)).fetchone() is not None

    def _silence(self, db: Connection, empty: Sequence[int], awaited: float) -> tuple[Key, Signal]:
        is_new = not self._is_silent(db, empty[0])
        return (ALL.kind, ALL.name, ""), Signal("silence", "silence", awaited, False, 0, awaited, is_new)

    def _raise(
        self, db: Connection, window: int, signals: Iterable[tuple[Key, Signal]], *, until: int | None = None
    ) -> list[int]:
        """Keep what is new as alerts, all of a window in one message; what goes on as the same alert.

        Args:
            until: the last window of it, if it is not the first.
        """
        end, new = (window if until is None else until) + self.watching.seconds, list[int]()
        for key, one in signals:
            if one.is_new:
                facts = (one.method, one.what, one.score, one.rises, one.count, one.usual)
                added = db.execute(
                    "insert into alerts (window, until, kind, name, sentiment, method, what, score, rises, count, "
                    "usual) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (window, end, *key, *facts),
                )
                new.append(added.lastrowid or 0)
            else:
                db.execute(
                    "update alerts set until = ?, score = max(score, ?), count = max(count, ?) where id = (select "
                    "max(id) from alerts where kind = ? and name = ? and sentiment = ? and method = ?)",
                    (end, one.score, one.count, *key, one.method),
                )
        # A window may itself be as long as a day, and wait for late texts as long: what counts is when it was over.
        is_late = end + self.late < self.now() - FRESH
        if new and (not is_late or end > self._watch()["live"]):
            rows = [(window, channel, json.dumps(new), self.now(), is_late) for channel in self.channels]
            db.executemany("insert into messages (window, channel, alerts, made, late) values (?, ?, ?, ?, ?)", rows)
        return new

    # ---- what people do ------------------------------------------------------------------------

    def open_alerts(self) -> list[Json]:
        """Alerts that nobody has acknowledged and that still go on, or ended within the cooldown."""
        since = self.now() - self.late - self.watching.cooldown_hours * 3600
        return self.state.rows("select * from alerts where acknowledged is null and until >= ? order by id", since)

    def last_window(self) -> int:
        """The start of the last window that is over."""
        return self.watching.window_of(self.now() - self.late) - self.watching.seconds

    def acknowledge(self, alert: int, by: str) -> bool:
        """Somebody has seen it; whether there is such an alert. Who was first stays."""
        with self.state.writing() as db:
            sql = "update alerts set by = coalesce(by, ?), acknowledged = coalesce(acknowledged, ?) where id = ?"
            return db.execute(sql, (by, self.now(), alert)).rowcount == 1

    # ---- inside --------------------------------------------------------------------------------

    def _watch(self) -> Json:
        found = self.state.one("select * from watch")
        assert found is not None, "the store was adopted"
        return found

    def _first(self) -> int | None:
        """The first window that has a text, not further back than makes sense."""
        row = self.state.one("select min(window) as first from counts where window >= ?", self.now() - HISTORY)
        assert row is not None, "an aggregate has one row"
        found: int | None = row["first"]
        return found

    def _adopt(self) -> None:
        """With other settings than before the states of all series are made again, from the counts.

        Raises WrongValue: they were counted in windows of another length, which cannot be cut in others.
        """
        said = digest(self.watching.model_dump(mode="json"))
        with self.state.writing() as db:
            db.execute("insert or ignore into watch (one, settings, live) values (1, ?, ?)", (said, self.now()))
            watch = self._watch()
            self._same_windows(watch["seconds"], is_same=watch["settings"] == said)
            db.execute("update watch set seconds = ?", (self.watching.seconds,))
            if watch["settings"] != said:
                db.execute("delete from series")
                if watch["upto"] is not None:
                    self._judge(db, watch["first"], watch["upto"], watch["first"], silent=True)
                db.execute("update watch set settings = ?", (said,))

    def _same_windows(self, counted_in: int | None, *, is_same: bool) -> None:
        """Raise WrongValue where counts are of windows of another length; a state from before says none."""
        seconds = self.watching.seconds
        if counted_in == seconds or (counted_in is None and is_same) or not self.state.one("select 1 from counts"):
            return
        proof = (
            "select 1 from counts where window % ? != 0 union all select 1 from texts where time - window >= ? limit 1"
        )
        if counted_in is None and self.state.one(proof, seconds, seconds) is None:
            return
        told = "other windows" if counted_in is None else f"windows of {counted_in // 60} minutes"
        hint = (
            f"make the watch with watch.window_minutes={counted_in // 60}, or begin anew"
            if counted_in
            else "begin anew"
        )
        problem = f"watch.window_minutes is {seconds // 60}, and the state was counted in {told}"
        raise WrongValue(problem, hint=f"{hint} with an empty state: --state DIR")

    def begin_with(
        self, history: Sequence[tuple[int, str, str, str, int]], known: Sequence[tuple[str, int]] = ()
    ) -> None:
        """The counts of a history (window, kind, name, sentiment, number), of which nothing is told; once.

        What is dated ahead of the clock, or years ago (0 for "unknown"), is left out; the window that is not over yet
        is judged when it is.

        Args:
            known: (key, window) of its texts: one that a source gives, too, is kept and not counted again.
        """
        over = self.watching.window_of(self.now() - self.late)
        begin = self.now() - HISTORY
        rows = [row for row in history if begin <= row[0] <= over]
        with self.state.writing() as db:
            if not rows or self._watch()["upto"] is not None:
                return
            count(db, rows)
            keys = [(key, self.now()) for key, window in known if begin <= window <= over]
            db.executemany("insert or ignore into history values (?, ?)", keys)
            first, last = min(row[0] for row in rows), max(row[0] for row in rows)
            self._judge(db, first, min(last + self.watching.seconds, over), first, silent=True)

    def _prune(self, db: Connection, end: int) -> None:
        db.execute("delete from texts where window < ?", (end - self.keep,))
        # What the series of an entity still says something of: older counts are of names that nobody asks for.
        usual = self.watching.usual.weeks * WEEK
        db.execute("delete from counts where kind = 'entity' and window < ?", (end - max(self.keep, usual),))
        for table in ("seen", "history"):
            db.execute(f"delete from {table} where time < ?", (self.now() - self.keep,))


def count(db: Connection, rows: Iterable[tuple[int, str, str, str, int]]) -> None:
    """Add to the counts: (window, kind, name, sentiment, number)."""
    db.executemany(
        "insert into counts values (?, ?, ?, ?, ?) on conflict do update set number = number + excluded.number", rows
    )


def undelivered(state: State) -> dict[str, int]:
    """Messages that wait, or were given up, by channel; a channel that has none is there too."""
    rows = state.rows("select channel, sum(done is null) as number from messages group by channel")
    return {row["channel"]: row["number"] for row in rows}
