"""What /metrics says of a watch; prometheus-rules.yaml alerts on it.

Labels have few values: sources, channels, topics and sentiments. Entities, which have no end, are counted together.
"""

from __future__ import annotations

from pretune.apps.monitor.store import Store, undelivered
from pretune.serve.metrics import Gauge, Sample


def gauges(store: Store, *, is_running: bool, now: float) -> list[Gauge]:
    """(name, what it is, values)."""
    sources = store.state.rows("select * from sources")

    def each(column: str) -> list[Sample]:
        return [({"source": row["name"]}, row[column]) for row in sources]

    since: list[Sample] = [({"source": row["name"]}, now - row["last"]) for row in sources if row["last"] is not None]
    waiting: list[Sample] = [({"channel": name}, number) for name, number in undelivered(store.state).items()]
    return [
        ("monitor_running", "Whether the watch reads its sources.", [({}, int(is_running))]),
        ("monitor_texts", "Texts that were counted, by source.", each("texts")),
        ("monitor_repeated", "Texts that came again, and were not counted.", each("repeated")),
        ("monitor_late", "Texts that came after their window was judged.", each("late")),
        ("monitor_refused", "What could not be read.", each("refused")),
        ("monitor_seconds_since_text", "Since a source last gave a text.", since),
        ("monitor_count", "Texts of the last window that is over.", _counts(store)),
        ("monitor_alerts_open", "Alerts that go on and are not acknowledged.", _open(store)),
        ("monitor_undelivered", "Messages that wait to be delivered.", waiting),
    ]


def _counts(store: Store) -> list[Sample]:
    rows = store.state.rows(
        "select series.kind, series.name, series.sentiment, coalesce(number, 0) as number from series left join counts "
        "on counts.window = ? and counts.kind = series.kind and counts.name = series.name and "
        "counts.sentiment = series.sentiment where series.kind != 'entity'",
        store.last_window(),
    )
    return [({name: row[name] for name in ("kind", "name", "sentiment")}, row["number"]) for row in rows]


def _open(store: Store) -> list[Sample]:
    """By series, 0 for those that have none, so that Prometheus sees an alert end; entities together."""
    found: dict[tuple[str, str, str, str], int] = {}
    for row in store.state.rows("select kind, name, sentiment from series where kind != 'entity'"):
        found[row["kind"], row["name"], row["sentiment"], ""] = 0
    for row in store.open_alerts():
        name = "" if row["kind"] == "entity" else row["name"]
        key = (row["kind"], name, row["sentiment"], row["method"])
        found[key] = found.get(key, 0) + 1
    names = ("kind", "name", "sentiment", "method")
    return [(dict(zip(names, key, strict=True)), number) for key, number in sorted(found.items())]
