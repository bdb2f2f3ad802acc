"""Running trials: each is a run of the recipe up to the stage that is scored.

data ──▶ base ──▶ tuned ──▶ report          tuned.optim.learning_rate=1e-5..1e-3
made once         each trial  the winner's

The artifacts lie where the recipe puts them, by the rule of any run: with other settings the one before is set aside,
and found again by its key. So what the search does not touch is made once, what two trials share is made once, a trial
that was killed goes on from its checkpoint, and `pretune tidy` clears the losers away. What reads the test split is run
at the end, for the winner.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from pretune.base.artifact import Artifact
from pretune.base.checking import references
from pretune.base.errors import (
    BadCommand,
    DoesNotFit,
    NotFinite,
    OutOfMemory,
    PretuneError,
    SettingsError,
    Stopped,
    UnknownSetting,
    UserError,
    did_you_mean,
)
from pretune.base.json import Json, JsonMap
from pretune.base.log import Log
from pretune.base.recipe import Recipe
from pretune.report.numbers import duration, is_lower_better
from pretune.tune.halving import Stopping, curve_of, watcher_of
from pretune.tune.proposing import Sampler, propose
from pretune.tune.space import Axis, Space, values_text
from pretune.tune.study import Study, Trial


@dataclass(frozen=True)
class Search:
    """What is searched, by what, and how long.

    Args:
        parts: which stages do what.
        metric: of the card of the scored stage.
        trials: of this study, those of earlier commands counted; None for no limit.
        minutes: of this command; None for no limit.
    """

    space: Space
    parts: Parts
    metric: str
    trials: int | None
    sampler: Sampler = "tpe"
    seed: int = 0
    minutes: float | None = None
    halving: bool = False

    @property
    def lower(self) -> bool:
        """Whether a lower score is better."""
        return is_lower_better(self.metric)


@dataclass(frozen=True)
class Parts:
    """Stages of a recipe by what a search does with them, each in the recipe's order.

    Args:
        scored: the stage whose card has the score; with several seeds, each of them.
        once: made once; each: made in every trial; last: made at the end, of the winner.
    """

    scored: tuple[str, ...]
    once: tuple[str, ...]
    each: tuple[str, ...]
    last: tuple[str, ...]

    @property
    def needed(self) -> tuple[str, ...]:
        return (*self.once, *self.each)


def parts_of(recipe: Recipe, axes: Sequence[Axis], scored: str = "") -> Parts:
    """Which stages are made when.

    Args:
        scored: the name of the stage to score; by default the last one that trains and that the search touches.

    Raises:
        BadCommand: nothing that trains depends on what is searched.
    """
    needs = {name: [target for _, target in references(stage)] for name, stage in recipe.stages.items()}
    searched, touched = {axis.path.partition(".")[0] for axis in axes}, set[str]()
    for name, before in needs.items():  # each stands behind what it needs
        touched |= {name} if plain(name) in searched or touched & {*before} else set()
    trained = [name for name, stage in recipe.stages.items() if stage.trains and name in touched]
    known = {plain(name) for name in trained}
    if not trained or (scored and scored not in known):
        searches = ", ".join(axis.path for axis in axes)
        hint = (
            f"it would score one of: {', '.join(sorted(known))}" if known else "search settings of a stage that trains"
        )
        raise BadCommand(
            f"no stage {scored!r} that trains depends on {searches}"
            if scored
            else f"nothing that trains depends on {searches}",
            hint=hint,
        )
    chosen = [name for name in trained if plain(name) == (scored or plain(trained[-1]))]
    wanted = set(chosen)
    for name, before in reversed(needs.items()):
        wanted |= {*before} if name in wanted else set()
    groups = [
        tuple(n for n in needs if n in wanted - touched),
        tuple(n for n in needs if n in wanted & touched),
        tuple(n for n in needs if n not in wanted),
    ]
    return Parts(tuple(chosen), *groups)


def plain(name: str) -> str:
    """The name of a stage in the recipe, without the number of its seed."""
    return name.partition(".")[0]


class Places(Protocol):
    """Where trials run, `number` of them at a time."""

    @property
    def number(self) -> int: ...

    def begin(self, study: Study, values: Json) -> None:
        """Begin a trial; `study` is what it may look at."""

    def first(self, stopping: Stopping) -> Trial:
        """The trial that ends first; raises as `run_trial` does."""


@dataclass
class Here:
    """This process, which runs one trial at a time."""

    job: Search
    command: str
    number: int = 1
    _begun: tuple[Study, Json] | None = None

    def begin(self, study: Study, values: Json) -> None:
        self._begun = study, values

    def first(self, stopping: Stopping) -> Trial:
        assert self._begun, "one was begun"
        return run_trial(self.job, *self._begun, command=self.command, stopping=stopping)


def search(
    job: Search,
    study: Study,
    *,
    log: Log,
    command: str,
    stopping: Stopping,
    after: Callable[[Study], object],
    places: Places | None = None,
) -> Study:
    """Run trials until there are enough, or the next one would not fit into the minutes.

    Args:
        after: called with the study after each trial.
        places: where they run; None for here.
    """
    places = places or Here(job, command)
    ends = time.monotonic() + 60 * job.minutes if job.minutes else math.inf
    # Made before the first trial, so that no trial's time counts it; whatever values a trial has, these are the same.
    job.space.recipe(job.space.first).only(job.parts.once).run(log=log, command=command, stopping=stopping)
    guess = _mean(study.own) if study.own or log.quiet else _forecast(job)
    running, waiting = list[Json](), [*study.begun]  # these by a command that was killed
    notes = places.number > 1 or waiting  # of one at a time the trials alone say which is next
    with log.over(expected(job, study, ends - time.monotonic(), guess / places.number)):
        while True:
            while len(running) < places.number and _fits(job, study, running, ends, log):
                values = waiting.pop(0) if waiting else _proposed(job, study.with_begun(running))
                if values is None:
                    if not running:
                        log.info("every combination was tried")
                    break
                title = _title(job, len(study.own) + len(running))
                log.entering(title)
                log.info(f"{title}: {values_text(values)}")
                places.begin(study.with_begun(running), values)
                running.append(values)
                study = study.beginning([*running, *waiting] if notes else [])
            if not running:
                return study
            trial = places.first(stopping)
            running.remove(trial.values)
            study = study.added(trial).beginning([*running, *waiting] if notes else [])
            after(study)
            to_come = expected(job, study, ends - time.monotonic(), _mean(study.own) / places.number)
            log.info(f"    {_told(job, study, sum(to_come.values()))}")
            if log.screen.whole:
                log.screen.whole.expect(to_come)


def _fits(job: Search, study: Study, running: Sequence[Json], ends: float, log: Log) -> bool:
    """Whether one more trial is wanted, and fits into the minutes."""
    if job.trials is not None and len(study.own) + len(running) >= job.trials:
        return False
    left = ends - time.monotonic()
    if left < _mean(study.own) and not running:
        log.info(f"another trial would take about {_mean(study.own):.0f} s, and {max(left, 0):.0f} s are left")
    return left >= _mean(study.own)


def _proposed(job: Search, study: Study) -> Json | None:
    return propose(job.space.axes, study.trials, sampler=job.sampler, seed=job.seed, lower=job.lower)


def expected(job: Search, study: Study, left: float, each: float) -> dict[str, float]:
    """Seconds of every trial that is still to come, by its title.

    Args:
        left: seconds until no further one is begun; each: what one takes.
    """
    there = len(study.own)
    limits = [int(left // each)] if each and left < math.inf else []
    limits += [job.trials - there] if job.trials else []
    return {_title(job, there + k): each for k in range(min(limits, default=1))}


def _title(job: Search, number: int) -> str:
    """The name of a trial, counted from 0."""
    return f"trial {number + 1}{f' of {job.trials}' if job.trials else ''}"


def run_trial(
    job: Search, study: Study, values: Json, *, command: str, stopping: Stopping, aside: bool = False
) -> Trial:
    """Run the recipe with these values as far as the stage that is scored.

    Args:
        aside: whether others run in the same folder at the same time.

    Raises:
        Stopped: the user asked to stop; UserError: nothing of this recipe has ever run.
    """
    try:
        recipe = replace(job.space.recipe(values), aside=aside)
    except SettingsError as error:  # each of the values may be had alone; its lines are one here, as a trial has
        return Trial(values, None, "failed", problem=" ".join(error.problem.split()))
    started = time.monotonic()
    inner = Log(quiet=True, silent=bool(study.own))  # what the first trial warns of, the others would warn of too
    watcher = None
    try:
        if job.halving:  # what comes before is not watched
            before = recipe.only(job.parts.needed[:-1]).run(log=inner, command=command, stopping=stopping)
            out, curves = recipe.place_of(job.parts.scored[0], before), [trial.curve for trial in study.trials]
            watcher = watcher_of(out, job.metric, curves, lower=job.lower)
        flags = watcher.next_to(stopping) if watcher else stopping
        made = recipe.only(job.parts.needed).run(log=inner, command=command, stopping=flags)
    except Stopped:
        if watcher is None or not watcher.is_behind:
            raise
        ended = Trial(values, None, "behind", curve=watcher.curve, seconds=_since(started))
        shutil.rmtree(watcher.scratch)  # the start of a run that nobody goes on with
        return ended
    except (NotFinite, OutOfMemory, DoesNotFit, UserError) as error:
        return failed(study, values, error, _since(started))
    cards = [made[name].card for name in job.parts.scored]
    curve = curve_of(made[job.parts.scored[0]].path, job.metric)
    figures = _means([card.metrics for card in cards])
    score = score_in(figures, job.metric)
    return Trial(values, score, metrics=figures, keys=[c.key for c in cards], curve=curve, seconds=_since(started))


def failed(study: Study, values: Json, error: PretuneError, seconds: float) -> Trial:
    """The trial that ended with this error; raises it where it is the user's, and nothing of this recipe ever ran."""
    if isinstance(error, UserError) and not any(trial.state == "finished" for trial in study.trials):
        raise error
    return Trial(values, None, "failed", seconds=seconds, problem=error.problem)


