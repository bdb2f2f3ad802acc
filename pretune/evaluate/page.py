"""What the pages of reports show: plain data for report.jinja."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pretune.base.artifact import Artifact
from pretune.report.drawing import Bar
from pretune.report.training import OF_QUALITY, Chart, charts, read_points

SUBJECTS = {"classify": "Labels", "chat": "Answers", "language": "Foretelling text"}
BASELINES = {
    "majority": "most frequent label",
    "tfidf_svm": "TF-IDF + linear SVM",
    "question": "the question itself",
    "most_frequent": "most frequent answer",
    "nearest": "nearest question's answer",
    "ngram": "5-gram model",
    "xz": "xz -9",
}
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
        "report": report | {"groups": {key: _group(group) for key, group in report["groups"].items()}},
        "charts": curves(model) if model else [],
        "columns": COLUMNS[report["what"]],
        "examples": {"Worst examples": ordered[:SHOWN_ROWS], "Best examples": ordered[::-1][:SHOWN_ROWS]},
    }


def mood(beaten: bool | None) -> str:
    """The colour of a verdict; none where there is no baseline."""
    return "" if beaten is None else "good" if beaten else "bad"


def _group(group: dict[str, Any]) -> dict[str, Any]:
    """A group of a report with its main figure as bars; `most` ends their scale, None where less is better."""
    main = group["main"]
    baselines = [one | {"title": _title(one)} for one in group["baselines"]]
    bars = [Bar("this model", group["metrics"][main], spread=group["intervals"].get(main))]
    bars += [Bar(one["title"], one["metrics"][main], series=None) for one in baselines]
    most = None if main == "bits_per_byte" else 1.0
    return group | {"baselines": baselines, "bars": bars, "most": most, "mood": mood(group["beaten"])}


def _title(baseline: dict[str, Any]) -> str:
    return BASELINES.get(baseline["name"], baseline["name"]) + (" (the ceiling)" if baseline["is_ceiling"] else "")


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
