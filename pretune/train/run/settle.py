"""What a run chooses by itself, settled before step 1: precision, attention, micro-batch, compiled or eager, steps.

    precision     what multiplies faster here, bfloat16 or float32 (speed.py)
    attention     by the device
    micro-batch   as many rows as suit the device, or as fit into the memory that is foretold
    compiled      runs of twenty minutes and more in a narrow type, or as asked
    steps         where minutes are given: as many as fit between what was spent by now and the last validation

The first step comes within seconds, so nothing is tried out: rules where there are rules, and where a step must be
timed, a few rows of it, for two seconds at most. What was measured is remembered per machine, so two runs of one
command take the same path; what was chosen is kept with the run and taken again on resume.
"""

from __future__ import annotations

import shutil
import time

import torch

from pretune.base.errors import NotSupported
from pretune.base.log import Log
from pretune.model.attention import NAME as BLOCKS
from pretune.model.shape import Shape
from pretune.train.forecast.forecasting import (
    MICRO_TOKENS,
    Plan,
    fitting_micro,
    free_bytes,
    refuse_if_too_large,
    rows_of_about,
)
from pretune.train.forecast.plans import pretraining_plan, recomputed_blocks
from pretune.train.loop.runtime import Runtime, give_freed_memory_back
from pretune.train.loop.steps import TrainState, take_step
from pretune.train.loop.stream import rows_of
from pretune.train.optim.float8 import has_float8
from pretune.train.run.assembly import DTYPES, Choices, Parts, mean_share, new_cut, new_model, training_state
from pretune.train.run.budget import planned_steps, steps_in
from pretune.train.run.pretrain import PretrainStage, settled_shape
from pretune.train.run.speed import QUIET, best_precision, grown, matrix_speed, narrow_gain, remembered
from pretune.train.watch.sources import VALIDATION_ROWS
from pretune.train.watch.validate import loss_over
from pretune.train.watch.watching import SHARE_OF_LOOKS

ATTENTION = {"cpu": BLOCKS}
"""How to attend, by device; elsewhere torch's own (sdpa)."""
LONG_SECONDS = 1200.0
"""From here on compiling is by rule: it costs 15 to 60 s once and wins a tenth to a third of the time (docs/LOG.md)."""
COMPILE_SECONDS, COMPILE_GAIN = 60.0, 1.09
"""What compiling is reckoned to cost and to win in a budget of minutes; 1.08 to 1.37 were measured (docs/LOG.md)."""
AGAIN_SECONDS = 6.0
"""Compiling once more what a trial has just compiled: a third of the usual 17 s (docs/LOG.md)."""
LAST_SECONDS = 2.0
"""Saving the model and drawing its page."""


def settle(parts: Parts, *, num_tokens: int, log: Log, started: float | None = None) -> Choices:
    """The choices of a pretraining run over `num_tokens` tokens of text.

    Args:
        started: when the stage began (time.monotonic), from which `minutes` count.
    """
    stage, runtime = parts.stage, parts.runtime
    started = time.monotonic() if started is None else started
    if stage.compile == "yes" and not has_compiler():
        hint = "install g++ or clang, or leave compile=auto"
        raise NotSupported("compile=yes needs a C++ compiler, and none is on the path", hint=hint)
    precision = settled_precision(stage.precision, runtime.device, log)
    flops = usual_speed(precision, runtime.device, log)
    shape = settled_shape(stage, tokens=num_tokens, vocab_size=parts.vocabulary.size, flops=flops)
    choices: Choices = {"precision": precision, "shape": shape.model_dump(mode="json"), "compile": False}
    choices["attention"] = ATTENTION.get(runtime.device.type, "sdpa")
    choices |= _fitting(parts, shape, choices, log)
    seconds = look = 0.0
    if stage.minutes is not None or stage.optim.warms_by_time:
        seconds, look = _seconds(parts, shape, choices, log)
    eager = _steps(parts, seconds, look, started)
    choices["compile"] = compiles(stage, eager, seconds or _reckoned(parts, shape, flops), precision, log)
    steps = eager
    if choices["compile"]:  # by rule it was not tried; as asked it was, and `seconds` are those of compiled steps
        was_tried = stage.compile == "yes"
        seconds /= 1.0 if was_tried else COMPILE_GAIN
        steps = _steps(parts, seconds, look, started - (AGAIN_SECONDS if was_tried else COMPILE_SECONDS))
    warmup = stage.optim.warmup_steps(tokens_per_step=stage.batch * stage.length, seconds_per_step=seconds)
    return choices | {"steps": steps, "seconds_per_step": seconds, "warmup": warmup}


def usual_speed(precision: str, device: torch.device, log: Log = QUIET) -> float:
    """Operations per second that training is reckoned with before anything was built: a third of the product."""
    return matrix_speed(DTYPES[precision], device, log) * 0.35


def settled_precision(asked: str, device: torch.device, log: Log) -> str:
    """The precision that is meant; a line is logged where the one asked for is slow here.

    Raises:
        NotSupported: the device cannot compute in it.
    """
    if device.type == "mps":
        log.warn("device=mps: torch trains here in float32; pretune was not tested on such a machine")
    if asked == "auto":
        return best_precision(device, log)
    if asked == "float8" and not has_float8(device):
        raise NotSupported(
            "precision=float8 needs a GPU that multiplies 8-bit floats (compute capability 8.9 or more)",
            hint="precision=auto takes what is fastest here",
        )
    if asked != "bfloat16":
        return asked
    if device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise NotSupported("this GPU does not compute in bfloat16", hint="precision=float32, or auto")
    if device.type == "cpu" and (gain := narrow_gain(device, log)) < 0.9:
        slow = (
            f"its matrix product has {gain:.0%} of the speed of float32"
            if gain
            else "the processor has no such product"
        )
        log.warn(
            f"precision=bfloat16 is slow here: {slow}; bfloat16 is used as asked, precision=auto would take float32"
        )
    return asked


