"""The page over several artifacts, and its report.json: the figures of the reports, as they stand there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev

from pretune.base.artifact import Artifact
from pretune.base.json import Json, JsonMap
from pretune.base.seeds import without_seed
from pretune.base.stage import Context
from pretune.evaluate.continual import courses
from pretune.evaluate.page import card_part, course_part, report_part, seeds_part
from pretune.evaluate.published import Published
from pretune.evaluate.reporting import FORMAT, read_report, write_tree
from pretune.evaluate.yardstick import table_of
from pretune.report.lineage import lineage
from pretune.report.pages import write_page


def named_parts(given: Sequence[str], parts: Sequence[Artifact]) -> dict[str, Artifact]:
    """The parts by what a page calls them: a stage by its name, wherever it lies, and a path by its last folder; by all
    of it where that is not the only one of that name, for nothing may stand in the place of another."""
    short = [one[1:] if one.startswith("$") else part.path.name for one, part in zip(given, parts, strict=True)]
    names = [name if short.count(name) == 1 else one.removeprefix("$") for name, one in zip(short, given, strict=True)]
    return dict(zip(names, parts, strict=True))


def summarise(
    parts: Mapping[str, Artifact],
    out: Path,
    context: Context,
    *,
    title: str,
    text: str,
    yardstick: Mapping[str, Published] | None = None,
) -> Json:
    """Write the page; returns the reports' figures, each with its report's name in front, and of several seeds their
    mean and standard deviation.

    Args:
        parts: by name.
        yardstick: of reports by name what others published, for one table over all reports; None: no table.
    """
    reports: dict[str, Json] = {}
    shown: list[Json] = []
    told: list[Json] = []
    metrics: Json = {}
    for name, part in parts.items():
        told.append({"name": name, "kind": part.card.kind, "id": part.card.id})
        report, rows = read_report(part.verify().path) if part.card.kind == "report" else ({}, [])
        if report.get("what", "summary") != "summary":
            told[-1]["metrics"] = report["metrics"]
            reports[name] = report
            metrics |= {f"{name}.{key}": value for key, value in report["metrics"].items()}
            model = part.source("model") if "model" in part.card.inputs else None
            shown.append(report_part(report, rows, model.path if model else None, name))
        else:
            shown.append(card_part(part))
    learnt = courses([*parts.values()])
    figures = {one["name"]: one["metrics"] for one in told if "metrics" in one} | {c.name: c.figures() for c in learnt}
    metrics |= {f"{one.name}.{key}": value for one in learnt for key, value in one.figures().items()}
    seeds = over_seeds(figures)
    metrics |= {f"{row['report']}.{row['figure']}.{name}": row[name] for row in seeds for name in ("mean", "std")}
    tree = {"format": FORMAT, "what": "summary", "title": title, "text": text, "parts": told, "seeds": seeds}
    tree |= {"courses": [one.told() | one.figures() for one in learnt]} if learnt else {}
    line = table_of(reports, yardstick) if yardstick is not None else None
    if line is not None:
        tree, metrics = tree | {"table": line.tree()}, metrics | line.averages()
        context.log.info(line.text())
    write_tree(tree, out)
    tables = [*([line.part()] if line else []), *([seeds_part(seeds)] if seeds else [])]
    verdict, mood = verdict_of([part for part in shown if part["groups"]])
    write_page(
        out / "report.html",
        context,
        "report",
        title,
        verdict=verdict,
        mood=mood,
        text=text,
        parts=[*tables, *map(course_part, learnt), *shown],
        doctor=(),
        lineage=lineage(parts),
        command=context.command or "pretune run RECIPE",
    )
    return metrics


def over_seeds(figures: Mapping[str, JsonMap]) -> list[Json]:
    """Mean and standard deviation (of a sample, n - 1) of each figure over the reports NAME.s0, NAME.s1 ..."""
    same: dict[str, list[JsonMap]] = {}
    for name, metrics in figures.items():
        if (stage := without_seed(name)) != name:
            same.setdefault(stage, []).append(metrics)
    rows: list[Json] = []
    for name, several in same.items():
        for key in several[0] if len(several) > 1 else ():
            values = [one.get(key) for one in several]
            if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
                numbers = [float(value) for value in values if value is not None]
                said = {"report": name, "figure": key, "seeds": len(numbers), "mean": mean(numbers)}
                rows.append({**said, "std": stdev(numbers), "least": min(numbers), "most": max(numbers)})
    return rows


def verdict_of(reports: Sequence[JsonMap]) -> tuple[str, str]:
    """How many reports beat their baselines, and which do not, with the mood of that; nothing without reports."""
    others = [part["title"] for part in reports if not part["groups"][0]["beaten"]]
    said = f"{len(reports) - len(others)} of {len(reports)} reports beat their baseline by more than chance explains"
    if not reports:
        return "", ""
    return (f"{said}; these do not: {', '.join(others)}", "bad") if others else (f"{said}.", "good")
