"""What a command makes, and how far it is: read from the folders that its stages write, so it costs the run nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pretune.base.artifact import CARD
from pretune.base.errors import PretuneError
from pretune.base.json import Json
from pretune.base.lock import is_held
from pretune.base.planning import Planned
from pretune.base.stage import STAGE
from pretune.base.staging import beside
from pretune.report.drawing import Chart, chart
from pretune.report.numbers import count, duration, metric, size
from pretune.report.training import charts, numbers_of, read_points, series_of

NEWEST = ("loss", "validation_loss", "tokens_per_second", "share_of_machine", "memory_bytes", "gpu_memory_bytes")
"""The figures of the last step that are shown next to its number."""
SAMPLES = "samples.jsonl"
MOST_SAMPLES = 6


@dataclass(frozen=True)
class Made:
    """One stage of a command: waiting | working | interrupted | finished, and what it has logged.

    Args:
        newest: figures of the last step, as people read them.
        samples: what the model wrote on the way, the last first.
    """

    name: str
    out: Path
    state: str
    newest: Mapping[str, str]
    charts: Sequence[Chart]
    samples: Sequence[Json]


def outs_of(words: Sequence[str], root: Path) -> dict[str, Path]:
    """Stage -> the folder that it writes; nothing of a command that writes none, or whose recipe is gone."""
    with suppress(PretuneError, IndexError):
        if words[0] == "run":
            size = words[words.index("--size") + 1] if "--size" in words else None
            settings = tuple(word for word in words[2:] if "=" in word)
            planned = Planned.read(root / words[1], settings, size)
            return {name: root / planned.out(name) for name in planned.stages}
        if words[0] in STAGE.kinds() and "--out" in words:
            out = root / words[words.index("--out") + 1]
            parts = {kind: beside(out, f".{kind}") for kind in STAGE.kinds()}
            there = {k: path for k, path in parts.items() if path.exists() or beside(path, ".scratch").exists()}
            return {**there, words[0]: out}
    return {}


def made_of(name: str, out: Path) -> Made:
    """How far one stage is."""
    scratch = beside(out, ".scratch")
    state = _state(out, scratch)
    folder = scratch if state in ("working", "interrupted") else out
    points = list(read_points(folder))
    drawn = charts(points, ("Loss", "Score", "Speed")) + _memory(points)
    return Made(name, out, state, _newest(points), drawn, _samples(folder))


def _state(out: Path, scratch: Path) -> str:
    """A lock alone says nothing: one that was killed has left its own."""
    if is_held(scratch / "lock"):
        return "working"
    if (out / CARD).is_file():
        return "finished"
    return "interrupted" if scratch.is_dir() else "waiting"


def plan_of(log: str) -> Json | None:
    """The plan that `pretune plan --json` printed, with a row for each stage as people read it; or None."""
    try:
        found = json.JSONDecoder().raw_decode(log[log.index("{\n") :])[0]
    except ValueError:
        return None
    return {**found, "rows": [_row(one) for one in found["stages"]]} if "stages" in found else None


def _row(stage: Json) -> Json:
    told = stage["forecast"]
    return {
        "stage": stage["name"],
        "status": stage["status"],
        "time": duration(told["seconds"]) if told["seconds"] else "",
        "memory": size(told["memory_bytes"]) if told["memory_bytes"] else "",
        "parameters": count(told["parameters"]) if told["parameters"] else "",
        "because": "; ".join(stage["reasons"]),
    }


def _memory(points: Sequence[Json]) -> list[Chart]:
    series = series_of(points, {"memory_bytes": "process", "gpu_memory_bytes": "GPU"})
    in_gib = {name: [(step, value / 2**30) for step, value in some] for name, some in series.items()}
    drawn = chart("Memory", "GiB", in_gib)
    return [drawn] if drawn else []


def _newest(points: Sequence[Json]) -> dict[str, str]:
    """Of each figure its last value: not every line has all of them."""
    found: dict[str, float] = {}
    for point in points[-50:]:
        found |= numbers_of(point)
    shown = {name: metric(found[name], name) for name in NEWEST if name in found}
    return {"step": f"{points[-1]['step']:,}", **shown} if points else {}


def _samples(folder: Path) -> list[Json]:
    path = folder / SAMPLES
    lines = path.read_text(encoding="utf-8").split("\n") if path.is_file() else []
    found: list[Json] = []
    for line in reversed(lines):
        with suppress(ValueError):  # a line that is being written
            found += [json.loads(line)] if line else []
    return found[:MOST_SAMPLES]
