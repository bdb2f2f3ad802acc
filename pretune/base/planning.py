"""A checked recipe and its plan: what would run, because of which change, and what it would take. Touches nothing."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from pydantic import Field

from pretune.base.artifact import CARD, Artifact, Card, read_card
from pretune.base.checking import apply_overrides, bad_references, check_stage, copied, in_order, references
from pretune.base.config import Config, Input, Mistake, check, complete, differing, inputs_of, mistakes_error
from pretune.base.errors import BadCommand, PretuneError
from pretune.base.json import Json, JsonMap
from pretune.base.seeds import for_each_seed, kinds_of
from pretune.base.stage import STAGE, Forecast, Machine, Stage, stage_key
from pretune.base.staging import current, scratch_key, scratch_run, set_aside
from pretune.base.yaml import read_yaml


class Head(Config):
    """What stands above the stages of a recipe."""

    name: str = "recipe"
    """What the recipe is called in reports."""
    work: str = "runs"
    """The folder that the artifacts lie in, `work/STAGE`. Ending in a dot (`runs/base.`), the last stage lies at
    `runs/base` and the others next to it, at `runs/base.STAGE`."""
    seed: int = 0
    """Everything random derives from this number and the kind of the stage."""
    seeds: int = Field(1, ge=1)
    """So many seeds, from `seed` on: what trains, and what is made of that, is made once for each (`tuned.s0` ...); a
    summary gives mean and spread."""
    nproc: int = Field(1, ge=1)
    """Processes on this machine that train together; the batch of a step is dealt to them."""
    ray: str | None = None
    """Address of a Ray cluster (`auto`, `HOST:6379`), whose nodes run the processes of `nproc`: they see the same files
    under the same names. A process that dies is started again from the last checkpoint."""
    sizes: dict[str, Json] = {}
    """Named sets of overrides; `--size smoke` takes those under `smoke`."""


@dataclass(frozen=True)
class StagePlan:
    """What would happen to one stage, and why."""

    name: str
    kind: str
    out: str
    status: str
    """current | will run | may run (skipped if its inputs come out as they were)"""
    reasons: list[str] = field(default_factory=list)
    forecast: Forecast = field(default_factory=Forecast)


@dataclass(frozen=True)
class Planned:
    """Stages by name, their settings, and how they hang together."""

    head: Head
    stages: dict[str, Stage]
    source: str = "recipe"
    above: Mapping[str, int] = field(default_factory=dict)
    """How far the seed of a stage is from the recipe's."""
    main: str = ""
    """The stage that lies at `work` itself where that ends in a dot; the last one, if none is named."""
    aside: bool = False
    """Whether artifacts are made, and stay, where others are set aside: several runs then share the work folder."""

    @classmethod
    def read(cls, path: str | Path, overrides: tuple[str, ...] = (), size: str | None = None) -> Self:
        """Read a YAML recipe and apply overrides; raises SettingsError that tells every mistake."""
        tree, lines = read_yaml(Path(path))
        return cls.build(tree, overrides=overrides, size=size, source=Path(path).as_posix(), lines=lines)

    @classmethod
    def build(
        cls,
        tree: JsonMap,
        *,
        overrides: tuple[str, ...] = (),
        size: str | None = None,
        source: str = "recipe",
        lines: Mapping[tuple[str, ...], int] | None = None,
        main: str | None = None,
    ) -> Self:
        """Check a tree of settings.

        Args:
            main: the stage of a one-stage command, whose name the user did not write: left out in messages.
        """
        whole: Json = copied(tree)
        mistakes = apply_overrides(whole, overrides, size)
        head, stages, wrong = check_tree(whole, main)
        mistakes += wrong
        if mistakes or head is None:
            where = {place[1:] if place[0] == "stages" else place: line for place, line in (lines or {}).items()}
            raise mistakes_error(mistakes, source=source, lines=where)
        if head.seeds == 1:
            return cls(head, in_order(stages), source)
        if main is not None:
            raise BadCommand("seeds is for recipes", hint="`pretune run` it: the command without seeds writes a recipe")
        given = whole["stages"]
        every, above = for_each_seed(given, kinds_of(given), head.seeds)
        built = {name: STAGE(settings) for name, settings in every.items()}
        return cls(head, in_order(built), source, above)

    def only(self, names: Collection[str]) -> Self:
        """The same with some of the stages, which lie where they lay; `names` holds what each of them needs."""
        stages = {name: stage for name, stage in self.stages.items() if name in names}
        return replace(self, stages=stages, main=self.main or list(self.stages)[-1])

    def seed_of(self, name: str) -> int:
        """The seed of a stage."""
        return self.head.seed + self.above.get(name, 0)

    def out(self, name: str) -> Path:
        """Where a stage's artifact lies."""
        if not self.head.work.endswith("."):
            return Path(self.head.work) / name
        last = self.main or list(self.stages)[-1]
        return Path(self.head.work[:-1]) if name == last else Path(self.head.work + name)

    def place(self, name: str, key: str) -> Path:
        """Where the artifact with this key is made."""
        return set_aside(self.out(name), key) if self.aside else self.out(name)

    def place_of(self, name: str, made: Mapping[str, Artifact]) -> Path:
        """Where a stage's artifact is made, once those that it needs are there."""
        return self.place(name, self._key(name, self._resolve(self.stages[name], made)))

    # ---- plan ---------------------------------------------------------------------------------

    def plan(self, machine: Machine | None = None) -> list[StagePlan]:
        """For every stage, in order: would it run, and because of what, and what it takes on a machine, by default this
        one. Touches nothing."""
        plans: dict[str, StagePlan] = {}
        made: dict[str, Artifact] = {}
        forecasts: dict[str, Forecast] = {}
        machine = machine or Machine.here()
        for name, stage in self.stages.items():
            status, reasons = self._status(name, stage, plans, made)
            if status == "current":
                forecasts[name] = forecast_of(made[name])
            else:
                forecasts[name] = stage.forecast(self._input_forecasts(stage, forecasts), machine)
            plans[name] = StagePlan(name, stage.kind, self.out(name).as_posix(), status, reasons, forecasts[name])
        return list(plans.values())

    def _status(
        self, name: str, stage: Stage, plans: Mapping[str, StagePlan], made: dict[str, Artifact]
    ) -> tuple[str, list[str]]:
        waiting = [s for _, s in references(stage) if plans[s].status != "current"]
        if waiting:
            changed = self._own_changes(name, stage)
            told = [f"{s} {plans[s].status}" for s in waiting]
            finished = (self.out(name) / CARD).is_file()
            return ("may run" if finished and not changed else "will run"), changed + sorted(set(told))
        inputs = self._resolve(stage, made)
        key = self._key(name, inputs)
        found = current(self.out(name), key)
        if found is None:
            return "will run", self._why(name, stage, inputs, key)
        made[name] = found
        there = found.path == self.out(name)
        return "current", [] if there else [f"taken back from {found.path.as_posix()}"]

    def _own_changes(self, name: str, stage: Stage) -> list[str]:
        card = _old_card(self.out(name))
        return _setting_changes(card, stage, self.seed_of(name)) if card else []

    def _why(self, name: str, stage: Stage, inputs: Mapping[str, Artifact], key: str) -> list[str]:
        out, reasons = self.out(name), []
        if scratch_key(out) == key:
            reasons.append("was interrupted; continues")
        elif left := scratch_run(out):
            told = "; ".join(differences(left, run_of(stage, inputs, self.seed_of(name), key)))
            reasons.append(f"an interrupted run is kept as {out.name}.scratch@{left['key'][:8]}, since {told}")
        card = _old_card(out)
        if card is None:
            return reasons or ["not made yet"]
        reasons += _setting_changes(card, stage, self.seed_of(name))
        for place, artifact in inputs.items():
            before = card.inputs.get(place, {}).get("id")
            if before != artifact.card.id:
                verb = "is new" if before is None else "changed"
                reasons.append(f"{place} {verb} ({artifact.written(Path())})")
        reasons += [f"{place} is gone" for place in card.inputs if place not in inputs]
        return [
            *(reasons or ["settings or inputs changed"]),
            f"the finished one is set aside as {out.name}@{card.key[:8]}",
        ]

    # ---- inputs and keys ----------------------------------------------------------------------

    def _resolve(self, stage: Stage, made: Mapping[str, Artifact]) -> dict[str, Artifact]:
        found: dict[str, Artifact] = {}
        for place, given, mark in inputs_of(stage):
            path = made[given[1:]].path if given.startswith("$") else given
            found[place] = opened_input(path, mark, stage)
            if found[place].sample is not None and not stage.takes_samples:
                hint = "give the whole file; a sample is for `pretune dataset`"
                raise BadCommand(f"{stage.kind} takes no sample such as {given!r}", hint=hint)
        return found

    def _key(self, name: str, inputs: Mapping[str, Artifact]) -> str:
        return stage_key(self.stages[name], {p: a.card.id for p, a in inputs.items()}, self.seed_of(name))

    def _input_forecasts(self, stage: Stage, known: Mapping[str, Forecast]) -> dict[str, Forecast]:
        given: dict[str, Forecast] = {}
        for place, reference, mark in inputs_of(stage):
            if reference.startswith("$"):
                given[place] = known[reference[1:]]
            else:
                given[place] = forecast_of(opened_input(reference, mark, stage))
        return given


