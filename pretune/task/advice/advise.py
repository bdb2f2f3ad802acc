"""`pretune advise DATA`: which task the data is, which model and method, what it takes here, and the command to type.

    task      by the shape of the data, as `pretune new` decides it
    model     the one that is given; else the largest that is near, suits the task and fits
    method    of the measured set that is nearest (measured.py): among those within a point of the best the quickest,
              as long as it can adapt this model, fits into memory and into `minutes`
    command   built and forecast here as `pretune plan` does it, so it runs

Text without labels is for pretraining. Where no figure stands behind advice, it says so.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pretune.base.artifact import SAMPLED, Artifact
from pretune.base.errors import PretuneError, UserError
from pretune.base.json import Json
from pretune.base.oneline import stage_recipe
from pretune.base.stage import STAGE, Forecast, Machine, Stage
from pretune.base.yaml import override
from pretune.model.families import num_positions
from pretune.task.advice.measured import Measured, Way, how_far, nearest, table
from pretune.task.advice.models import Candidate, candidate, candidates, is_model, usual
from pretune.task.advice.seen import Seen, look
from pretune.task.task import TASK, Task, task_for
from pretune.text.dataset.recognised import recognised
from pretune.tokens.store.truncation import estimated, suggested

CUT = 0.05
"""Share of texts cut at the usual length from which a longer one is advised."""
TRIED = 8
"""Methods of which it is asked what they take here."""
PATIENCE = 3600.0
"""Seconds that training may take for a size to be advised where no model is there."""
PLACEHOLDER = "PATH/TO/MODEL"
PRETRAIN_MINUTES = 10.0


@dataclass(frozen=True)
class Asked:
    """What was typed: data, model (None: look for one), minutes (None: any), settings of stage dataset."""

    data: str
    model: str | None = None
    minutes: float | None = None
    settings: tuple[str, ...] = ()

    @property
    def out(self) -> str:
        """Where the command writes."""
        plain = SAMPLED.sub(r"\1", self.data)
        return f"runs/{Path(plain.rpartition(':')[2]).stem or 'tuned'}"

    def fits(self, told: Forecast) -> bool:
        """Into this machine's memory, and into the minutes."""
        in_time = self.minutes is None or told.seconds <= 60 * self.minutes
        return told.memory_bytes <= Machine.here().memory_bytes and in_time


@dataclass(frozen=True)
class Case:
    """What is known before a method is chosen.

    Args:
        row: the measured set that is nearest.
        lengths: tokens of some of the texts.
        model: None where none is there; `base` is then one of a usual size.
    """

    asked: Asked
    task: Task
    seen: Seen
    row: Measured | None
    model: Candidate | None
    base: Forecast

    @property
    def lengths(self) -> Sequence[int]:
        return self.model.lengths if self.model else [estimated(text) for text in self.seen.texts]


@dataclass(frozen=True)
class Chosen:
    """A method, what it takes here, and the command.

    Args:
        way: None where nothing is measured.
        passed: methods that come before it, and why they were passed by.
    """

    way: Way | None
    forecast: Forecast
    command: str
    passed: tuple[str, ...] = ()


def advise(asked: Asked) -> Json:
    """Advice as plain JSON; words.py says it.

    Raises:
        UserError: the data or the model cannot be read; NotSupported: no task learns from such data.
    """
    found = seen_as(asked)
    if found is None:
        return _of_text(asked)
    seen, task = found
    row = nearest(table(), task, examples=max(1, seen.examples), language=seen.language)
    model, others = _model(asked, task, seen)
    sizes = [] if model else [(name, base, _forecast(asked, task, seen, base)) for name, base in usual(task)]
    base = (
        model.known
        if model
        else [sizes[0][1], *(base for _, base, told in sizes if asked.fits(told) and told.seconds <= PATIENCE)][-1]
    )
    case = Case(asked, task, seen, row, model, base)
    chosen = _method(case)
    return {
        "data": {"given": asked.data, **seen.fact()},
        "task": task.kind,
        "model": model.fact() if model else None,
        "other_models": [{"path": one.path, "why_not": one.why_not} for one in others if one is not model],
        "sizes": [
            {"name": name, "parameters": int(base.parameters), "fits": asked.fits(told), **_takes(told)}
            for name, base, told in sizes
        ],
        "method": _method_fact(case, chosen),
        "takes": _takes(chosen.forecast),
        "machine": asdict(Machine.here()),
        "command": chosen.command,
    }


