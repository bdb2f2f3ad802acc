"""A model on labelled examples: its answers, judged as its task does, next to those of simple systems."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pretune.base.json import Json
from pretune.base.log import Log
from pretune.evaluate.findings import (
    Compared,
    Findings,
    Group,
    Rows,
    drawn_again,
    figure_drawn_again,
    margin_of,
    ratio_margin_of,
)
from pretune.evaluate.scores import Interval, wilson
from pretune.infer.answers import Answer
from pretune.infer.predictor import Predictor
from pretune.task.judge.judge import Asked, Baseline, Judge, Marks, Part, whole
from pretune.text.dataset.example import Example


def judged(
    judge: Judge,
    model: Predictor,
    examples: Sequence[Example],
    train: Sequence[Example],
    *,
    what: str,
    max_tokens: int,
    seed: int,
    log: Log,
    start: Predictor | None = None,
    by: Mapping[str, Callable[[Sequence[str]], dict[str, list[int]]]] | None = None,
) -> tuple[Findings, list[Asked]]:
    """Figures, baselines and one row per question; and the questions.

    Args:
        start: the model that it was fine-tuned from, where the judge asks that too.
        by: column -> what gives, from where examples come, value -> their places: subgroups.

    Raises:
        NoTarget, NotSupported: nothing that can be asked or judged.
    """
    facts = model.facts
    asked, notes = judge.asked(examples, train, facts.said)
    del examples  # of fifty thousand texts a few megabytes that nobody needs any more
    simple = judge.baselines(asked, train, seed=seed)
    with log.progress("answering", total=len(asked) * (2 if start else 1), unit="questions") as bar:
        answers = judge.ask(model, asked, max_tokens=max_tokens, advance=bar.advance)
        if start is not None:
            before = judge.ask(start, asked, max_tokens=max_tokens, advance=bar.advance)
            simple.append(Baseline("start", "the model that it was fine-tuned from", before))
            answers = judge.since(before, answers)
    mine = _marked(judge, answers, asked)
    baselines = [(b, _marked(judge, b.answers, asked)) for b in simple]
    names = sorted({a.group for a in asked}, reverse=True)
    every: list[tuple[str, Sequence[int]]] = [("all", range(len(asked)))]
    if len(names) > 1:
        every += [(name, [k for k, a in enumerate(asked) if a.group == name]) for name in names]
    groups = [_group(name, numbers, judge, mine, baselines, asked, seed=seed) for name, numbers in every]

    def row(k: int) -> Json:
        return judge.row(asked[k], answers[k], mine.marks[k], {b.name: b.answers[k] for b, _ in baselines})

    rows = Rows(row, len(asked))
    tables, told = judge.tell(answers, asked, facts)
    subgroups = [
        _subgroup(column, _group(value, some, judge, mine, baselines, asked, seed=seed), groups[0])
        for column, values in (by or {}).items()
        for value, some in sorted(values([a.origin for a in asked]).items())
    ]
    tables |= {"subgroups": subgroups} if subgroups else {}
    return Findings(what, groups, rows, judge.order, tables, [*told, *notes]), asked


def _subgroup(column: str, group: Group, whole: Group) -> Json:
    """A row for the table of subgroups: the main figure, its interval, how far it is from that of all, the baseline."""
    main, interval, hardest = group.main, group.intervals.get(group.main), group.hardest
    row: Json = {"column": column, "value": group.name, "examples": group.examples, main: group.figures[main]}
    row |= {f"{main}_low": interval and interval.low, f"{main}_high": interval and interval.high}
    row["from_all"] = group.figures[main] - whole.figures[main]
    return row | ({f"{hardest.name}_{main}": hardest.figures[main]} if hardest else {})


@dataclass(frozen=True)
class _System:
    """The model or a baseline: its answers, and the marks of each."""

    answers: Sequence[Answer]
    marks: Sequence[Marks]


def _marked(judge: Judge, answers: Sequence[Answer], asked: Sequence[Asked]) -> _System:
    """Equal marks are one object: of fifty thousand answers that are right or wrong, two."""
    known: dict[Any, Marks] = {}
    marks = (judge.marks(answer, a) for answer, a in zip(answers, asked, strict=True))
    return _System(answers, [known.setdefault(tuple(one.items()), one) for one in marks])


def _part(system: _System, numbers: Sequence[int]) -> _System:
    return _System([system.answers[k] for k in numbers], [system.marks[k] for k in numbers])


def _group(
    name: str,
    numbers: Sequence[int],
    judge: Judge,
    model: _System,
    baselines: Sequence[tuple[Baseline, _System]],
    asked: Sequence[Asked],
    *,
    seed: int,
) -> Group:
    """The figures of some of the questions, and the margin over each baseline on the same ones."""
    some, mine = [asked[k] for k in numbers], _part(model, numbers)
    compared = []
    for baseline, system in baselines:
        theirs = _part(system, numbers)
        margin, interval = _margin(judge, mine, theirs, some, seed)
        figures = _figures(judge, theirs, some)
        compared.append(Compared(baseline.name, baseline.what, figures, margin, interval, baseline.is_ceiling(some)))
    intervals = _intervals(mine, seed)
    if judge.main not in mine.marks[0]:
        intervals[judge.main] = figure_drawn_again(judge.drawn(mine.answers, some), len(some), seed=seed)
    return Group(name, len(some), _figures(judge, mine, some), intervals, compared, judge.main)


def _margin(
    judge: Judge, mine: _System, theirs: _System, asked: Sequence[Asked], seed: int
) -> tuple[float, Interval | None]:
    """The main figure of one system less that of another, on the same questions."""
    if judge.main in mine.marks[0]:
        ours, other = (_values(system, judge.main) for system in (mine, theirs))
        return (ratio_margin_of if isinstance(ours[0], Part) else margin_of)(ours, other, seed=seed)
    drawn, against = (judge.drawn(system.answers, asked) for system in (mine, theirs))

    def gap(numbers: NDArray[np.int64]) -> float:
        return drawn(numbers) - against(numbers)

    return gap(np.arange(len(asked))), figure_drawn_again(gap, len(asked), seed=seed)


def _values(system: _System, mark: str) -> list[Any]:
    """One mark of each answer; those to which it does not apply are left out."""
    return [m[mark] for m in system.marks if m[mark] is not None]


def _figures(judge: Judge, system: _System, asked: Sequence[Asked]) -> dict[str, float]:
    """Means of the marks, and the figures of all answers together."""
    found = {name: values for name in system.marks[0] if (values := _values(system, name))}
    return {**{name: _mean(values) for name, values in found.items()}, **judge.figures(system.answers, asked)}


def _mean(values: Sequence[Any]) -> float:
    return whole(values) if isinstance(values[0], Part) else sum(map(float, values)) / len(values)


def _intervals(system: _System, seed: int) -> dict[str, Interval | None]:
    found = {name: values for name in system.marks[0] if (values := _values(system, name))}
    return {name: _interval(values, seed) for name, values in found.items()}


def _interval(values: Sequence[Any], seed: int) -> Interval | None:
    """Wilson's of shares, the bootstrap's of anything else."""
    if isinstance(values[0], bool):
        return wilson(sum(values), len(values))
    if isinstance(values[0], Part):
        return drawn_again(np.asarray([part.top for part in values]), [part.below for part in values], seed=seed)
    return drawn_again(np.asarray(values), seed=seed)
