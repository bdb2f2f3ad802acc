"""What stage monitor writes: watch.json, rules for Prometheus, and of a history its counts and the replay's page."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from itertools import accumulate, islice
from pathlib import Path

import numpy as np

from pretune.apps.app import giving
from pretune.apps.monitor.reading import ALL, Models
from pretune.apps.monitor.replay import BURSTS, COPIES, FACTOR, HOURS, History, Outcome, chosen, outcomes, with_bursts
from pretune.apps.monitor.series import Watching
from pretune.apps.monitor.settings import FILE, HISTORY, KNOWN, Setup
from pretune.apps.monitor.sources.items import item_of
from pretune.apps.monitor.sources.source import Item
from pretune.apps.monitor.store import HISTORY as LOOKS_BACK
from pretune.base.artifact import Artifact
from pretune.base.config import complete
from pretune.base.errors import EmptyInput, NoSuchColumn, UserError, WrongValue, did_you_mean
from pretune.base.json import Json
from pretune.base.stage import Context
from pretune.infer.answers import Label, Labels, Tags
from pretune.infer.load import open_model
from pretune.infer.predictor import Predictor
from pretune.report.drawing import Axes, Chart
from pretune.report.numbers import share
from pretune.report.pages import write_page
from pretune.text.read.readers import Repairs, read_records

RULES = "prometheus-rules.yaml"
AT_ONCE = 1024
"""Texts of a history that are labelled together."""
Counts = Counter[tuple[int, str, str, str]]
"""(window, kind and name of the subject, sentiment) -> texts."""


def make(setup: Setup, inputs: Mapping[str, Artifact], out: Path, context: Context, *, most_false: float) -> Json:
    """Write a watch; returns its metrics."""
    sentiment = giving(open_model(inputs["model"].path), "model", Label)
    check_labels(setup.alert_on, sentiment)
    parts = {"topics": (Label, Labels), "tags": (Tags,)}
    others = {n: giving(open_model(inputs[n].path), n, *kinds) for n, kinds in parts.items() if n in inputs}
    watching, metrics = setup.watch, Json()
    if "replay" in inputs:
        counts, known = counted(inputs["replay"], setup, Models(sentiment, **others), context)
        _write_table(out / KNOWN, ("key", "window"), sorted(known.items()))
        watching, metrics = replay(setup, counts, out, context, most_false=most_false)
    plain = Setup(**{name: getattr(setup, name) for name in Setup.model_fields} | {"watch": watching})
    (out / FILE).write_text(json.dumps(complete(plain), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    rules = files("pretune.apps.monitor").joinpath(RULES).read_text("utf-8")
    (out / RULES).write_text(rules, encoding="utf-8", newline="\n")
    return metrics


def check_labels(wanted: Sequence[str], model: Predictor) -> None:
    """Raise WrongValue for a sentiment that the model never says."""
    known = model.facts.said or ()
    for name in wanted:
        if known and name not in known:
            raise WrongValue(f"alert_on names {name!r}, which this model never says", hint=did_you_mean(name, known))


def counted(history: Artifact, setup: Setup, models: Models, context: Context) -> tuple[Counts, dict[str, int]]:
    """The counts of a history, its texts labelled, each once; and by what they are known, with their windows.

    Raises EmptyInput: none has a time.
    """
    counts, known = Counts(), dict[str, int]()
    with context.log.progress("texts of the history", unit="texts") as bar:
        texts = _items(history, setup)
        while items := list(islice(texts, AT_ONCE)):
            new = {one.anywhere: one for one in items if one.anywhere not in known}
            for key, one in zip(new, models.see([*new.values()]), strict=True):
                known[key] = window = setup.watch.window_of(one.item.time or 0.0)
                counts.update((window, *subject, one.sentiment) for subject in one.subjects)
            bar.advance(len(items))
    if not counts:
        hint = "a history says when each text was written, in a column like time or published (time=COLUMN)"
        raise EmptyInput(f"{history.path.as_posix()!r} has no text with a time", hint=hint)
    near = near_the_middle(counts)
    if far := counts.total() - near.total():
        context.log.warn(f"{far} counts of the history are more than two years from its middle, and left out")
    windows = {key[0] for key in near}
    return near, {key: window for key, window in known.items() if window in windows}


def near_the_middle(counts: Counts) -> Counts:
    """Without what is further from the middle text than a watch looks back: a time of 0, or of a clock that was wrong.

    One such text would make the table of windows decades long.
    """
    texts = Counter[int]()
    for (window, kind, _, _), number in counts.items():
        texts[window] += number if kind == ALL.kind else 0
    ordered = sorted(texts)
    place = bisect_left([*accumulate(texts[window] for window in ordered)], texts.total() / 2)
    return Counts({key: number for key, number in counts.items() if abs(key[0] - ordered[place]) <= LOOKS_BACK})


def _items(history: Artifact, setup: Setup) -> Iterator[Item]:
    for path in history.files():
        repairs = Repairs(quarantine=[])
        for number, record in enumerate(read_records(path, repairs)):
            try:
                item = item_of(record, column=setup.column, time=setup.time, where=path.as_posix())
            except NoSuchColumn:
                raise
            except UserError as error:
                repairs.refuse(error, f"{path.as_posix()}#{number}")
                continue
            if item is not None and item.time is not None:
                yield item


def history_of(counts: Counts, setup: Setup) -> History:
    """The lines that are watched, window by window: all texts and topics, of the sentiments that alerts are for."""
    seconds = setup.watch.seconds
    keys = sorted(
        {key[1:] for key in counts if key[1] != "entity" and (not setup.alert_on or key[3] in setup.alert_on)}
    )
    first, last = min(key[0] for key in counts), max(key[0] for key in counts)
    table = np.zeros((len(keys), (last - first) // seconds + 1), dtype=np.int64)
    rows = {key: row for row, key in enumerate(keys)}
    for (window, *key), number in counts.items():
        if (row := rows.get((key[0], key[1], key[2]))) is not None:
            table[row, (window - first) // seconds] = number
    return History(first, table)


def replay(setup: Setup, counts: Counts, out: Path, context: Context, *, most_false: float) -> tuple[Watching, Json]:
    """Choose thresholds on a history, and write its counts and a page; returns what was chosen, and metrics."""
    rows = [(*key, number) for key, number in sorted(counts.items())]
    _write_table(out / HISTORY, ("window", "kind", "name", "sentiment", "number"), rows)
    history = history_of(counts, setup)
    rngs = [np.random.default_rng([context.seed, copy]) for copy in range(COPIES)]
    copies = [with_bursts(history, setup.watch, rng) for rng in rngs]
    if not any(copy.bursts for copy in copies):
        days = history.counts.shape[1] * setup.watch.seconds / 86_400
        why = f"has {days:.1f} days, too short" if len(history.counts) else f"has no text that is {setup.alert_on[0]!r}"
        context.log.warn(f"the history {why} to choose thresholds on; the defaults stay")
        return setup.watch, {"history_windows": history.counts.shape[1]}
    tried = outcomes(setup.watch, copies)
    watching = chosen(setup.watch, tried, most_false=most_false)
    picked = [_of(tried, detector.kind, detector.model_dump()) for detector in watching.detect]
    (out / "replay.json").write_text(json.dumps([one.to_json() for one in tried], indent=1) + "\n", encoding="utf-8")
    _write_page(out / "replay.html", context, history, picked, tried, setup, most_false)
    best = picked[0]
    return watching, {
        **{"history_windows": history.counts.shape[1], "false_alarms_a_week": round(best.false_a_week, 3)},
        **{"found_within_2h": round(best.found, 4), "delay_hours": round(best.delay_hours, 3)},
    }


def _write_table(file: Path, names: Sequence[str], rows: Sequence[tuple[object, ...]]) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(pa.table(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))), file)


def _of(tried: Sequence[Outcome], method: str, settings: Json) -> Outcome:
    return next(o for o in tried if o.method == method and all(settings[k] == v for k, v in o.settings.items()))


def _write_page(
    path: Path,
    context: Context,
    history: History,
    picked: Sequence[Outcome],
    tried: Sequence[Outcome],
    setup: Setup,
    most_false: float,
) -> None:
    best = picked[0]
    settings = ", ".join(f"{name}={value:g}" for name, value in best.settings.items())
    days = history.counts.shape[1] * setup.watch.seconds / 86_400
    text = (
        f"{len(history.counts)} lines over {days:.0f} days, in windows of {setup.watch.window_minutes} minutes. "
        f"{BURSTS} bursts (times {FACTOR:g}, {HOURS} hours) were added to each of {COPIES} copies.\n"
        "Alerts elsewhere count as false, those that told of something true as well: the figure is an upper bound.\n"
        f"Chosen: what finds most within two hours at {most_false:g} false alarms a week or fewer."
    )
    write_page(
        path,
        context,
        "replay",
        "Replay of a history",
        verdict=f"{best.method} with {settings}: {share(best.found)} of bursts found within two hours, "
        f"{best.false_a_week:.2f} false alarms a week",
        mood="good" if best.false_a_week <= most_false else "bad",
        text=text,
        charts=[_chart(tried)],
        rows=[{"chosen": one in picked, **one.to_json()} for one in tried],
    )


def _chart(tried: Sequence[Outcome]) -> Chart:
    """False alarms against delay, a line for each method: what no other setting betters in both."""
    series = {}
    for method in dict.fromkeys(one.method for one in tried):
        points = sorted((one.false_a_week, one.delay_hours) for one in tried if one.method == method)
        series[method] = [p for k, p in enumerate(points) if all(p[1] < earlier[1] for earlier in points[:k])]
    most = max(4.0, *(points[0][0] for points in series.values()))
    shown = {name: [p for p in points if p[0] <= most] for name, points in series.items()}
    top = max(delay for points in shown.values() for _, delay in points)
    return Chart(
        "False alarms against delay",
        "hours until found",
        shown,
        Axes(0.0, most, 0.0, 1.1 * top),
        "false alarms a week",
        False,
    )
