"""The page over several artifacts, and its report.json: the figures of the reports, as they stand there."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from pretune.base.artifact import Artifact
from pretune.base.json import Json, JsonMap
from pretune.base.stage import Context
from pretune.evaluate.page import card_part, report_part
from pretune.evaluate.reporting import FORMAT, read_report
from pretune.report.lineage import lineage
from pretune.report.pages import write_page


def summarise(parts: Sequence[Artifact], out: Path, context: Context, *, title: str, text: str) -> Json:
    """Write the page; returns the reports' figures, each with its report's name in front."""
    shown, told = [], []
    metrics: Json = {}
    for part in parts:
        name = part.path.name
        told.append({"name": name, "kind": part.card.kind, "id": part.card.id})
        report, rows = read_report(part.verify().path) if part.card.kind == "report" else ({}, [])
        if report.get("what", "summary") != "summary":
            told[-1]["metrics"] = report["metrics"]
            metrics |= {f"{name}.{key}": value for key, value in report["metrics"].items()}
            model = part.source("model") if "model" in part.card.inputs else None
            shown.append(report_part(report, rows, model.path if model else None, name))
        else:
            shown.append(card_part(part))
    tree = {"format": FORMAT, "what": "summary", "title": title, "text": text, "parts": told}
    written = json.dumps(tree, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    (out / "report.json").write_text(written, encoding="utf-8", newline="\n")
    verdict, mood = verdict_of([part for part in shown if part["groups"]])
    write_page(
        out / "report.html",
        context,
        "report",
        title,
        verdict=verdict,
        mood=mood,
        text=text,
        parts=shown,
        doctor=(),
        lineage=lineage({part.path.name: part for part in parts}),
        command=context.command or "pretune run RECIPE",
    )
    return metrics


def verdict_of(reports: Sequence[JsonMap]) -> tuple[str, str]:
    """How many reports beat their baselines, and which do not, with the mood of that; nothing without reports."""
    others = [part["title"] for part in reports if not part["groups"][0]["beaten"]]
    said = f"{len(reports) - len(others)} of {len(reports)} reports beat their baseline by more than chance explains"
    if not reports:
        return "", ""
    return (f"{said}; these do not: {', '.join(others)}", "bad") if others else (f"{said}.", "good")
