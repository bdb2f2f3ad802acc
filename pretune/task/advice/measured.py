"""What methods scored and cost, as benchmarks/methods.py measured it: measured.json, which advice rests on.

    sst2#2000, all-MiniLM-L6-v2    full 0.86   lora 0.85   head 0.80 ...    accuracy, seconds, memory, forgotten

The set that is nearest to some data: the same task first, then answers of the same kind (texts, or anything else), then
the language, then the number of examples.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from statistics import mean

from pretune.base.config import Config
from pretune.infer.answers import Text
from pretune.report.numbers import count, figure, is_lower_better, size
from pretune.task.task import TASK, Task

PLACE = Path(__file__).with_name("measured.json")
POINT = 0.01
"""Scores (of a loss: nats) that are nearer to each other are told apart by what they cost."""


class Way(Config):
    """A method on a set."""

    settings: list[str]
    """As they are typed: `method=lora`, `method.variant=dora`."""
    values: list[float]
    """The set's figure, one for each seed."""
    report: dict[str, float] = {}
    """What stage evaluate says on the test split, a mean over the seeds."""
    forgotten: float | None = None
    """The rise of bits per byte on general text; None: nobody can tell, or did."""
    trained_parameters: int
    memory_bytes: float
    """The most that the process held."""
    seconds: float
    """Of training, until the best score on the validation split."""

    @property
    def value(self) -> float:
        return mean(self.values)

    @property
    def name(self) -> str:
        """lora; lora dora."""
        return " ".join(setting.partition("=")[2] for setting in self.settings)


class Measured(Config):
    """A data set and a model, and every method on them."""

    data: str
    """In ../shared/data: `sst2#2000`."""
    task: str
    language: str
    """A code of ISO 639."""
    model: str
    parameters: int
    examples: int
    """Of the training split."""
    figure: str
    settings: list[str] = []
    """Of stage finetune, besides the method, that are not its defaults."""
    baselines: dict[str, dict[str, float]] = {}
    """Of simple systems, learnt from the same examples: their figures on the test split."""
    processor: str
    ways: list[Way]

    @property
    def lower(self) -> bool:
        return is_lower_better(self.figure)

    def behind(self, way: Way) -> float:
        """How far a method is behind the best one, 0 for that one."""
        every = [one.value for one in self.ways]
        return way.value - min(every) if self.lower else max(every) - way.value

    def ranked(self) -> list[Way]:
        """First those within a point of the best, the quickest first; then the others, the best first."""
        near = [way for way in self.ways if self.behind(way) <= POINT + 1e-9]
        rest = [way for way in self.ways if way not in near]
        return [*sorted(near, key=lambda way: way.seconds), *sorted(rest, key=self.behind)]

    def simplest(self) -> tuple[str, float] | None:
        """The best simple system and its figure, where those have this figure."""
        found = [(figures[self.figure], name) for name, figures in self.baselines.items() if self.figure in figures]
        return (max(found)[1], max(found)[0]) if found else None


@cache
def table() -> tuple[Measured, ...]:
    """The package's rows; none until somebody has measured."""
    return tuple(Measured(**row) for row in json.loads(PLACE.read_text(encoding="utf-8"))) if PLACE.exists() else ()


def nearest(rows: Sequence[Measured], task: Task, *, examples: int, language: str) -> Measured | None:
    """The measured set that is nearest to data of a task; None where there is none with answers of this kind."""

    def distance(row: Measured) -> tuple[bool, bool, float]:
        return row.task != task.kind, row.language != language, abs(math.log(examples / row.examples))

    writes = task.answers is Text
    alike = [row for row in rows if (TASK.find(row.task).answers is Text) == writes]
    return min(alike, key=distance, default=None)


def how_far(row: Measured, task: Task, *, examples: int, language: str, model: str | None) -> str:
    """In which ways data and model differ from those of a row; "the same" where they do in none."""
    told = [] if row.task == task.kind else [f"its task is {row.task}, not {task.kind}"]
    ratio = examples / row.examples
    if not 0.5 <= ratio <= 2:
        told.append(f"yours has {figure(ratio if ratio > 1 else 1 / ratio)} times as {'many' if ratio > 1 else 'few'}")
    if language != row.language:
        told.append(f"it is in {row.language}, yours in {language}")
    if model is not None and model != row.model:
        told.append(f"it was {row.model}, not {model}")
    return "; ".join(told) or "the same task, language and size"


# ---- for people ---------------------------------------------------------------------------------

HEADS = ("method", "score", "spread", "test", "forgotten", "trained", "memory", "seconds")


def table_text(rows: Sequence[Measured]) -> str:
    """The rows as tables in Markdown, the best method first."""
    return "\n\n".join(_one(row) for row in rows) or "nothing was measured yet"


def _one(row: Measured) -> str:
    title = f"{row.data}, {row.model} ({count(row.parameters)} parameters), {row.processor}; score: {row.figure}"
    title += f" ({' '.join(row.settings)})" if row.settings else ""
    lines = [f"| {' | '.join(HEADS)} |", "|" + "---|" * len(HEADS)]
    lines += [f"| {' | '.join(_cells(row, way))} |" for way in sorted(row.ways, key=row.behind)]
    told = ", ".join(f"{name} {_brief(figures, row)}" for name, figures in row.baselines.items())
    return "\n".join([title, "", *lines, "", *([f"Simple systems: {told}."] if told else [])])


def _cells(row: Measured, way: Way) -> list[str]:
    spread = max(way.values) - min(way.values) if len(way.values) > 1 else None
    return [
        way.name,
        f"{way.value:.3f}",
        "" if spread is None else f"{spread:.3f}",
        _brief(way.report, row),
        "" if way.forgotten is None else f"{way.forgotten:.3f}",
        count(way.trained_parameters),
        size(way.memory_bytes),
        f"{way.seconds:.0f}",
    ]


def _brief(figures: Mapping[str, float], row: Measured) -> str:
    """The test split's figure: the set's own, or ROUGE-L."""
    name = row.figure if row.figure in figures else "rouge_l"
    return f"{name} {figures[name]:.3f}" if name in figures else ""
