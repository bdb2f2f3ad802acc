"""What a search leaves: the best recipe as a file, a table for the terminal, a page of what mattered.

OUT/best.yaml    the recipe with the best values, written after every trial
OUT/tune.html    importance of the settings, the trials as lines over their values, the best score so far
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pretune.base.artifact import Artifact
from pretune.base.json import Json
from pretune.base.yaml import write_yaml
from pretune.report.drawing import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Bar, Chart, Points, chart
from pretune.report.numbers import duration, metric, named
from pretune.report.pages import page
from pretune.tune.space import Axis, values_text, written
from pretune.tune.study import Study, Trial
from pretune.tune.trials import Search

BEST, PAGE = "best.yaml", "tune.html"
SHOWN = 10
"""Trials in the terminal's table; the page has all."""


def write_best(job: Search, study: Study) -> Path | None:
    """The recipe with the values of the best trial so far; None where no trial has a score."""
    best = study.best(lower=job.lower)
    if best is None:
        return None
    path = study.folder / BEST
    place = f"trial {study.trials.index(best) + 1} of {len(study.trials)}"
    said = f"# The best that `pretune tune` found, {place}: {job.metric} {best.score:.4g}.\n"
    path.write_text(said + write_yaml(job.space.settings(best.values)), encoding="utf-8")
    return path


def in_order(job: Search, study: Study) -> list[tuple[int, Trial]]:
    """(number from 1, trial), the best first, those without a score last."""
    return sorted(enumerate(study.trials, 1), key=lambda one: one[1].rank(lower=job.lower))


def rows_of(job: Search, study: Study) -> list[Json]:
    """Rows of the table, the best first."""
    return [
        {
            "trial": number,
            **{path: written(value) for path, value in trial.values.items()},
            job.metric: "" if trial.score is None else trial.score,
            "seconds": trial.seconds,
            "": _ended(trial),
        }
        for number, trial in in_order(job, study)
    ]


def _ended(trial: Trial) -> str:
    told = {"finished": "", "behind": "stopped, behind the others", "failed": f"failed: {trial.problem}"}[trial.state]
    return "; ".join(filter(None, [told, trial.taken_from and f"of {trial.taken_from}"]))