def finish(job: Search, values: Json, *, log: Log, command: str, stopping: Stopping) -> dict[str, Artifact]:
    """Run the whole recipe with the winner's values: what was trained is found again, what reads the test split."""
    return job.space.recipe(values).run(log=log, command=command, stopping=stopping)


def score_in(figures: JsonMap, metric: str) -> float:
    """The score among the figures of a card; raises UnknownSetting with what there is."""
    if metric not in figures:
        raise UnknownSetting(f"the card has no number {metric!r} to search by", hint=did_you_mean(metric, figures))
    return float(figures[metric])


def _means(cards: Sequence[JsonMap]) -> dict[str, float]:
    """The mean of every number that all cards have."""
    numbers = [{n: v for n, v in c.items() if isinstance(v, int | float) and not isinstance(v, bool)} for c in cards]
    return {
        name: sum(one[name] for one in numbers) / len(numbers) for name in numbers[0] if all(name in o for o in numbers)
    }


def _forecast(job: Search) -> float:
    """Seconds of the first trial, as far as the stages can tell."""
    plans = job.space.recipe(job.space.first).only(job.parts.needed).plan()
    return sum(plan.forecast.seconds for plan in plans if plan.status != "current")


def _mean(trials: Sequence[Trial]) -> float:
    return sum(trial.seconds for trial in trials) / len(trials) if trials else 0.0


def _told(job: Search, study: Study, left: float) -> str:
    """A line on the last trial, and on the seconds left."""
    last, best = study.trials[-1], study.best(lower=job.lower)
    ended = {"finished": f"{job.metric} {last.score or 0.0:.4g}", "behind": "stopped: behind the others"}
    told = [ended.get(last.state, f"failed: {last.problem}"), duration(last.seconds)]
    if best and best is not last:
        told.append(f"best so far {best.score:.4g}")
    return "; ".join([*told, *([f"about {duration(left)} left"] if left else [])])


def _since(started: float) -> float:
    return round(time.monotonic() - started, 2)
