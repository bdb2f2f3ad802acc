"""Runs next to each other: their curves over common axes, their figures, and the settings in which they differ."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pretune.base.artifact import Artifact
from pretune.base.json import Json
from pretune.base.planning import flat_settings
from pretune.report.drawing import Chart, Points, chart
from pretune.report.numbers import metric
from pretune.report.training import CHARTS, read_points, series_of
from pretune.studio.pages.files import existing
from pretune.studio.pages.tokens import found_in
from pretune.studio.rendering import reply, studio_of

MOST = 8


def compare(request: Request) -> Response:
    folder = studio_of(request).folder
    names = list(dict.fromkeys(request.query_params.getlist("path")))[:MOST]
    chosen = {name: existing(folder, name) for name in names}
    known = [name for name in found_in(folder) if (folder.root / name / "artifact.json").is_file()]
    cards = {name: Artifact.look(path).card for name, path in chosen.items()}
    figures = {name: {k: v for k, v in card.metrics.items() if _is_figure(v)} for name, card in cards.items()}
    settings = {name: flat_settings({"stage": card.stage, **card.settings}) for name, card in cards.items()}
    return reply(
        request,
        "compare",
        known=known,
        chosen=names,
        charts=_charts(chosen),
        figures=[
            (k, [metric(v, k) for v in values]) for k, values in _table(figures) if any(v is not None for v in values)
        ],
        settings=[(k, ["" if v is None else v for v in values]) for k, values in _table(settings) if _differ(values)],
    )


def _is_figure(value: object) -> bool:
    return isinstance(value, int | float)


def _differ(values: list[object]) -> bool:
    return any(value != values[0] for value in values)


def _table(of: Mapping[str, Json]) -> list[tuple[str, list[object]]]:
    """Every name that one of them has, with the value of each."""
    names = dict.fromkeys(name for one in of.values() for name in one)
    return [(name, [one.get(name) for one in of.values()]) for name in names]


def _charts(chosen: Mapping[str, Path]) -> list[Chart]:
    """A chart for each number that runs log, with a curve of each run."""
    points = {name: list(read_points(path)) for name, path in chosen.items()}
    drawn = []
    for title, unit, names in CHARTS:
        for number, legend in names.items():
            if number[-1] not in "/_":
                series: dict[str, Points] = {}
                for name, some in points.items():
                    series |= series_of(some, {number: name})
                drawn.append(chart(title if len(names) == 1 else f"{title}: {legend}", unit, series))
    return [one for one in drawn if one]


ROUTES = (Route("/compare", compare),)
