"""The page of a run, curves.html: what people would rather look at than read.

Loss (of the step, held out, of each source), bits per byte, learning rate, gradient norm, tokens per second, and what
the model wrote on the way; made from metrics.jsonl and samples.jsonl when the run is over.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from pretune.base.artifact import Artifact
from pretune.base.drawing import Points, line_chart
from pretune.base.page import lineage_list, page, shown, table
from pretune.base.stage import Context
from pretune.base.view import model_figures
from pretune.train.loop.session import SAMPLES

PAGE = "curves.html"
CHARTS: tuple[tuple[str, str, Mapping[str, str]], ...] = (
    ("Loss", "nats per target", {"loss": "training", "validation_loss": "held out"}),
    ("Loss by source", "nats per target, held out", {"validation_loss_by_source/": ""}),
    ("Bits per byte", "held out", {"validation_bits_per_byte": "all", "validation_bits_per_byte_by_source/": ""}),
    ("Score", "validation split", {"validation_accuracy": "accuracy", "validation_macro_f1": "macro-F1"}),
    ("Learning rate", "peak of the schedule's groups", {"learning_rate": "learning rate"}),
    ("Gradient norm", "before clipping", {"gradient_norm": "all weights", "gradient_norm_*": ""}),
    ("Speed", "tokens per second", {"tokens_per_second": "tokens per second"}),
)
"""Title, what is up the side, and the numbers: name -> legend; `block/` takes every number of a block and `begin_*`
every number of such a name, by the rest of its own name."""


def write_page(out: Path, context: Context, inputs: Mapping[str, Artifact], metrics: Mapping[str, Any]) -> None:
    """Write `curves.html` into the payload as a note; nothing if the run logged nothing."""
    file = context.log.metrics_file
    points = list(_lines(file)) if file else []
    if not points:
        return
    samples = list(_lines(context.scratch / SAMPLES))
    figures = table(("", ""), model_figures(metrics), numeric=(1,))
    sections = [f"<section>{figures}</section>", *charts(points), *_sections(samples)]
    text = page(context.home.name, sections, lineage_list(list(inputs.items())), context.command)
    (out / PAGE).write_text(text, encoding="utf-8")
    context.notes.add(PAGE)


def _lines(path: Path) -> Iterable[dict[str, Any]]:
    if path.is_file():
        yield from map(json.loads, path.read_text(encoding="utf-8").strip().split("\n"))


def charts(points: Sequence[Mapping[str, Any]]) -> list[str]:
    """A section for each chart that has two points to join."""
    found = []
    for title, unit, names in CHARTS:
        drawn = line_chart(series_of(points, names), x_name="step", y_name=unit)
        found += [f"<section><h2>{escape(title)}</h2><figure>{drawn}</figure></section>"] if drawn else []
    return found


def series_of(points: Sequence[Mapping[str, Any]], names: Mapping[str, str]) -> dict[str, Points]:
    """(step, number) of these names, in their order."""
    found: dict[str, list[tuple[float, float]]] = {}
    for name, legend in names.items():
        for point in points:
            for key, value in _named(point, name, legend):
                if isinstance(value, int | float):
                    found.setdefault(key, []).append((point["step"], value))
    return dict(found)


def _named(point: Mapping[str, Any], name: str, legend: str) -> Iterable[tuple[str, Any]]:
    """(legend, value) of what a name of CHARTS stands for in a point."""
    if name.endswith("/"):
        block = point.get(name[:-1])
        yield from block.items() if isinstance(block, Mapping) else ()
    elif name.endswith("*"):
        yield from ((k.removeprefix(name[:-1]), v) for k, v in point.items() if k.startswith(name[:-1]))
    else:
        yield legend, point.get(name)


def _sections(samples: Sequence[Mapping[str, Any]]) -> list[str]:
    """How each prompt went on, step by step; the last one first, where the model is best."""
    parts = []
    for prompt in dict.fromkeys(one["prompt"] for one in samples):
        mine = [one for one in samples if one["prompt"] == prompt]
        rows = [(shown(one["step"]), one["text"]) for one in reversed(mine)]
        parts.append(f"<h3>{escape(prompt)} …</h3>{table(('step', 'goes on'), rows, numeric=(0,))}")
    return [f"<section><h2>What it wrote</h2>{''.join(parts)}</section>"] if parts else []