def check_tree(whole: JsonMap, main: str | None = None) -> tuple[Head | None, dict[str, Stage], list[Mistake]]:
    """The head and the stages of a recipe's tree, and every mistake in it; a stage with one is left out.

    Args:
        main: as of `Planned.build`.
    """
    head, wrong = check(Head, {k: v for k, v in whole.items() if k != "stages"})
    mistakes = [*wrong]
    given = whole.get("stages")
    if not isinstance(given, dict) or not given:
        mistakes.append(Mistake(("stages",), "a recipe needs stages", given, "missing-setting"))
        given = {}
    stages: dict[str, Stage] = {}
    for name, settings in given.items():
        stage, wrong = check_stage(name, settings, prefix=() if name == main else (name,))
        mistakes += wrong
        if stage:
            stages[name] = stage
    return head, stages, mistakes or list(bad_references(stages, main))


def opened_input(path: str | Path, mark: Input, stage: Stage) -> Artifact:
    """An input; of a folder of texts, links that lead out of it are read only where the stage says so."""
    follow = stage.follows_links() if "files" in mark.kind.split("|") else None
    return Artifact.open(path, None if mark.kind == "files" else mark.kind, follow=follow)


def forecast_of(artifact: Artifact) -> Forecast:
    """What is known of an artifact that exists, or of raw files."""
    size = sum(p.stat().st_size for p in artifact.files() if p.exists())
    metrics = artifact.card.metrics
    counted = ("documents", "tokens", "parameters", "vocab_size")
    known: Json = {name: float(metrics.get(name, 0) or 0) for name in counted}
    text = float(metrics.get("bytes", 0) or 0) or (size if artifact.card.kind == "files" else 0)
    return Forecast(disk_bytes=size, text_bytes=text, config=_config_of(artifact), **known)