def seen_as(asked: Asked) -> tuple[Seen, Task] | None:
    """The data and the task that learns from it; None for text. Raises what `advise` does."""
    artifact = Artifact.open(asked.data, "files|corpus|dataset")
    if artifact.card.kind != "dataset" and not asked.settings and not recognised(artifact).shape:
        return None
    seen = look(artifact, asked.settings)
    kind = task_for(seen.shape, seen.read_as)
    assert kind is not None, "a dataset has a shape"
    return seen, TASK(kind)


# ---- the model ----------------------------------------------------------------------------------


def _model(asked: Asked, task: Task, seen: Seen) -> tuple[Candidate | None, list[Candidate]]:
    """The model to take, None if none is there, and all that were seen."""
    if asked.model is not None and is_model(Path(asked.model)):
        given = candidate(asked.model, task, seen.texts)
        return given, [given]
    data = Path(asked.data)
    places = [Path(), Path(".."), *data.parents][:5] if asked.model is None else [Path(asked.model)]
    found = candidates(places, task, seen.texts)
    if asked.model is not None and not found:
        hint = "give the folder of a model (config.json, model.safetensors, tokenizer.json), or one that holds such"
        raise UserError(f"there is no model in {asked.model!r}", hint=hint)
    suiting = [one for one in found if not one.why_not]
    fitting = [one for one in suiting if asked.fits(_forecast(asked, task, seen, one.known))]
    return next(iter([*fitting, *suiting[-1:]]), None), found


def _forecast(asked: Asked, task: Task, seen: Seen, base: Forecast) -> Forecast:
    """What it takes to fine-tune all of a base."""
    return _told(Case(asked, task, seen, None, None, base), _stage(asked, [f"task={task.kind}"]))


def _stage(asked: Asked, words: Sequence[str]) -> Stage:
    """Stage finetune with a model that is not there."""
    tree: Json = {"kind": "finetune", "model": PLACEHOLDER, "data": asked.data}
    for word in words:
        override(tree, word)
    return STAGE(tree)


def _told(case: Case, stage: Stage) -> Forecast:
    """What the stage takes here, of the training split that was seen."""
    examples = max(1, case.seen.examples)
    each = sum(case.lengths) / max(1, len(case.lengths)) + 2  # with the special tokens round them
    data = Forecast(documents=examples, tokens=examples * each)
    return stage.forecast({"model": case.base, "data": data}, Machine.here())


# ---- the method ---------------------------------------------------------------------------------


def _method(case: Case) -> Chosen:
    """The first method, in the order of the measured set, that can be taken; else the quickest, cut short."""
    row, asked, passed, slow = case.row, case.asked, list[str](), list[Chosen]()
    for way in (*row.ranked()[:TRIED], None) if row else (None,):
        name = way.name if way else "full"
        try:
            found = replace(_tried(case, _settings(case, way)), way=way, passed=tuple(passed))
        except PretuneError as error:
            passed.append(f"{name}: {error.problem}")
            continue
        if asked.fits(found.forecast):
            return found
        passed.append(f"{name}: takes too long or too much memory here")
        slow += [found] if found.forecast.memory_bytes <= Machine.here().memory_bytes else []
    if not slow:
        hint = "take a smaller model; without --model it is said which size fits"
        raise UserError(f"no method fits: {'; '.join(passed)}", hint=hint)
    way = min(slow, key=lambda one: one.forecast.seconds).way
    cut = _tried(case, [*_settings(case, way), f"minutes={asked.minutes:g}"])
    return replace(cut, way=way, passed=tuple(passed))