# ---- micro-batch and what is computed again -----------------------------------------------------


def _fitting(parts: Parts, shape: Shape, choices: Choices, log: Log) -> Choices:
    """micro_batch and recomputed: what suits the device, or what fits into the memory that is free.

    Raises:
        DoesNotFit: one row is foretold to need more.
    """
    stage, device = parts.stage, parts.runtime.device
    with log.timing("forecast"):
        room = free_bytes(device)
        again = recomputed_blocks(stage, shape, parts.vocabulary.size, choices, device, room)
        if again:
            give_freed_memory_back()
        if stage.micro_batch is not None:
            return {"recomputed": again, "micro_batch": min(stage.micro_batch, stage.batch)}
        plan = _plan(parts, shape, {**choices, "recomputed": again})
        micro = fitting_micro(plan, rows_of_about(MICRO_TOKENS[device.type], stage.length, stage.batch), room)
        if stage.optim.offload == "none":  # else it holds less than is foretold
            refuse_if_too_large(plan, micro, room)
    return {"recomputed": again, "micro_batch": micro}


def _plan(parts: Parts, shape: Shape, choices: Choices) -> Plan:
    return pretraining_plan(parts.stage, shape, parts.vocabulary.size, choices, parts.runtime.device)


# ---- seconds and steps --------------------------------------------------------------------------


def _seconds(parts: Parts, shape: Shape, choices: Choices, log: Log) -> tuple[float, float]:
    """Seconds of a step, and of looking at a validation row in float32; on a throw-away model, remembered."""
    stage, micro = parts.stage, int(choices["micro_batch"])
    trial = {**choices, "steps": 1000, "compile": stage.compile == "yes"}
    title = "compiling this model's step, and timing it" if trial["compile"] else "a few rows of this model's step"

    def measure() -> list[float]:
        alone = Runtime(parts.runtime.device)  # ranks need not agree on how many sizes they try
        state = training_state(new_model(parts, shape, choices["attention"]), stage, trial, alone)

        def step(rows: int) -> float:
            batch = new_cut(parts, rows).batches(0)[0]
            return take_step(state, stage.objective, [batch], alone).seconds

        # Compiled code is made for one shape, in its first step.
        times = {micro: min(step(micro), step(micro))} if trial["compile"] else grown(step, micro)
        return [of_a_step(times, stage.batch), _look(parts, state)]

    seconds, look = remembered(f"seconds {_mark(parts, trial)}", measure, log, title)
    return float(seconds), float(look)


def of_a_step(times: dict[int, float], batch: int) -> float:
    """Seconds of a step of `batch` rows, from those of steps of a few: what rows cost, and what the optimizer costs."""
    few, more = min(times), max(times)
    row = (times[more] - times[few]) / (more - few) if more > few else times[more] / more
    row = min(max(row, 0.0), times[more] / more)
    return times[more] + (batch - more) * row


def _look(parts: Parts, state: TrainState) -> float:
    """Seconds of a row's loss in float32, as the last validation takes it."""
    vocabulary, objective = parts.vocabulary, parts.stage.objective
    rows = rows_of(parts.rows.sample(4))

    def look(number: int) -> float:
        started = time.perf_counter()
        loss_over(state.model, objective, rows[:number], vocabulary, parts.runtime, batch=number)
        return time.perf_counter() - started

    with state.update.exact_weights():
        times = grown(look, len(rows))
    return times[max(times)] / max(times)


def _steps(parts: Parts, seconds: float, look: float, started: float) -> int:
    """Steps that the budget buys; of minutes, those that are left."""
    stage, share = parts.stage, mean_share(parts.stage)
    if stage.minutes is not None:
        spent = time.monotonic() - started + 2 * VALIDATION_ROWS * look + LAST_SECONDS
        return steps_in(stage.minutes * 60 - spent, seconds * share * (1 + SHARE_OF_LOOKS))
    return planned_steps(stage, rows=len(parts.rows), batch=stage.batch * share, tokens_per_row=stage.length)


def _mark(parts: Parts, choices: Choices) -> str:
    """What the speed of a step depends on, but for the machine."""
    stage = parts.stage
    optim = stage.optim.kind, stage.optim.moments, stage.optim.offload
    kinds = *optim, stage.objective.kind, parts.runtime.device.type
    sizes = stage.batch, stage.length, parts.vocabulary.size, choices["micro_batch"]
    return f"{choices['shape']} {sizes} {choices['precision']} {kinds} {choices['recomputed']} {choices['compile']}"


# ---- compiled or eager --------------------------------------------------------------------------


def compiles(stage: PretrainStage, steps: int, seconds: float, precision: str, log: Log) -> bool:
    """Whether the blocks are compiled: as asked, or where the run is long and its type narrow.

    In float32 the products take nearly all of a step, and compiling wins nothing (docs/LOG.md).
    """
    if stage.compile != "auto":
        return stage.compile == "yes"
    if precision == "float32" or steps * seconds < LONG_SECONDS:
        return False
    if not has_compiler():
        log.info("    no C++ compiler is on the path: the steps stay eager")
    return has_compiler()


def _reckoned(parts: Parts, shape: Shape, flops: float) -> float:
    """Seconds of a step that nobody has timed, at the usual share of the matrix product."""
    stage = parts.stage
    return stage.batch * stage.length * shape.layout().flops_per_token(parts.vocabulary.size, stage.length) / flops


def has_compiler() -> bool:
    """Is there a C++ compiler, which compiling on a CPU needs (and triton's launchers on a GPU)?"""
    return any(shutil.which(name) for name in ("c++", "g++", "clang++", "cl"))
