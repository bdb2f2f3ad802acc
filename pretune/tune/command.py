"""What `pretune tune` does: open the study, say what will be done, search, run the winner, tell the outcome."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pretune.base.artifact import Artifact
from pretune.base.config import extras_of
from pretune.base.errors import BadCommand, NotSupported
from pretune.base.extras import need
from pretune.base.json import Json
from pretune.base.log import Log
from pretune.base.recipe import Recipe
from pretune.base.staging import set_aside, write_durably
from pretune.base.tidy import size as size_of
from pretune.report.numbers import size
from pretune.tune.halving import Stopping
from pretune.tune.outcome import facts_json, table_text, write_best, write_page
from pretune.tune.proposing import Sampler, grid, importance
from pretune.tune.space import Space, read_space, values_text
from pretune.tune.study import Study, facts_of, open_study
from pretune.tune.trials import Parts, Places, Search, finish, parts_of, plain, search

USUAL_TRIALS = 16
WINNERS = "winners.json"
"""The values of every winner that was judged."""


@dataclass(frozen=True)
class Wanted:
    """What was typed.

    Args:
        settings: `setting=values`, or `setting=value` for all trials.
        trials: of the study in all; None: 16, or as many as fit into `minutes`, or a whole grid.
        by: `metric` or `stage.metric` of a card; "" for what the stage is chosen by.
        start: an earlier study to begin with; out: where this one lies, by default next to the recipe's work.
    """

    recipe: str
    settings: tuple[str, ...]
    size: str | None = None
    trials: int | None = None
    minutes: float | None = None
    sampler: Sampler = "tpe"
    halving: bool = False
    by: str = ""
    seed: int = 0
    start: str | None = None
    out: str | None = None


@dataclass(frozen=True)
class Outcome:
    """What a search found, for people and as JSON."""

    text: str
    facts: Json


def opened(wanted: Wanted) -> tuple[Search, Study]:
    """The search and its study, all mistakes told before anything runs.

    Raises:
        SettingsError, BadCommand, OtherStudy, MissingExtra, and what opening the recipe's inputs raises.
    """
    space = read_space(wanted.recipe, wanted.settings, wanted.size)
    recipe = space.recipe(space.first)
    need({"tune"}.union(*(extras_of(stage) for stage in recipe.stages.values())))
    stage, _, by = wanted.by.rpartition(".")
    parts = parts_of(recipe, space.axes, stage)
    _refuse(wanted, recipe)
    metric = by or recipe.stages[parts.scored[0]].chosen_by()
    job = Search(
        space, parts, metric, _trials(wanted, space), wanted.sampler, wanted.seed, wanted.minutes, wanted.halving
    )
    folder = Path(wanted.out or f"{recipe.head.work.rstrip('.')}.tune")
    start = Path(wanted.start) if wanted.start else None
    return job, open_study(folder, facts_of(space, recipe, parts.needed, metric), start)


def _refuse(wanted: Wanted, recipe: Recipe) -> None:
    if recipe.head.nproc > 1:
        hint = "nproc=1; the best recipe may have more"
        raise NotSupported(f"a search runs in one process, and the recipe has nproc={recipe.head.nproc}", hint=hint)
    if wanted.halving and recipe.head.seeds > 1:
        raise NotSupported("--halving follows one run, and the recipe has several seeds", hint="seeds=1")


def _trials(wanted: Wanted, space: Space) -> int | None:
    if wanted.sampler == "grid":
        every = len(grid(space.axes, wanted.seed))
        return min(every, wanted.trials or every)
    return wanted.trials or (None if wanted.minutes else USUAL_TRIALS)


def tuned(
    job: Search, study: Study, *, log: Log, command: str, stopping: Stopping, places: Places | None = None
) -> Outcome:
    """Search, then run everything once with the best values.

    Args:
        places: where trials run; None for here.

    Raises:
        BadCommand: no trial has a score; Stopped: the user asked to stop.
    """
    log.info(plan_text(job, study))

    def after(found: Study) -> None:
        write_best(job, found)

    study = search(job, study, log=log, command=command, stopping=stopping, after=after, places=places)
    best = study.best(lower=job.lower)
    if best is None:
        last = study.trials[-1].problem if study.trials else "--minutes is too short for one"
        raise BadCommand(f"none of {len(study.trials)} trials has a score: {last}", hint="search milder values")
    write_best(job, study)
    log.info(f"the best: {values_text(best.values)}")
    _note_winner(job, study, best.values, log)
    made = finish(job, best.values, log=log, command=command, stopping=stopping)
    weights = importance(job.space.axes, study.trials, lower=job.lower, seed=job.seed)
    page = write_page(job, study, made, weights, command)
    facts = facts_json(job, study, made, weights)
    told = [*_importance(weights), *_last(job.parts, made), *_losers(job, study, made)]
    steps = f"  page: {page.as_posix()}\n  next: pretune run {facts['recipe']}"
    return Outcome("\n".join([table_text(job, study), "", *told, steps]), facts)


def _note_winner(job: Search, study: Study, values: Json, log: Log) -> None:
    """Keep whom the last stages judge; of several winners the report that looks best has been lucky."""
    path = study.folder / WINNERS
    before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    if values in before:
        return
    write_durably(path, json.dumps([*before, values], ensure_ascii=False))
    if before and job.parts.last:
        told = f"{', '.join(job.parts.last)} ran before, for another winner of this study ({values_text(before[-1])})"
        log.warn(f"{told}: do not choose between the two by what they say")


def plan_text(job: Search, study: Study) -> str:
    """What is searched, by what, and which stages are made when."""
    parts = job.parts
    less = "lower" if job.lower else "higher"
    rows = [f"  {axis.path:<{max(len(a.path) for a in job.space.axes)}}  {axis.text()}" for axis in job.space.axes]
    when = {"once": parts.once, "in every trial": parts.each, "at the end": parts.last}
    stages = "; ".join(f"{words}: {', '.join(names)}" for words, names in when.items() if names)
    number = f"{job.trials} trials" if job.trials else f"as many trials as fit into {job.minutes:g} minutes"
    there = f", {len(study.trials)} of them are there" if study.trials else ""
    return "\n".join([
        f"{study.folder.as_posix()}: {number}{there}, sampler {job.sampler}, seed {job.seed}",
        *rows,
        f"  scored by {job.metric} of {plain(parts.scored[0])}, {less} is better",
        f"  {stages}",
    ])  # fmt: skip


def _importance(weights: Mapping[str, float]) -> list[str]:
    told = ", ".join(f"{path} {part:.0%}" for path, part in weights.items())
    return [f"  what mattered: {told}"] if told else []


def _losers(job: Search, study: Study, made: Mapping[str, Artifact]) -> list[str]:
    """What the other trials' models take on the disk, and how they go."""
    outs = [made[name].path for name in job.parts.scored]
    places = {set_aside(out, key) for trial in study.trials for out, key in zip(outs, trial.keys, strict=False)}
    there = [place for place in sorted(places) if place.is_dir()]
    total = size(sum(map(size_of, there)))
    told = f"  {len(there)} models of other trials: {total}; `pretune tidy {outs[0].parent.as_posix()}` deletes them"
    return [told] if there else []


def _last(parts: Parts, made: Mapping[str, Artifact]) -> list[str]:
    return [f"  {name}: {made[name].path.as_posix()}" for name in (*parts.scored, *parts.last)]
