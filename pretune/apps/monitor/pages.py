"""The dashboard and what it asks: lines of each subject, the texts behind a point, alerts and who has seen them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from anyio.to_thread import run_sync
from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from pretune.apps.monitor.store import Store, undelivered
from pretune.apps.monitor.words import Language, sentence
from pretune.base.json import Json
from pretune.report.drawing import Chart, Points, chart
from pretune.report.pages import page as rendered
from pretune.serve.app import html
from pretune.serve.errors import ApiError
from pretune.serve.reading import read
from pretune.serve.requests import Limits, Strict

Answer = Callable[[Store, dict[str, str]], Json]
HOUR, MOST_TEXTS, MOST_ALERTS, MOST_CHARTS, LONGEST_DAYS = 3600, 100, 200, 24, 366


class Acknowledge(Strict):
    """Somebody has seen an alert."""

    alert: int
    by: str = Field("", max_length=200)


def routes(store: Callable[[], Store], limits: Limits, *, name: str) -> list[Route]:
    """The page `/` and what it asks.

    Args:
        store: of the watch, which is there once it runs; `name` of the watch.
    """
    return [
        Route("/", _page),
        Route("/v1/watch", partial(_answered, store, partial(about, name=name))),
        Route("/v1/watch/lines", partial(_answered, store, lines)),
        Route("/v1/watch/texts", partial(_answered, store, texts)),
        Route("/v1/watch/acknowledge", partial(_acknowledge, store, limits), methods=["POST"]),
    ]


async def _page(request: Request) -> Response:
    return html("pretune.apps.monitor", "page.html")


async def _answered(store: Callable[[], Store], answer: Answer, request: Request) -> Response:
    return JSONResponse(await run_sync(answer, store(), dict(request.query_params)))


async def _acknowledge(store: Callable[[], Store], limits: Limits, request: Request) -> Response:
    asked = await read(request, Acknowledge, limits)
    if not await run_sync(store().acknowledge, asked.alert, asked.by):
        raise ApiError(404, f"there is no alert {asked.alert}", code="not_found", param="alert")
    return JSONResponse({"alert": asked.alert, "acknowledged": True})


def about(store: Store, asked: dict[str, str], *, name: str) -> Json:
    """Sources, subjects, sentiments, alerts (the newest first), and what waits to be delivered."""
    language: Language = "zh" if asked.get("language") == "zh" else "en"
    found = store.state.rows("select * from alerts order by id desc limit ?", MOST_ALERTS)
    series = store.state.rows("select kind, name, sentiment from series order by kind, name, sentiment")
    seconds = store.watching.seconds
    return {
        **{"name": name, "seconds": seconds, "now": store.now()},
        "sources": store.state.rows("select * from sources order by name"),
        "subjects": list(dict.fromkeys((row["kind"], row["name"]) for row in series)),
        "sentiments": sorted({row["sentiment"] for row in series}),
        "alerts": [{**one, "text": sentence(one, seconds=seconds, language=language)} for one in found],
        "undelivered": undelivered(store.state),
    }


def lines(store: Store, asked: dict[str, str]) -> Json:
    """Charts of the days before `until`, one for each subject, its sentiments as lines; the busiest first."""
    days = min(_number(asked, "days", 7.0), LONGEST_DAYS)
    until = store.watching.window_of(_number(asked, "until", store.now()))
    step = max(store.watching.seconds, _step(days))
    start = int(until - days * 24 * HOUR)
    rows = store.state.rows(
        "select (window / ?) * ? as at, kind, name, sentiment, sum(number) as number from counts where window >= ? and "
        "window < ? group by at, kind, name, sentiment",
        *(step, step, start, until),
    )
    charts = [
        (subject, made)
        for subject, counts in _by_subject(rows)
        if (made := _chart(subject, counts, start, until, step))
    ]
    shown = charts[:MOST_CHARTS]
    return {
        "html": rendered("lines", "", charts=[made for _, made in shown]),
        "charts": [
            {
                "kind": kind,
                "name": name,
                "from": until + made.frame.x_low * HOUR,
                "until": until + made.frame.x_high * HOUR,
            }
            for (kind, name), made in shown
        ],
        **{"step": step, "left_out": len(charts) - len(shown)},
    }


def _step(days: float) -> int:
    """Seconds of a point of a line: an hour, or a day of many."""
    return HOUR if days <= 14 else 24 * HOUR


def _by_subject(rows: list[Json]) -> list[tuple[tuple[str, str], dict[str, dict[int, int]]]]:
    """(subject, sentiment -> time -> texts), all texts first, then the busiest."""
    found: dict[tuple[str, str], dict[str, dict[int, int]]] = defaultdict(lambda: defaultdict(dict))
    for row in rows:
        found[row["kind"], row["name"]][row["sentiment"]][row["at"]] = row["number"]
    totals = {subject: sum(sum(line.values()) for line in by.values()) for subject, by in found.items()}
    return sorted(found.items(), key=lambda one: (one[0][0] != "all", -totals[one[0]], one[0]))


def _chart(
    subject: tuple[str, str], counts: dict[str, dict[int, int]], start: int, until: int, step: int
) -> Chart | None:
    """Hours before `until` (negative), texts of each sentiment; a window without a text is 0."""
    first = min(min(line) for line in counts.values())
    times = range(max(first, start // step * step), until, step)
    series: dict[str, Points] = {
        sentiment: [((at - until) / HOUR, float(line.get(at, 0))) for at in times]
        for sentiment, line in sorted(counts.items())
    }
    made = chart(subject[1] or "*", "", series)
    return made and replace(made, across="h", names_ends=False)


def texts(store: Store, asked: dict[str, str]) -> Json:
    """The newest texts of a time, of a subject and a sentiment if they are given."""
    start, until = _number(asked, "from", 0.0), _number(asked, "until", store.now() + HOUR)
    kind, subject, sentiment = asked.get("kind", "all"), asked.get("name", ""), asked.get("sentiment")
    rows = store.state.rows(
        "select texts.time, texts.source, texts.sentiment, texts.score, texts.text from texts join subjects on "
        "subjects.text = texts.id where texts.window >= ? and texts.window < ? and subjects.kind = ? and "
        "subjects.name = ? and (? is null or texts.sentiment = ?) order by texts.time desc limit ?",
        *(start, until, kind, subject, sentiment, sentiment, MOST_TEXTS),
    )
    return {"texts": rows}


def _number(asked: dict[str, str], name: str, usual: float) -> float:
    """A number of the question. Raises ApiError."""
    try:
        found = float(asked.get(name, usual))
    except ValueError:
        found = float("nan")
    if not abs(found) < 1e12:
        raise ApiError(400, f"{name} must be a number, not {asked[name]!r}", code="invalid_value", param=name)
    return found