def _settings(case: Case, way: Way | None) -> list[str]:
    """What was measured is what is typed; of another task the method alone."""
    if way is None or case.row is None:
        return []
    return [*way.settings, *(case.row.settings if case.row.task == case.task.kind else [])]


def _tried(case: Case, settings: Sequence[str]) -> Chosen:
    """A command with what it takes; raises what building it or its forecast does."""
    asked = case.asked
    length = None if any(one.startswith("max_length=") for one in settings) else _length(case)
    words = [f"task={case.task.kind}", *settings, *([f"max_length={length}"] if length else [])]
    of_data = [one if one.startswith("dataset.") else f"dataset.{one}" for one in asked.settings]
    given = [case.model.path if case.model else PLACEHOLDER, asked.data]
    command = shlex.join(["pretune", "finetune", *given, "--out", asked.out, *words, *of_data])
    if case.model:
        stage = stage_recipe("finetune", [*given, *words, *of_data], asked.out)[0].stages["finetune"]
    else:
        stage = _stage(asked, words)
    return Chosen(None, _told(case, stage), command)


def _length(case: Case) -> int | None:
    """max_length, where the usual one would cut more than a few texts and the model reads longer ones."""
    usual_length = int(STAGE.find("finetune").model_fields["max_length"].default)
    cut = sum(length + 2 > usual_length for length in case.lengths)
    if cut <= CUT * len(case.lengths):
        return None
    wanted = suggested(case.lengths)
    found = min(wanted, num_positions(case.base.config or {}) or wanted)
    return found if found > usual_length else None


# ---- facts --------------------------------------------------------------------------------------


def _takes(told: Forecast) -> Json:
    return {"seconds": round(told.seconds, 1), "memory_bytes": int(told.memory_bytes)}


def _method_fact(case: Case, chosen: Chosen) -> Json:
    row, way = case.row, chosen.way
    name = way.name if way else "full"
    if row is None or way is None:
        return {"name": name, "passed": list(chosen.passed), "rests_on": None}
    where = Path(case.model.path).resolve().name if case.model else None
    of_row = row.model_dump(include={"data", "model", "processor", "figure"})
    of_way = way.model_dump(include={"seconds", "memory_bytes", "trained_parameters", "forgotten"})
    best, simplest = min(row.ways, key=row.behind), row.simplest()
    told = {
        **of_row,
        **of_way,
        "value": round(way.value, 4),
        "best": {"name": best.name, "value": round(best.value, 4), "seconds": best.seconds},
        "simplest": None if simplest is None else {"name": simplest[0], "value": simplest[1]},
        "how_far": how_far(
            row, case.task, examples=max(1, case.seen.examples), language=case.seen.language, model=where
        ),
    }
    return {"name": name, "passed": list(chosen.passed), "rests_on": told}


# ---- text ---------------------------------------------------------------------------------------


def _of_text(asked: Asked) -> Json:
    """Text: a model of its own, in as many minutes as are given, or one that learns on."""
    minutes = asked.minutes or PRETRAIN_MINUTES
    words = [f"minutes={minutes:g}", *([f"base={asked.model}"] if asked.model else [])]
    plans = stage_recipe("pretrain", [asked.data, *words], asked.out)[0].plan()
    told = Forecast(
        seconds=sum(one.forecast.seconds for one in plans),
        memory_bytes=max(one.forecast.memory_bytes for one in plans),
    )
    return {
        "data": {"given": asked.data, "shape": None},
        "task": None,
        "parameters": int(plans[-1].forecast.parameters),
        "takes": _takes(told),
        "machine": asdict(Machine.here()),
        "command": shlex.join(["pretune", "pretrain", asked.data, "--out", asked.out, *words]),
    }