def _config_of(artifact: Artifact) -> Json | None:
    if artifact.card.kind != "model":
        return None
    with suppress(OSError, ValueError):
        return json.loads((artifact.path / "config.json").read_text(encoding="utf-8"))  # type: ignore[no-any-return]
    return None


def _old_card(out: Path) -> Card | None:
    try:
        return read_card(out) if (out / CARD).is_file() else None
    except PretuneError:
        return None


def _setting_changes(card: Card, stage: Stage, seed: int) -> list[str]:
    before, now = flat_settings(card.settings), flat_settings({**complete(stage), "seed": seed})
    inputs = {place for place, _, _ in inputs_of(stage)} | set(card.inputs)
    names = [n for n in sorted({*before, *now}) if n not in inputs and before.get(n) != now.get(n)]
    changes = [f"{n} {before.get(n, 'unset')!r} -> {now.get(n, 'unset')!r}" for n in names]
    if card.version != stage.version:
        changes.append(f"version {card.version} -> {stage.version} of {stage.kind}")
    return changes


def run_of(stage: Stage, inputs: Mapping[str, Artifact], seed: int, key: str) -> Json:
    """What a run is of: its key, and what decides it in words that can be compared."""
    read = {place: f"{one.written(Path())} (id {one.card.id[:8]})" for place, one in inputs.items()}
    settings = flat_settings({**complete(stage), "seed": seed})
    deciding = flat_settings({**differing(stage), "seed": seed, "version": stage.version})
    return {"key": key, "settings": settings, "deciding": deciding, "inputs": read}


def differences(before: JsonMap, now: JsonMap) -> list[str]:
    """What decides two runs otherwise, each with both values: settings, inputs."""
    found = []
    for part, shown in (("deciding", "settings"), ("inputs", "inputs")):
        old, new = before.get(part, {}), now.get(part, {})
        for name in (n for n in sorted({*old, *new}) if old.get(n) != new.get(n)):
            values = [run.get(shown, {}).get(name, run.get(part, {}).get(name, "unset")) for run in (before, now)]
            found.append(f"{name} was {values[0]!r} and is {values[1]!r}")
    return found


def flat_settings(tree: object, place: str = "") -> Json:
    """Settings by their dotted places."""
    if isinstance(tree, dict) and tree:
        return {
            k: v
            for name, sub in tree.items()
            for k, v in flat_settings(sub, f"{place}.{name}" if place else name).items()
        }
    if isinstance(tree, list) and any(isinstance(v, dict) for v in tree):
        return {k: v for i, sub in enumerate(tree) for k, v in flat_settings(sub, f"{place}.{i}").items()}
    return {place: tree}
