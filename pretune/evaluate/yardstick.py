"""One table over several reports: a yardstick, as GLUE and CLUE are.

    task            figure     this model   95 %           floor               published                     read before
    chnsenticorp    accuracy   84.3 %       81.7 - 86.6    86.1 % TF-IDF+SVM   95.0 % BERT-base (source)     8 of 790
    average                    61.2 %                      64.0 %

An average is the mean over the tasks (macro), of figures of one unit: shares, and correlations as they are. What is
published is averaged over the tasks that have it, and the model over the same ones next to it. A task of several seeds
(`report.s0`, `report.s1`) is one line: the mean of its figures, and from which to which they go.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import mean

from pretune.base.errors import NotSupported, WrongValue, did_you_mean
from pretune.base.json import Json, JsonMap
from pretune.base.seeds import without_seed
from pretune.evaluate.findings import ITS_BEGINNING, rounded
from pretune.evaluate.page import EMPTY
from pretune.evaluate.published import Published
from pretune.report.numbers import is_lower_better, metric, named


@dataclass(frozen=True)
class Line:
    """A task of the table.

    Args:
        interval: 95 %; of several seeds none. seeds: the figure of each, where there are several.
        floor: the baseline that is hardest to beat, with its name.
    """

    task: str
    examples: int
    main: str
    figure: float
    interval: Sequence[float]
    floor: tuple[str, float] | None
    published: Published | None
    read: Sequence[JsonMap] | None
    seeds: Sequence[float] = ()

    def read_before(self) -> str:
        """How many of the texts stand in the base model's corpus, or in a part of it; "not known" without one."""
        if self.read is None:
            return ""
        told = (f"{row['seen']:,} of {row['of']:,}{'' if row['whole'] else ITS_BEGINNING}" for row in self.read)
        return "; ".join(told) or "not known"

    def _spread(self) -> str:
        if not self.seeds:
            return ""
        ends = " – ".join(metric(end, self.main) for end in (min(self.seeds), max(self.seeds)))
        return f" (mean of {len(self.seeds)} seeds, {ends})"

    def row(self) -> Json:
        """For people."""
        floor = f"{metric(self.floor[1], self.main)} ({named(self.floor[0])})" if self.floor else ""
        said = self.published
        return {
            "task": self.task + self._spread(),
            "examples": f"{self.examples:,}",
            "figure": named(self.main),
            "this model": metric(self.figure, self.main),
            "95 % interval": " – ".join(metric(end, self.main) for end in self.interval),
            "floor": floor,
            "published": f"{metric(said.figure, self.main)} ({said.by})" if said else "",
            "read before": self.read_before(),
        }


@dataclass(frozen=True)
class Table:
    """The tasks in their order."""

    lines: Sequence[Line]

    def averages(self) -> Json:
        """Macro averages: of all tasks, of their floors, and of the published figures next to the same tasks."""
        found = {"average": mean(line.figure for line in self.lines)}
        if all(line.floor for line in self.lines):
            found["average_floor"] = mean(line.floor[1] for line in self.lines if line.floor)
        if some := [line for line in self.lines if line.published]:
            found["average_published"] = mean(line.published.figure for line in some if line.published)
            found["average_of_published_tasks"] = mean(line.figure for line in some)
        return rounded(found)

    def rows(self) -> list[Json]:
        """The lines, then the averages."""
        averages = self.averages()
        last = dict.fromkeys(self.lines[0].row(), "") | {"task": "macro average"}
        last |= {"this model": metric(averages["average"], "accuracy")}
        last |= {"floor": metric(averages.get("average_floor"), "accuracy")}
        if "average_published" in averages:
            both = (averages["average_published"], averages["average_of_published_tasks"])
            theirs, mine = (metric(value, "accuracy") for value in both)
            number = sum(line.published is not None for line in self.lines)
            last["published"] = f"{theirs} over {number} tasks (this model there: {mine})"
        return [*(line.row() for line in self.lines), last]

    def tree(self) -> Json:
        """For report.json."""
        rows = [
            {
                **{"task": one.task, "examples": one.examples, "figure": one.main, "value": one.figure},
                "interval": [*one.interval],
                **({"seeds": [*one.seeds]} if one.seeds else {}),
                "floor": one.floor and {"name": one.floor[0], "value": one.floor[1]},
                "published": one.published and one.published.model_dump(),
                "read_before": one.read and [*one.read],
            }
            for one in self.lines
        ]
        return rounded({"rows": rows, **self.averages()})

    def text(self) -> str:
        """For the terminal."""
        rows = [[*self.rows()[0]], *([*row.values()] for row in self.rows())]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join("  ".join(f"{c:<{w}}" for c, w in zip(row, widths, strict=True)).rstrip() for row in rows)

    def part(self) -> Json:
        """For the page, with the sources."""
        sources = [f"{one.task}: {one.published.by}, {one.published.source}" for one in self.lines if one.published]
        return EMPTY | {"title": "All tasks", "about": "", "tables": {"One table": self.rows()}, "notes": sources}


def table_of(reports: Mapping[str, JsonMap], published: Mapping[str, Published]) -> Table:
    """The table over reports, by the name of each.

    Raises:
        NotSupported: no report, or a figure of which less is better; WrongValue: published for one that is not there.
    """
    stages = _by_stage(reports)
    for name in published:
        if name not in stages:
            raise WrongValue(f"published: there is no report {name!r}", hint=did_you_mean(name, stages))
    lines = [_line_of_all(name, several, published.get(name)) for name, several in stages.items()]
    if not lines or (wrong := [line.task for line in lines if is_lower_better(line.main)]):
        told = f"less is better in {', '.join(wrong)}" if lines else "there is no report"
        raise NotSupported(f"a table with an average needs figures of one unit: {told}", hint="table=false")
    return Table(lines)


def _by_stage(reports: Mapping[str, JsonMap]) -> dict[str, list[JsonMap]]:
    """The reports by the stage that made them, those of several seeds together."""
    found: dict[str, list[JsonMap]] = {}
    for name, report in reports.items():
        found.setdefault(without_seed(name), []).append(report)
    return found


def _line_of_all(name: str, reports: Sequence[JsonMap], published: Published | None) -> Line:
    lines = [_line(name, report, published) for report in reports]
    if len(lines) == 1:
        return lines[0]
    figures = [line.figure for line in lines]
    floor = max((line.floor for line in lines if line.floor), key=lambda one: one[1], default=None)
    return replace(lines[0], figure=mean(figures), interval=(), floor=floor, seeds=figures)


def _line(name: str, report: JsonMap, published: Published | None) -> Line:
    group = next(iter(report["groups"].values()))
    main, others = group["main"], [one for one in group["baselines"] if not one["is_ceiling"]]
    floors = [(one["name"], one["metrics"][main]) for one in others]
    floor = max(floors, key=lambda one: float(one[1]), default=None)
    task = name.removesuffix("_report")
    spread = group["intervals"].get(main, ())
    return Line(
        task, group["examples"], main, group["metrics"][main], spread, floor, published, report.get("read_before")
    )
