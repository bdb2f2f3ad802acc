"""A stream that is followed, counted once and judged: killed anywhere, sent twice, late, silent, a history."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pretune.apps.monitor import states
from pretune.apps.monitor.channels.log import LogChannel
from pretune.apps.monitor.delivery import deliver
from pretune.apps.monitor.following import Follower, running
from pretune.apps.monitor.reading import Models
from pretune.apps.monitor.series import Watching, begin, judge, newcomer
from pretune.apps.monitor.sources.choosing import source_of
from pretune.apps.monitor.sources.growing import Growing
from pretune.apps.monitor.sources.source import Batch, Item, Source
from pretune.apps.monitor.store import Store
from pretune.apps.monitor.usual import Usual
from pretune.base.errors import WrongValue
from pretune.base.json import Json
from tests.apps.monitor.conftest import HOUR, MONDAY, Capitals, Clock, Words

DAYS = 9
BURST = MONDAY + 8 * 24 * HOUR + 10 * HOUR


def write(path: Path, rows: list[Json]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def story(seed: int = 0) -> list[Json]:
    """Nine days of news on the bank, 4 an hour, in their order; on the last day six times as many bad ones for 3 hours."""
    rng, rows = np.random.default_rng(seed), list[Json]()
    for hour in range(DAYS * 24):
        start = MONDAY + hour * HOUR
        for mood in ("negative", "positive"):
            mean = 24 if mood == "negative" and BURST <= start < BURST + 3 * HOUR else 4
            times = np.sort(rng.uniform(0, HOUR, rng.poisson(mean)))
            rows += [{"time": start + float(t), "text": f"{mood} news on the bank, {start + t:.2f}"} for t in times]
    return sorted(rows, key=lambda row: row["time"])


def everything(store: Store) -> Json:
    """All that is in the store, but ids."""
    tables = ("counts", "series", "seen", "sources", "places", "watch")
    found = {name: store.state.rows(f"select * from {name} order by 1, 2") for name in tables}
    found["texts"] = store.state.rows("select time, text, sentiment from texts order by time, text")
    found["alerts"] = store.state.rows(
        "select window, until, kind, name, sentiment, score from alerts order by 1, 3, 4, 5"
    )
    return json.loads(json.dumps(found))


def followed(store: Store, models: Models, *sources: Source) -> list[str]:
    lines = list[str]()
    follower = Follower(store, models, sources, write=lines.append)
    while follower.round():
        pass
    return lines


def test_bad_news_on_the_bank_that_surge_are_one_alert_an_hour_later(
    store: Callable[..., Store], models: Models, clock: Clock, tmp_path: Path
) -> None:
    clock.now = MONDAY + DAYS * 24 * HOUR
    write(tmp_path / "news.jsonl", story())
    kept = store(alert_on=["negative"])
    followed(kept, models, source_of(str(tmp_path / "news.jsonl")))
    found = kept.state.rows("select * from alerts order by kind")
    assert [(one["kind"], one["name"], one["sentiment"]) for one in found] == [
        ("all", "", "negative"),
        ("topic", "bank", "negative"),
    ]
    assert {one["window"] for one in found} == {BURST}  # the first hour of it, judged when it was over
    assert all(one["until"] >= BURST + 3 * HOUR for one in found)
    assert found[1]["count"] > 15
    assert 3 < found[1]["usual"] < 5


@pytest.mark.parametrize(("minutes", "late"), [(24 * 60, 5), (60, 30 * 60)])
def test_an_alert_is_sent_however_long_its_window_is_or_waits_for_texts(
    store: Callable[..., Store], models: Models, clock: Clock, tmp_path: Path, minutes: int, late: float
) -> None:
    end = MONDAY + 10 * 24 * HOUR
    rows = [{"time": MONDAY + day * 24 * HOUR + k, "text": "negative"} for day in range(9) for k in range(6)]
    write(tmp_path / "news.jsonl", [*rows, *({"time": end - k, "text": "negative"} for k in range(1, 100))])
    kept = store(Watching(window_minutes=minutes), channels=["log"], late_minutes=late)
    for clock.now in (end - 24 * HOUR + late * 60, end + late * 60 + 1):
        followed(kept, models, Growing(str(tmp_path / "news.jsonl")))
    assert {"window": end - minutes * 60} in kept.state.rows("select window from messages")


def test_a_silence_that_took_days_to_see_is_sent(
    store: Callable[..., Store], models: Models, clock: Clock, tmp_path: Path
) -> None:
    write(tmp_path / "news.jsonl", [{"time": MONDAY + k * 6 * HOUR, "text": "negative"} for k in range(10 * 4)])
    kept = store(channels=["log"])  # four texts a day: ten are due after two and a half
    for hour in range(10 * 24, 14 * 24):
        clock.now = MONDAY + hour * HOUR + 600
        followed(kept, models, Growing(str(tmp_path / "news.jsonl")))
    assert [row["method"] for row in kept.state.rows("select method from alerts")] == ["silence"]
    assert kept.state.rows("select count(*) as n from messages") == [{"n": 1}]


def test_a_watch_that_is_killed_anywhere_ends_with_what_one_that_was_not_has(
    store: Callable[..., Store], models: Models, clock: Clock, tmp_path: Path
) -> None:
    clock.now = MONDAY + DAYS * 24 * HOUR
    file = tmp_path / "news.jsonl"
    write(file, story())
    whole = store()
    followed(whole, models, Growing(str(file)))
    expected = everything(whole)
    whole.state.close()
    (tmp_path / "state").rename(tmp_path / "whole")
    kills, after = 0, 1_000
    for _ in range(500):
        kept = store()
        kept.state.db.set_progress_handler(lambda: 1, after)  # a statement dies after so many steps of SQLite's machine
        try:
            followed(kept, models, Growing(str(file)))
            break
        except sqlite3.OperationalError:
            kills, after = kills + 1, int(after * 1.2)
        finally:
            kept.state.db.set_progress_handler(None, 0)
            kept.state.close()
    assert kills > 5
    assert everything(store()) == expected


def test_what_comes_again_is_not_counted_again(
    store: Callable[..., Store], models: Models, clock: Clock, tmp_path: Path
) -> None:
    clock.now = MONDAY + 2 * HOUR
    rows = [{"id": k, "time": MONDAY + k, "text": f"negative {k}"} for k in range(10)]
    write(tmp_path / "a.jsonl", rows)
    write(tmp_path / "b.jsonl", rows[5:])
    kept = store()
    followed(kept, models, Growing(str(tmp_path / "a.jsonl")), Growing(str(tmp_path / "b.jsonl")))
    (tmp_path / "a.jsonl").write_text("", encoding="utf-8")  # rotated: a new file, with some of the old lines
    write(tmp_path / "a.jsonl", [*rows[8:], {"id": 10, "time": MONDAY + 10, "text": "negative 10"}])
    followed(kept, models, Growing(str(tmp_path / "a.jsonl")))
    assert kept.state.rows("select sum(number) as n from counts where kind = 'all'") == [{"n": 11}]
    assert [row["repeated"] for row in kept.state.rows("select repeated from sources order by name")] == [2, 5]


def test_two_places_that_number_their_texts_from_one_lose_none(
    store: Callable[..., Store], models: Models, clock: Clock, tmp_path: Path
) -> None:
    clock.now, kept = MONDAY + 2 * HOUR, store()
    for name in ("a", "b"):
        write(tmp_path / f"{name}.jsonl", [{"id": k, "time": MONDAY, "text": f"negative {name} {k}"} for k in range(3)])
    both = {"id": "https://example.com/1", "time": MONDAY}
    write(tmp_path / "a.jsonl", [{**both, "text": "negative"}])
    write(tmp_path / "b.jsonl", [{**both, "text": "negative, shortened"}])  # an address is one in the whole world
    followed(kept, models, *(Growing(str(tmp_path / f"{name}.jsonl")) for name in ("a", "b")))
    assert kept.state.rows("select sum(number) as n from counts where kind = 'all'") == [{"n": 7}]
    (tmp_path / "a.jsonl").write_text("", encoding="utf-8")
    write(tmp_path / "a.jsonl", [{"id": 1, "time": MONDAY, "text": "negative a 1, put right"}])
    followed(kept, models, Growing(str(tmp_path / "a.jsonl")))
    assert [row["repeated"] for row in kept.state.rows("select repeated from sources order by name")] == [1, 1]


def test_a_text_from_the_past_is_counted_in_its_window_and_told_as_late(
    store: Callable[..., Store], models: Models, clock: Clock, tmp_path: Path
) -> None:
    clock.now = MONDAY + 10 * HOUR
    file = tmp_path / "news.jsonl"
    write(file, [{"time": MONDAY + k * HOUR, "text": "negative"} for k in range(9)])
    kept = store()
    followed(kept, models, Growing(str(file)))
    write(file, [{"time": MONDAY + HOUR + 1, "text": "negative"}, {"time": MONDAY + 10**9, "text": "negative"}])
    followed(kept, models, Growing(str(file)))
    assert kept.state.rows("select late, ahead from sources") == [{"late": 1, "ahead": 1}]
    window, now = MONDAY + HOUR, kept.watching.window_of(clock.now)  # the clock of the second was wrong
    rows = kept.state.rows("select window, number from counts where kind = 'all' and (number > 1 or window = ?)", now)
    assert [(row["window"], row["number"]) for row in rows] == [(window, 2), (now, 1)]


def test_a_stream_that_stops_is_told_of_once_and_is_no_new_usual(
    store: Callable[..., Store], models: Models, clock: Clock, tmp_path: Path
) -> None:
    file = tmp_path / "news.jsonl"
    rows = [{"time": MONDAY + k * 180, "text": "negative"} for k in range(20 * 24 * 8)]  # 20 an hour, eight days
    gap = (MONDAY + 7.5 * 24 * HOUR, MONDAY + 7.75 * 24 * HOUR)
    rows, kept = [row for row in rows if not gap[0] <= row["time"] < gap[1]], store(channels=["log"])
    for hour in range(7 * 24, 8 * 24 + 1):  # the clock goes on while nothing comes
        clock.now = MONDAY + hour * HOUR + 600
        write(file, [row for row in rows if row["time"] < clock.now])
        rows = [row for row in rows if row["time"] >= clock.now]
        followed(kept, models, Growing(str(file)))
    (alert,) = kept.state.rows("select * from alerts")
    assert (alert["method"], alert["window"], alert["until"]) == ("silence", gap[0], gap[1])
    assert kept.state.rows("select count(*) as n from messages") == [{"n": 1}]
    state = json.loads(kept.state.rows("select state from series where kind = 'all'")[0]["state"])
    assert kept.watching.usual.expected(state["usual"], int(clock.now)) == pytest.approx(20, rel=0.01)


def test_hours_in_which_nobody_writes_are_zeros_and_no_silence(
    store: Callable[..., Store], models: Models, clock: Clock, tmp_path: Path
) -> None:
    file, kept = tmp_path / "news.jsonl", store()
    write(file, [{"time": MONDAY + k * 7 * HOUR, "text": "negative"} for k in range(8 * 24 // 7)])
    clock.now = MONDAY + 8 * 24 * HOUR
    followed(kept, models, Growing(str(file)))
    assert kept.state.rows("select * from alerts") == []
    state = json.loads(kept.state.rows("select state from series where kind = 'all'")[0]["state"])
    level = state["usual"]["sum"] / state["usual"]["number"]
    assert level == pytest.approx(1 / 7, rel=0.1)


def test_an_entity_that_was_never_seen_before_can_surge_at_once(
    store: Callable[..., Store], clock: Clock, tmp_path: Path
) -> None:
    file = tmp_path / "news.jsonl"
    write(file, [{"time": MONDAY + k * HOUR, "text": "positive quiet"} for k in range(9 * 24)])
    write(file, [{"time": MONDAY + 8.5 * 24 * HOUR + k, "text": f"negative Acme {k}"} for k in range(6)])
    clock.now = MONDAY + 9 * 24 * HOUR
    kept = store(alert_on=["negative"])
    followed(kept, Models(Words(("negative", "positive")), tags=Capitals()), Growing(str(file)))
    rows = kept.state.rows("select kind, name, count from alerts order by kind")
    assert [tuple(row.values()) for row in rows] == [("all", "", 6), ("entity", "Acme", 6)]


def test_other_thresholds_judge_the_same_counts_as_if_they_had_been_there_from_the_start(
    store: Callable[..., Store], models: Models, clock: Clock, tmp_path: Path
) -> None:
    clock.now = MONDAY + DAYS * 24 * HOUR
    write(tmp_path / "news.jsonl", story())
    followed(store(), models, Growing(str(tmp_path / "news.jsonl")))
    other = Watching.model_validate({"detect": ["ewma", "page-hinkley"], "usual": {"weeks": 2}})
    changed = store(other).state.rows("select * from series order by kind, name, sentiment")
    (tmp_path / "state").rename(tmp_path / "before")
    fresh = store(other)
    followed(fresh, models, Growing(str(tmp_path / "news.jsonl")))
    assert changed == fresh.state.rows("select * from series order by kind, name, sentiment")


def test_two_watches_over_one_state_count_each_text_once(
    store: Callable[..., Store], models: Models, clock: Clock, tmp_path: Path
) -> None:
    clock.now, file = MONDAY + HOUR, tmp_path / "news.txt"
    file.write_text(f"negative {'x' * 250}\n" * 600, encoding="utf-8")  # lines without a key
    one, two = (Follower(store(), models, [Growing(str(file))]) for _ in range(2))
    since = two.store.places(str(file))
    batch = two.sources[0].read(since, 256)
    assert one.round()  # the first counts what the second has read, too
    two.store.take(str(file), batch, models.see(batch.items), since=since)
    while one.round() or two.round():
        pass
    assert one.store.state.rows("select texts from sources") == [{"texts": 600}]


def test_a_watch_whose_thread_dies_says_so(store: Callable[..., Store], models: Models) -> None:
    class Broken(Source):
        name = "broken"

        def read(self, places: object, most: int) -> Batch:
            raise ValueError("a bug")

    lines, follower = list[str](), Follower(store(), models, [Broken()])
    follower.write = lines.append
    with running(follower, {}, utc_offset=0, write=lines.append):
        for _ in range(1000):
            if not follower.is_running:
                break
            time.sleep(0.01)
    assert not follower.is_running
    assert "the watch has stopped" in lines[0]
    assert "a bug" in lines[0]


class Slow(Source):
    """A source that gives two batches, its old texts last."""

    def __init__(self, name: str, times: list[float]):
        self.name, self.times = name, times

    def read(self, places: object, most: int) -> Batch:
        if not self.times:
            return Batch()
        return Batch([Item("negative", self.times.pop(0))], {"": {}}, has_more=bool(self.times))


def test_no_window_is_over_while_a_source_still_has_old_texts(
    store: Callable[..., Store], models: Models, clock: Clock
) -> None:
    clock.now = MONDAY + 10 * HOUR
    kept = store()
    followed(kept, models, Slow("a", [MONDAY + 9 * HOUR]), Slow("b", [MONDAY, MONDAY + HOUR, MONDAY + 2 * HOUR]))
    assert [row["late"] for row in kept.state.rows("select late from sources")] == [0, 0]


def test_a_text_from_the_future_closes_no_window_of_a_source_that_has_old_ones(
    store: Callable[..., Store], models: Models, clock: Clock
) -> None:
    clock.now, wrong = MONDAY + 10 * HOUR, MONDAY + 10**9
    followed(kept := store(), models, Slow("a", [MONDAY, MONDAY + HOUR, wrong, MONDAY + 2 * HOUR]))
    assert kept.state.rows("select late, ahead from sources") == [{"late": 0, "ahead": 1}]


def test_a_watch_goes_on_when_a_clock_that_was_ahead_is_put_right(
    store: Callable[..., Store], models: Models, clock: Clock, tmp_path: Path
) -> None:
    file, kept = tmp_path / "news.jsonl", store(channels=["log"])
    write(file, [{"time": MONDAY + k * 180, "text": "negative"} for k in range(20 * 24 * 8)])
    clock.now = MONDAY + 20 * 24 * HOUR  # twelve days ahead
    followed(kept, models, Growing(str(file)))
    clock.now = MONDAY + 8 * 24 * HOUR
    followed(kept, models, Growing(str(file)))
    assert [one for one in kept.open_alerts() if one["until"] > clock.now] == []
    write(file, [{"time": clock.now + k, "text": "negative"} for k in range(200)])
    clock.now += 2 * HOUR
    followed(kept, models, Growing(str(file)))
    assert {"window": MONDAY + 8 * 24 * HOUR, "method": "ewma"} in kept.state.rows("select window, method from alerts")


def test_a_history_with_wrong_dates_neither_stops_a_watch_nor_takes_it_years_back(
    store: Callable[..., Store], clock: Clock
) -> None:
    clock.now = MONDAY + 10.5 * HOUR
    kept, right = store(), range(MONDAY, MONDAY + 11 * HOUR, HOUR)
    kept.begin_with([(window, "all", "", "negative", 3) for window in (0, *right, MONDAY + 10**9 // HOUR * HOUR)])
    (watch,) = kept.state.rows("select first, upto from watch")
    assert watch == {"first": MONDAY, "upto": MONDAY + 10 * HOUR}  # the hour that is not over is judged when it is
    assert kept.state.rows("select sum(number) as n from counts") == [{"n": 33}]


# ---- names without end --------------------------------------------------------------------------

NAMES = Models(Words(("negative", "positive")), tags=Capitals())
SHORT = Watching(usual=Usual(weeks=1 / 14), warmup_days=0)
"""What is usual fades by half in twelve hours."""


def names(hours: int) -> list[Json]:
    """A calm text an hour; every third hour a name that was never there surges, and every day one that comes back."""
    rows = [{"time": MONDAY + k * HOUR, "text": f"positive calm {k}"} for k in range(hours)]
    for k in range(12, hours, 3):
        name = "Again" if k % 24 == 0 else f"Name{k}"
        rows += [{"time": MONDAY + k * HOUR + j, "text": f"negative {name} {j}"} for j in range(1, 9)]
    return sorted(rows, key=lambda row: row["time"])


def test_names_that_are_gone_are_forgotten_and_no_alert_with_them(
    store: Callable[..., Store], clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, alerts = (
        tmp_path / "news.jsonl",
        "select window, name, method from alerts where kind = 'entity' order by 1, 2",
    )
    write(file, names(5 * 24))
    clock.now = MONDAY + 5 * 24 * HOUR
    followed(kept := store(SHORT), NAMES, Growing(str(file)))
    number = "select count(*) as n from series where kind = 'entity'"
    assert kept.state.rows(number)[0]["n"] <= 12 / 3 + 2  # what came in the last twelve hours
    found = kept.state.rows(alerts)
    assert len(found) == len(range(12, 5 * 24, 3))  # each of the names, and Again every day
    kept.state.close()
    (tmp_path / "state").rename(tmp_path / "before")
    monkeypatch.setattr(states, "is_idle", lambda *_: False)
    followed(whole := store(SHORT), NAMES, Growing(str(file)))
    assert whole.state.rows(number)[0]["n"] > 30
    assert {tuple(one.values()) for one in whole.state.rows(alerts)} <= {tuple(one.values()) for one in found}


def test_names_are_forgotten_alike_however_often_a_watch_looks(
    store: Callable[..., Store], clock: Clock, tmp_path: Path
) -> None:
    rows, file = names(40), tmp_path / "news.jsonl"
    write(file, rows)
    clock.now = MONDAY + 40 * HOUR + 600
    followed(once := store(SHORT), NAMES, Growing(str(file)))
    tables = ("select * from series order by 1, 2, 3", "select window, name, until from alerts order by 1, 2")
    expected = [once.state.rows(sql) for sql in tables]
    once.state.close()
    (tmp_path / "state").rename(tmp_path / "before")
    file.unlink()
    kept = store(SHORT)
    for hour in range(0, 41, 4):
        clock.now = MONDAY + hour * HOUR + 600
        write(file, [row for row in rows if clock.now - 4 * HOUR <= row["time"] < clock.now])
        followed(kept, NAMES, Growing(str(file)))
    assert [kept.state.rows(sql) for sql in tables] == expected


def test_counts_of_names_are_kept_as_long_as_texts_and_those_of_all_texts_for_good(
    store: Callable[..., Store], clock: Clock, tmp_path: Path
) -> None:
    write(tmp_path / "news.jsonl", names(4 * 24))
    clock.now = MONDAY + 4 * 24 * HOUR + 600
    followed(kept := store(SHORT, keep_days=1), NAMES, Growing(str(tmp_path / "news.jsonl")))
    first = "select min(window) as first from counts where kind = ?"
    assert kept.state.rows(first, "all") == [{"first": MONDAY}]
    assert kept.state.rows(first, "entity")[0]["first"] >= MONDAY + 3 * 24 * HOUR


def test_a_topic_that_was_never_seen_before_rises_from_nothing(
    store: Callable[..., Store], models: Models, clock: Clock, tmp_path: Path
) -> None:
    watching = Watching.model_validate({"detect": ["page-hinkley"], "warmup_days": 1})
    write(tmp_path / "a.jsonl", [{"time": MONDAY + k * HOUR, "text": "positive rail"} for k in range(60)])
    rows = [{"time": MONDAY + (48 + k // 4) * HOUR + k, "text": f"negative bank {k}"} for k in range(48)]
    write(tmp_path / "a.jsonl", sorted(rows, key=lambda row: row["time"]))
    clock.now = MONDAY + 60 * HOUR + 600
    followed(kept := store(watching), models, Growing(str(tmp_path / "a.jsonl")))
    found = kept.state.rows("select name, rises from alerts where kind = 'topic' and sentiment = 'negative'")
    assert found == [{"name": "bank", "rises": 1}]


def test_a_series_that_begins_expects_what_one_does_that_saw_nothing_so_far() -> None:
    watching, hours = Watching(), 40 * 7 * 24  # five half-lives
    whole = begin(watching)
    for start in range(MONDAY, MONDAY + hours * HOUR, HOUR):
        judge(watching, whole, start, 0)
    new = newcomer(watching, MONDAY, MONDAY + hours * HOUR)
    assert new["usual"]["number"] == pytest.approx(whole["usual"]["number"], rel=1e-12)
    assert new["first"] == whole["first"]


# ---- what is not written, and what is refused ---------------------------------------------------


def test_a_watch_that_waits_writes_nothing(
    store: Callable[..., Store], models: Models, clock: Clock, tmp_path: Path
) -> None:
    write(tmp_path / "news.jsonl", [{"time": MONDAY + k * 6 * HOUR, "text": "negative"} for k in range(40)])
    kept, said = store(), list[str]()
    clock.now = MONDAY + 40 * 6 * HOUR + 10 * HOUR  # the last windows are empty: zeros or a gap, nobody knows
    followed(kept, models, source := Growing(str(tmp_path / "news.jsonl")))
    kept.state.db.set_trace_callback(said.append)
    for _ in range(5):
        clock.now += 1
        followed(kept, models, source)
    assert [sql for sql in said if not sql.lower().startswith("select")] == []
    assert not any("from series" in sql for sql in said)
    kept.state.db.set_trace_callback(None)
    write(tmp_path / "news.jsonl", [{"time": clock.now, "text": "negative"}])
    clock.now += 2 * HOUR
    followed(kept, models, source)
    assert kept.state.rows("select upto from watch") == [{"upto": kept.watching.window_of(clock.now) - HOUR}]


@pytest.mark.parametrize(("before", "now"), [(60, 30), (30, 60), (60, 90)])
def test_counts_are_not_judged_in_windows_of_another_length(
    store: Callable[..., Store], models: Models, clock: Clock, tmp_path: Path, before: int, now: int
) -> None:
    clock.now = MONDAY + 5 * HOUR
    store(Watching(window_minutes=now))  # nothing is counted yet
    write(tmp_path / "news.jsonl", [{"time": MONDAY + k * 600, "text": "negative"} for k in range(24)])
    kept = store(Watching(window_minutes=before))
    followed(kept, models, Growing(str(tmp_path / "news.jsonl")))
    expected = everything(kept)
    for known in (True, False):  # a state that was made before lengths were kept
        with pytest.raises(WrongValue, match=f"window_minutes is {now}, and the state was counted in") as caught:
            store(Watching(window_minutes=now))
        assert "--state DIR" in str(caught.value.hint)
        assert everything(store(Watching(window_minutes=before))) == expected
        if known:
            with kept.state.writing() as db:
                db.execute("update watch set seconds = null")


def test_a_burst_that_came_while_the_watch_had_stopped_is_sent_as_late_and_once(
    store: Callable[..., Store], models: Models, clock: Clock, tmp_path: Path
) -> None:
    rows, file, lines = story(), tmp_path / "news.jsonl", list[str]()
    write(file, [row for row in rows if row["time"] < BURST - HOUR])
    clock.now = BURST - HOUR
    followed(before := store(alert_on=["negative"], channels=["log"]), models, Growing(str(file)))
    before.state.close()
    write(file, [row for row in rows if row["time"] >= BURST - HOUR])
    clock.now = MONDAY + (DAYS + 3) * 24 * HOUR
    for _ in range(2):  # it is started again twice
        followed(kept := store(alert_on=["negative"], channels=["log"]), models, Growing(str(file)))
        deliver(kept.state, {"log": LogChannel()}, seconds=HOUR, utc_offset=0, now=clock.now, write=lines.append)
    burst = [line for line in lines if "surged" in line]
    assert [line.split(" ", 4)[:4] for line in burst] == [["alert:", "2026-01-13", "10:00", ""]] * 2
    assert all(" late: negative texts" in line for line in burst)  # on all texts, and on the bank
