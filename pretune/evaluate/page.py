"""What the pages of reports show: plain data for report.jinja."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pretune.base.artifact import Artifact
from pretune.report.drawing import Bar
from pretune.report.numbers import named
from pretune.report.training import OF_QUALITY, Chart, charts, read_points

SUBJECTS = {"classify": "Labels", "chat": "Answers", "language": "Foretelling text"}
COLUMNS = {
    "classify": ("text", "label", "said", "chance_of_label"),
    "chat": ("question", "wanted", "answer", "baseline_answer", "rouge_l"),
    "language": ("group", "text", "bits_per_byte", "baseline_bits_per_byte"),
}
SHOWN_ROWS = 6


def report_part(
    report: dict[str, Any], rows: Sequence[dict[str, Any]], model: Path | None, name: str = ""
) -> dict[str, Any]:
    """One report: verdicts, figures next to baselines, curves of its model, classes, examples, notes."""
    ordered = sorted(rows, key=lambda row: row[report["better"]])
    about = f"{report['data']['split']} split, data {report['data']['id'][:8]}, model {report['model']['id'][:8]}"
    return {
        "title": report["title"] or SUBJECTS.get(report["what"], report["what"]),
        "about": " · ".join(filter(None, [name, about])),
        "report": report | {"groups": {key: group | _bars(group) for key, group in report["groups"].items()}},
        "charts": curves(model) if model else [],
        "columns": COLUMNS[report["what"]],
        "examples": {"Worst examples": ordered[:SHOWN_ROWS], "Best examples": ordered[::-1][:SHOWN_ROWS]},
    }


def mood(beaten: bool | None) -> str:
    """The colour of a verdict; none where there is no baseline."""
    return "" if beaten is None else "good" if beaten else "bad"


def _bars(group: dict[str, Any]) -> dict[str, Any]:
    """The main figure of the model and its baselines as bars; `most` ends the scale, None where less is better."""
    main = group["main"]
    bars = [Bar("this model", group["metrics"][main], spread=group["intervals"].get(main))]
    bars += [Bar(named(b["name"]), b["metrics"][main], series=None) for b in group["baselines"]]
    return {"bars": bars, "most": None if main == "bits_per_byte" else 1.0, "mood": mood(group["beaten"])}


def card_part(part: Artifact) -> dict[str, Any]:
    """An artifact by its card: what it is, its figures, and a model's curves."""
    return {
        "title": part.path.name,
        "about": f"{part.card.kind} {part.card.id[:8]}",
        "metrics": {k: v for k, v in part.card.metrics.items() if isinstance(v, int | float | str)},
        "charts": curves(part.path) if part.card.kind == "model" else [],
    }


def curves(folder: Path) -> list[Chart]:
    """Loss and scores of a model's training, from the metrics.jsonl in its folder."""
    return charts(list(read_points(folder)), OF_QUALITY)
