"""What a run chooses by itself, resolved before step 1: precision, micro-batch, compiled or eager, steps.

The first step comes within seconds, so nothing is tried out: rules where there are rules (forecast/choosing.py), and
where a step must be timed, a few rows of it: for two seconds, or a few hundredths of `minutes`. What was measured is
remembered per machine, so two runs of one command take the same path; what was chosen is kept with the run and taken
again on resume.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from pretune.base.digest import digest
from pretune.base.errors import NotSupported
from pretune.base.log import Log
from pretune.train.budget import steps_in
from pretune.train.forecast.choosing import (
    COMPILE_GAIN,
    COMPILE_SECONDS,
    compiles,
    has_compiler,
    resolved_precision,
    usual_speed,
)
from pretune.train.forecast.forecast import fitting, plan_of, steps_planned
from pretune.train.forecast.plan import free_bytes, refuse_if_too_large
from pretune.train.forecast.speed import PATIENCE, grown, remembered
from pretune.train.loop.private import take_private_step, trial_of
from pretune.train.loop.runtime import Runtime, give_freed_memory_back
from pretune.train.loop.spec import Choices, TrainSpec
from pretune.train.loop.state import as_precise, training_state
from pretune.train.loop.step import TrainState, take_step
from pretune.train.loop.stream import MicroBatches
from pretune.train.watch.validate import loss_over

Rows = TypeVar("Rows", int, float)
AGAIN_SECONDS = 6.0
"""Compiling once more what a trial has just compiled: a third of the usual 17 s (docs/LOG.md)."""
MOST_PATIENCE = 5.0
"""Seconds of one timed step, however long the run."""
LAST_SECONDS = 2.0
"""Saving the model and drawing its page."""


def resolve(spec: TrainSpec, log: Log, started: float | None = None) -> Choices:
    """The choices of a run.

    Args:
        started: when the stage began (time.monotonic), from which `minutes` count.
    """
    settings, started = spec.settings, time.monotonic() if started is None else started
    if spec.compile == "yes" and not has_compiler():
        hint = "install g++ or clang, or leave compile=auto"
        raise NotSupported("compile=yes needs a C++ compiler, and none is on the path", hint=hint)
    precision = resolved_precision(settings.precision, spec.device, log)
    choices: Choices = {"precision": precision, "compile": False}
    choices |= {"attention": spec.attention} if spec.attention else {}
    choices |= _fitting(spec, precision, log)
    seconds = look = 0.0
    if settings.minutes is not None or settings.optim.warms_by_time:
        seconds, look = _seconds(spec, choices, log)
    steps = _steps(spec, seconds, look, started)
    if compiles(spec.compile, steps * (seconds or _reckoned(spec, precision, log)), precision, log):
        choices["compile"] = True
        was_tried = spec.compile == "yes"  # by rule it was not; as asked, `seconds` are those of compiled steps
        seconds /= 1.0 if was_tried else COMPILE_GAIN
        steps = _steps(spec, seconds, look, started - (AGAIN_SECONDS if was_tried else COMPILE_SECONDS))
    warmup = settings.optim.warmup_steps(tokens_per_step=spec.tokens_per_step, seconds_per_step=seconds)
    rate = settings.optim.resolved(rate=spec.usual_rate).rate
    return choices | {"steps": steps, "seconds_per_step": seconds, "warmup": warmup, "learning_rate": rate}


def _fitting(spec: TrainSpec, precision: str, log: Log) -> Choices:
    """micro_batch and checkpointed: what suits the device, or what fits into the memory that is free.

    Raises:
        DoesNotFit: one row is forecast to need more.
    """
    settings, room = spec.settings, free_bytes(spec.device)
    with log.timing("forecast"):
        again, micro = fitting(spec, precision, room)
        if settings.micro_batch is None and settings.optim.offload == "none":  # else it holds less than the forecast
            refuse_if_too_large(plan_of(spec, precision, again), micro, room)
    if again:
        give_freed_memory_back()
    return {"checkpointed": again, "micro_batch": micro}


# ---- seconds and steps --------------------------------------------------------------------------


def _seconds(spec: TrainSpec, choices: Choices, log: Log) -> tuple[float, float]:
    """Seconds of a step, and of looking at a validation row in float32; on a throw-away model, remembered."""
    trial = {**choices, "steps": 1000, "compile": spec.compile == "yes"}
    title = "compiling this model's step, and timing it" if trial["compile"] else "a few rows of this model's step"
    seconds, look = remembered(mark(spec, trial), lambda: _measured(spec, trial), log, title)
    return float(seconds), float(look)


def _measured(spec: TrainSpec, trial: Choices) -> list[float]:
    assert spec.make is not None and spec.stream is not None, "only a run with data is measured"
    micro, alone = int(trial["micro_batch"]), Runtime(spec.device)  # ranks need not agree on how many sizes they try
    state = training_state(spec, as_precise(spec.make(), trial["precision"]), trial, alone)
    state.mechanism = trial_of(spec)
    if state.mechanism is not None:
        return [of_a_step(_private_seconds(spec, state), spec.settings.batch), _look(spec, state)]
    whole = MicroBatches(spec.stream, spec.objective, spec.vocabulary, spec.seed, micro)

    first = spec.stream.rows(0)

    def step(rows: int) -> float:
        """As if its rows had the usual length: by the rows as they are, for of a text that is parted less is read."""
        batch = replace(whole, micro=rows).batches(0)[0]
        tokens = max(len(row["ids"]) for row in first[:rows])
        return take_step(state, spec.objective, [batch], alone).seconds * spec.tokens_per_row / tokens

    # Compiled code is made for one shape, in its first step.
    times = {micro: min(step(micro), step(micro))} if trial["compile"] else grown(step, micro, patience(spec))
    return [of_a_step(times, spec.settings.batch), _look(spec, state)]


def _private_seconds(spec: TrainSpec, state: TrainState) -> dict[float, float]:
    """Seconds of private steps, by how many rows of the usual length they read: each row passes alone, and the noise
    is drawn once a step."""
    assert spec.stream is not None
    lengths = [len(row["ids"]) for row in spec.stream.rows(0)]
    rows = MicroBatches(spec.stream, spec.objective, spec.vocabulary, spec.seed, 1).batches(0)

    def step(number: int) -> float:
        return take_private_step(state, spec.objective, rows[:number], Runtime(spec.device)).seconds

    times = grown(step, len(rows), patience(spec))
    return {sum(lengths[:number]) / spec.tokens_per_row: seconds for number, seconds in times.items()}


def patience(spec: TrainSpec) -> float:
    """Seconds that a timed step may take: a hundredth of the run where its length hangs on it.

    Half a second tells of a slow machine what one row costs, and not what of that every step costs, whatever its rows:
    fifteen minutes of Muon on an old processor ended after four.
    """
    return max(PATIENCE, min(MOST_PATIENCE, (spec.settings.minutes or 0.0) * 60 / 100))


def of_a_step(times: Mapping[Rows, float], batch: int) -> float:
    """Seconds of a step of `batch` rows, from those of steps of a few: what rows cost, and what the optimizer costs."""
    few, more = min(times), max(times)
    row = (times[more] - times[few]) / (more - few) if more > few else times[more] / more
    row = min(max(row, 0.0), times[more] / more)
    return times[more] + (batch - more) * row


def _look(spec: TrainSpec, state: TrainState) -> float:
    """Seconds of a row's loss in float32, as the last validation takes it."""
    assert spec.stream is not None
    rows = spec.stream.rows(0)[:4]

    def look(number: int) -> float:
        started = time.perf_counter()
        loss_over(state.model, spec.objective, rows[:number], spec.vocabulary, Runtime(spec.device), batch=number)
        return time.perf_counter() - started

    with state.update.exact_weights():
        times = grown(look, len(rows))
    return times[max(times)] / max(times)


def _steps(spec: TrainSpec, seconds: float, look: float, started: float) -> int:
    """Steps that the budget buys; of minutes, those that are left."""
    if spec.settings.minutes is None:
        return steps_planned(spec)
    spent = time.monotonic() - started + spec.looks.last * look + LAST_SECONDS
    share = spec.batch / spec.settings.batch
    per_step = seconds * share * (1 + spec.looks.share) + spec.looks.between * look
    return steps_in(spec.settings.minutes * 60 - spent, per_step)


def _reckoned(spec: TrainSpec, precision: str, log: Log) -> float:
    """Seconds of a step that nobody has timed, at the usual share of the matrix product."""
    return spec.tokens_per_step * spec.flops_per_token / usual_speed(precision, spec.device, log)


def mark(spec: TrainSpec, choices: Choices) -> str:
    """What the speed of a step depends on, but for the machine."""
    settings = spec.settings
    how = [choices[name] for name in ("precision", "checkpointed", "micro_batch", "compile")]
    kinds = [part.model_dump(mode="json") for part in (settings.optim, spec.objective)]
    what = "seconds" if settings.optim.private is None else "seconds of a private step"
    return f"{what} {digest([spec.known_by, settings.batch, round(spec.tokens_per_row), *kinds, *how])}"
