"""A study: what is searched in which recipe, and the trials so far, in two plain files.

    OUT/study.json     the recipe's settings, the digests of its data, the ranges, the metric
    OUT/trials.jsonl   a line for each trial that ended: its values, its score, how it went
    OUT/begun.jsonl    where several run at a time: the values of those that have not ended, which are the next ones

Trials of another recipe, of other data, other ranges or another metric are never mixed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from pretune.base.config import differing, inputs_of
from pretune.base.errors import BadFile, NoSuchFile, OtherStudy
from pretune.base.json import Json, JsonMap
from pretune.base.planning import flat_settings, opened_input
from pretune.base.recipe import Recipe
from pretune.base.stage import Stage
from pretune.base.staging import write_durably
from pretune.tune.space import Space

FACTS, TRIALS, BEGUN = "study.json", "trials.jsonl", "begun.jsonl"
State = Literal["finished", "behind", "failed"]


@dataclass(frozen=True)
class Trial:
    """A trial that ended.

    Args:
        score: of the metric that is searched by; None where it failed or fell behind.
        state: finished; behind: stopped early, among the worse two thirds; failed, because of `problem`.
        metrics: numbers of the card (the mean over seeds).
        keys: of the artifacts that were scored.
        curve: (validation from 1, score) of a trial that was watched.
        taken_from: the folder of the earlier study that it is from.
    """

    values: Json
    score: float | None
    state: State = "finished"
    metrics: Json = field(default_factory=dict)
    keys: list[str] = field(default_factory=list)
    curve: list[tuple[int, float]] = field(default_factory=list)
    seconds: float = 0.0
    problem: str = ""
    taken_from: str = ""

    def rank(self, *, lower: bool) -> tuple[bool, float, float]:
        """Orders trials, the best first; those without a score last."""
        score = (self.score or 0.0) * (1 if lower else -1)
        return self.score is None, score, self.metrics.get("validation_loss", 0.0)


@dataclass(frozen=True)
class Study:
    """The trials in a folder, in their order."""

    folder: Path
    facts: JsonMap
    trials: tuple[Trial, ...] = ()
    begun: tuple[Json, ...] = ()
    """Values of the trials that were begun, several at a time, and have not ended."""

    @property
    def own(self) -> list[Trial]:
        """Those that were not taken from an earlier study."""
        return [trial for trial in self.trials if not trial.taken_from]

    def best(self, *, lower: bool) -> Trial | None:
        """The finished trial with the best score; of equal ones that with the lower validation loss, then the first."""
        done = [trial for trial in self.trials if trial.score is not None]
        return min(done, key=lambda trial: trial.rank(lower=lower), default=None)

    def added(self, *more: Trial) -> Study:
        """The study with more trials; they are on the disk when this returns."""
        found = replace(self, trials=(*self.trials, *more))
        write_durably(self.folder / TRIALS, _lines(map(asdict, found.trials)))
        return found

    def beginning(self, values: Sequence[Json]) -> Study:
        """The study while trials with these values run; so it is on the disk when this returns."""
        if values or (self.folder / BEGUN).exists():
            write_durably(self.folder / BEGUN, _lines(values))
        return replace(self, begun=tuple(values))

    def with_begun(self, values: Sequence[Json]) -> Study:
        """What the choice of the next trial goes by: one that has not ended counts as one that failed, so that the next
        is elsewhere."""
        return replace(self, trials=(*self.trials, *(Trial(one, None, "failed") for one in values)))


def _lines(values: Iterable[Json]) -> str:
    return "".join(f"{json.dumps(one, ensure_ascii=False)}\n" for one in values)


def facts_of(space: Space, recipe: Recipe, needed: Sequence[str], metric: str) -> Json:
    """What must be equal for two trials to be compared.

    Args:
        recipe: with the first value of every axis; needed: stages that a trial runs; metric: what scores them.
    """
    stages = {name: _stage_facts(recipe.stages[name]) for name in needed}
    axes = {axis.path: axis.text() for axis in space.axes}
    return {"recipe": flat_settings({**stages, "seed": recipe.head.seed}), "ranges": axes, "metrics": {"--by": metric}}


def _stage_facts(stage: Stage) -> Json:
    """Settings that decide what is written, and where inputs come from: a stage, or files by their digest."""
    inputs = {p: r if r.startswith("$") else opened_input(r, m, stage).card.id for p, r, m in inputs_of(stage)}
    return {**differing(stage), "inputs": inputs}


def open_study(folder: Path, facts: JsonMap, start: Path | None = None) -> Study:
    """The study of a folder, or a new one there.

    Args:
        start: an earlier study, whose trials a new one begins with.

    Raises:
        OtherStudy: the folder, or `start`, holds trials of another recipe, other data, ranges or another metric.
    """
    plain = json.loads(json.dumps(facts))
    files = (folder / TRIALS, folder / BEGUN)
    if any(file.is_file() and file.stat().st_size for file in files):  # one without a trial is any search's
        return _read(folder, plain)
    earlier = _read(start, plain).trials if start else ()
    folder.mkdir(parents=True, exist_ok=True)
    write_durably(folder / FACTS, json.dumps(plain, indent=1, ensure_ascii=False, sort_keys=True))
    given = start.as_posix() if start else ""
    return Study(folder, plain).added(*(replace(one, taken_from=one.taken_from or given) for one in earlier))


def _read(folder: Path, facts: JsonMap) -> Study:
    try:
        found = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        trials = tuple(map(_trial, _read_lines(folder / TRIALS)))
        ended = [trial.values for trial in trials]  # a kill between the two files leaves one in both
        begun = tuple(values for values in _read_lines(folder / BEGUN) if values not in ended)
    except FileNotFoundError:
        raise NoSuchFile(f"{folder.as_posix()!r} holds no study", hint="`pretune tune` writes one") from None
    except (ValueError, TypeError) as error:
        hint = "restore the file, or choose another --out"
        raise BadFile(f"the study in {folder.as_posix()!r} cannot be read: {error}", hint=hint) from None
    for what in ("recipe", "ranges", "metrics"):
        if changes := _changes(found.get(what, {}), facts[what]):
            hint = "choose another --out, or go on with recipe, ranges and --by as they were"
            raise OtherStudy(f"{folder.as_posix()!r} is a study of another {what.rstrip('s')}: {changes}", hint=hint)
    return Study(folder, facts, trials, begun)


def _read_lines(path: Path) -> list[Json]:
    lines = path.read_text(encoding="utf-8").split("\n") if path.is_file() else []
    return [json.loads(line) for line in lines if line]


def _trial(line: Json) -> Trial:
    return Trial(**{**line, "curve": [(int(k), float(v)) for k, v in line.get("curve", ())]})


def _changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    names = [n for n in sorted({*before, *now}) if before.get(n) != now.get(n)]
    told = [f"{n} {before.get(n, 'unset')!r} -> {now.get(n, 'unset')!r}" for n in names[:3]]
    return "; ".join([*told, *(["..."] if len(names) > 3 else [])])
