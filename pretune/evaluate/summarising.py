"""The page over several artifacts, and its report.json: the figures of the reports, as they stand there."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pretune.base.artifact import Artifact
from pretune.base.page import lineage_list, page
from pretune.base.stage import Context
from pretune.evaluate.page import card_section, curves, report_section
from pretune.evaluate.reporting import FORMAT, read_report


def summarise(parts: Sequence[Artifact], out: Path, context: Context, *, title: str, text: str) -> dict[str, Any]:
    """Write the page; returns the reports' figures, each with its report's name in front."""
    sections, told, metrics = [], [], dict[str, Any]()
    for part in parts:
        name = part.path.name
        told.append({"name": name, "kind": part.card.kind, "id": part.card.id})
        if part.card.kind == "report":
            report, rows = read_report(part.verify().path)
            told[-1]["metrics"] = report["metrics"]
            metrics |= {f"{name}.{key}": value for key, value in report["metrics"].items()}
            model = part.source("model") if "model" in part.card.inputs else None
            sections.append(report_section(report, rows, curves(model.path) if model else "", name=name))
        else:
            sections.append(card_section(part))
    tree = {"format": FORMAT, "what": "summary", "title": title, "text": text, "parts": told}
    written = json.dumps(tree, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    (out / "report.json").write_text(written, encoding="utf-8", newline="\n")
    lineage = lineage_list([(part.path.name, part) for part in parts])
    html = page(title, sections, lineage, context.command or "pretune run RECIPE", text=text)
    (out / "report.html").write_text(html, encoding="utf-8", newline="\n")
    context.notes.add("report.html")
    return metrics
