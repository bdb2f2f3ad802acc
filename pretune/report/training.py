"""What a training run logged in metrics.jsonl, as series to draw."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pretune.base.json import Json, JsonMap
from pretune.report.curves import sketch
from pretune.report.drawing import Chart, Points, chart

METRICS = "metrics.jsonl"
CHARTS: tuple[tuple[str, str, Mapping[str, str]], ...] = (
    ("Loss", "nats per target", {"loss": "training", "validation_loss": "held out"}),
    (
        "Loss of each term",
        "held out",
        {
            "validation_masked": "hidden tokens",
            "validation_next": "next sentence",
            "validation_order": "order of sentences",
            "validation_generator": "generator",
            "validation_discriminator": "discriminator",
        },
    ),
    (
        "Loss of each part",
        "training",
        {
            "task": "the task",
            "replay": "replayed",
            "replay_": "",
            "kept": "said at the start",
            "kept_": "",
            "penalty": "penalty of leaving the start",
        },
    ),
    ("Loss by source", "nats per target, held out", {"validation_loss_by_source/": ""}),
    ("Bits per byte", "held out", {"validation_bits_per_byte": "all", "validation_bits_per_byte_by_source/": ""}),
    (
        "Score",
        "validation split",
        {
            "validation_accuracy": "accuracy",
            "validation_macro_f1": "macro-F1",
            "validation_spearman": "Spearman",
            "validation_ndcg_10": "nDCG@10",
            "validation_masked_accuracy": "hidden tokens found",
            "validation_next_accuracy": "next sentence told",
            "validation_order_accuracy": "order of sentences told",
            "validation_generator_accuracy": "generator: hidden tokens found",
            "validation_discriminator_accuracy": "discriminator: tokens judged rightly",
            "validation_discriminator_recall": "replaced tokens found",
            "validation_discriminator_precision": "truly replaced among those found",
        },
    ),
    (
        "Busiest expert",
        "tokens over an even share",
        {"busiest_expert": "training, worst block", "validation_busiest_expert/": ""},
    ),
    ("Learning rate", "peak of the schedule's groups", {"learning_rate": "learning rate"}),
    ("Gradient norm", "before clipping", {"gradient_norm": "all weights", "gradient_norm_": ""}),
    ("Speed", "tokens per second", {"tokens_per_second": "tokens per second"}),
)
"""Title, what is up the side, and the numbers: name -> legend; `block/` takes every number of a block and `begin_`
every number of such a name, by the rest of its own name."""
OF_QUALITY = ("Loss", "Score")


def read_points(folder: Path) -> Iterator[Json]:
    """The lines of a folder's metrics.jsonl that have a step; of a file that is gone or damaged, what can be read."""
    path = folder / METRICS
    for line in path.read_text(encoding="utf-8").split("\n") if path.is_file() else []:
        try:
            point = json.loads(line)
        except ValueError:
            continue
        if isinstance(point, dict) and isinstance(point.get("step"), int | float):
            yield point


def charts(points: Sequence[JsonMap], titles: Sequence[str] = ()) -> list[Chart]:
    """The charts that have two points to join; those of some titles, or all."""
    wanted = [one for one in CHARTS if not titles or one[0] in titles]
    return list(filter(None, (chart(title, unit, series_of(points, names)) for title, unit, names in wanted)))


def series_of(points: Sequence[JsonMap], names: Mapping[str, str]) -> dict[str, Points]:
    """(step, number) of these names, in their order."""
    found: dict[str, list[tuple[float, float]]] = {}
    for name, legend in names.items():
        for point in points:
            for key, value in numbers_of(point).items():
                if key == name or (name[-1] in "/_" and key.startswith(name)):
                    found.setdefault(legend or key.removeprefix(name), []).append((point["step"], value))
    return dict(found)


def numbers_of(point: JsonMap, prefix: str = "") -> dict[str, float]:
    """The finite numbers of a line of metrics.jsonl but its step; those of a block as `block/name`."""
    found: dict[str, float] = {}
    for name, value in point.items():
        if isinstance(value, Mapping):
            found |= numbers_of(value, f"{prefix}{name}/")
        elif isinstance(value, int | float) and (prefix or name != "step"):
            found[f"{prefix}{name}"] = float(value)
    return found


def loss_curves(folder: Path) -> str:
    """The loss of a run for the terminal, in nats per target by step; "" where none was logged."""
    return sketch(series_of(list(read_points(folder)), {"validation_loss": "held out", "loss": "training"}))