def table_text(job: Search, study: Study) -> str:
    """The best trials for the terminal."""
    rows = [{name: metric(value, name) for name, value in row.items()} for row in rows_of(job, study)[:SHOWN]]
    lines = [list(rows[0]), *(list(row.values()) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    shown = ["  ".join(f"{cell:>{w}}" for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines]
    more = [f"... and {len(study.trials) - SHOWN} more"] if len(study.trials) > SHOWN else []
    return "\n".join([*shown, *more])


def facts_json(job: Search, study: Study, made: Mapping[str, Artifact], weights: Mapping[str, float]) -> Json:
    """The outcome as one JSON object; `weights` say how much each setting mattered."""
    best = study.best(lower=job.lower)
    assert best is not None, "there is no outcome without a best trial"
    return {
        "metric": job.metric,
        "best": {"trial": study.trials.index(best) + 1, **asdict(best)},
        "recipe": (study.folder / BEST).as_posix(),
        "page": (study.folder / PAGE).as_posix(),
        "importance": weights,
        "trials": [asdict(trial) for trial in study.trials],
        "made": {name: {"path": one.path.as_posix(), "metrics": one.card.metrics} for name, one in made.items()},
    }


# ---- the page -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Lines:
    """Parallel coordinates: an upright line for each setting and for the score, a bent one for each trial.

    Args:
        axes: (name, x, [(value, y)]) of each upright line; trials: (title, "x,y x,y ...", opacity), the best last.
    """

    axes: list[tuple[str, float, list[tuple[str, float]]]]
    trials: list[tuple[str, str, float]]


def parallel(job: Search, study: Study) -> Lines | None:
    """The finished trials over their values; None where fewer than two finished."""
    done = [(number, trial) for number, trial in in_order(job, study) if trial.score is not None]
    if len(done) < 2:
        return None
    scores = [trial.score or 0.0 for _, trial in done]
    low, high = min(scores), max(scores)
    axes = [*job.space.axes, Axis(job.metric, low=low, high=high if high > low else low + 1.0)]
    xs = [LEFT + k * (WIDTH - LEFT - RIGHT - 20) / (len(axes) - 1) for k in range(len(axes))]
    names = [axis.path for axis in axes[:-1]] + [named(job.metric)]
    uprights = [(name, x, _ends(axis, job.metric)) for name, x, axis in zip(names, xs, axes, strict=True)]
    lines = []
    for place, (number, trial) in enumerate(done):
        values = {**trial.values, job.metric: trial.score}
        points = " ".join(f"{x:.1f},{_y(axis, values[axis.path]):.1f}" for axis, x in zip(axes, xs, strict=True))
        lines.append((f"trial {number}: {trial.score:.4g}", points, round(1 - 0.85 * place / (len(done) - 1), 2)))
    return Lines(uprights, lines[::-1])


def _ends(axis: Axis, score: str) -> list[tuple[str, float]]:
    """What is written at an upright line, and where."""
    return [(metric(end, score) if axis.path == score else written(end), _y(axis, end)) for end in axis.ends]


def _y(axis: Axis, value: Any) -> float:
    return TOP + (1 - axis.part(value)) * (HEIGHT - TOP - BOTTOM)


def best_so_far(scores: Sequence[float | None], *, lower: bool) -> Points:
    """(trial from 1, best score up to it)."""
    found: list[tuple[float, float]] = []
    for number, score in enumerate(scores, 1):
        known = [found[-1][1]] if found else []
        if both := [*known, *([] if score is None else [score])]:
            found.append((number, min(both) if lower else max(both)))
    return found


def progress_chart(job: Search, study: Study) -> list[Chart]:
    scores = [trial.score for trial in study.trials]
    each = [(float(k), score) for k, score in enumerate(scores, 1) if score is not None]
    series = {"best so far": best_so_far(scores, lower=job.lower), "each trial": each}
    drawn = chart("Score by trial", named(job.metric), series)
    return [replace(drawn, across="trial")] if drawn else []


def write_page(
    job: Search, study: Study, made: Mapping[str, Artifact], weights: Mapping[str, float], command: str
) -> Path:
    """The page of a study with a best trial."""
    best = study.best(lower=job.lower)
    assert best is not None, "there is no page without a best trial"
    html = page(
        "tune",
        f"Search: {study.folder.name}",
        verdict=f"{named(job.metric)} {metric(best.score, job.metric)} with {values_text(best.values)}",
        text=_words(study, best),
        command=command,
        importance=[Bar(path, part) for path, part in weights.items()],
        charts=progress_chart(job, study),
        parallel=parallel(job, study),
        rows=rows_of(job, study),
        made={name: plain_metrics(one) for name, one in made.items() if name in job.parts.last},
    )
    path = study.folder / PAGE
    path.write_text(html, encoding="utf-8", newline="\n")
    return path


def plain_metrics(artifact: Artifact) -> Json:
    return {name: value for name, value in artifact.card.metrics.items() if isinstance(value, int | float | str)}


def _words(study: Study, best: Trial) -> str:
    """What stands below the verdict."""
    words = {"finished": "finished", "behind": "stopped early", "failed": "failed"}
    counted = ((sum(trial.state == state for trial in study.trials), word) for state, word in words.items())
    ended = ", ".join(f"{number} {word}" for number, word in counted if number)
    spent = duration(sum(trial.seconds for trial in study.trials))
    return (
        f"Trial {study.trials.index(best) + 1} is the best of {len(study.trials)} ({ended}; {spent} together).\n"
        "Scores are of the validation split, and the best of several has been lucky too: on texts that chose nothing "
        "it is a little worse. What reads the test split was run for the winner alone."
    )
