"""The page of a run, curves.html: did it learn, is the loss normal, its curves, and what the model wrote on the way.

Made from metrics.jsonl and samples.jsonl when the run is over.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pretune.base.artifact import Artifact, Card
from pretune.base.json import Json
from pretune.base.stage import Context
from pretune.report.drawing import Chart, chart
from pretune.report.lineage import lineage
from pretune.report.numbers import figure, metric, named
from pretune.report.pages import write_page
from pretune.report.training import charts, read_points
from pretune.report.view import MODEL_FIGURES
from pretune.train.loop.session import SAMPLES
from pretune.train.watch.diagnosis.reading import Run, text_of
from pretune.train.watch.diagnosis.rules import Finding, diagnosed

PAGE = "curves.html"


def write_run_page(
    stage: str,
    settings: Json,
    inputs: Mapping[str, Artifact],
    metrics: Mapping[str, Any],
    out: Path,
    context: Context,
) -> list[Finding]:
    """Write `curves.html` into the payload as a note, and return what is wrong; nothing if the run logged nothing."""
    points = list(read_points(context.scratch))
    if not points:
        return []
    card = Card("model", key="", id="", stage=stage, settings=settings, metrics=dict(metrics))
    stores = [one for one in inputs.values() if one.card.kind == "tokens"]
    run = Run(context.home.name, card, points, text_of(stores))
    verdict, mood = verdict_of(run)
    write_page(
        out / PAGE,
        context,
        "run",
        context.home.name,
        verdict=verdict,
        mood=mood,
        metrics={name: metrics[name] for name in MODEL_FIGURES if name in metrics},
        charts=[*charts(points), *_averaged(metrics)],
        changes=_changes(metrics),
        samples=_samples(context.scratch / SAMPLES),
        lineage=lineage(inputs),
    )
    return diagnosed(run)[1]


def _changes(metrics: Mapping[str, Any]) -> list[Json]:
    """What the model knew before and knows after, a row for each figure; of a run that was not watched nothing."""
    before, after = metrics.get("before", {}), metrics.get("after", {})
    pairs = [(name, kind, value) for name, figures in after.items() for kind, value in figures.items()]
    return [
        {"of": name, "": named(kind), "before": metric(before[name][kind], kind), "after": metric(value, kind)}
        for name, kind, value in pairs
    ]


def _averaged(metrics: Mapping[str, Any]) -> list[Chart]:
    """The scores of means of the start and what was learnt, by the weight of the latter."""
    series: dict[str, list[tuple[float, float]]] = {}
    for weight, scores in metrics.get("average_curve", {}).items():
        for name, score in scores.items():
            series.setdefault(name, []).append((float(weight), score))
    drawn = chart("Averaged with the start", "validation split", series)
    return [replace(drawn, across="weight of what was learnt", names_ends=False)] if drawn else []


def verdict_of(run: Run) -> tuple[str, str]:
    """Whether it learnt and whether its loss is normal, in a sentence, and the mood of it."""
    if len(run.train) < 2:
        return "Too few steps were logged to say whether it learnt.", ""
    first, last = run.train[0][1], run.train_at_end()
    case, findings = diagnosed(run)
    held = "" if math.isnan(run.bits_per_byte) else f", {figure(run.bits_per_byte)} bits per byte on held-out text"
    learnt = (
        f"{'It learnt' if last < first else 'It did not learn'}: the loss went from {figure(first)} to {figure(last)}"
    )
    if findings:
        normal = f"not normal: {'; '.join(f'{one.name}, {one.says}' for one in findings)}"
    elif case.band:
        normal = f"this is normal, references end between {case.band.low:.2f} and {case.band.high:.2f}"
    else:
        normal = "nothing is wrong with it"
    return f"{learnt} nats per target{held}; {normal}.", "bad" if findings or last >= first else "good"


def _samples(file: Path) -> dict[str, list[Json]]:
    """prompt -> how it went on by step, the last step first, where the model is best."""
    lines = file.read_text(encoding="utf-8").strip().split("\n") if file.is_file() else []
    found: dict[str, list[Json]] = {}
    for one in map(json.loads, filter(None, reversed(lines))):
        found.setdefault(one["prompt"], []).append({"step": one["step"], "goes on": one["text"]})
    return dict(reversed(found.items()))
