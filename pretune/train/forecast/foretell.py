"""The forecasts of stage pretrain: the step that its settings describe, before there are tokens or a model."""

from __future__ import annotations

from typing import Any

from pretune.base.log import Log
from pretune.base.stage import Forecast, Machine
from pretune.model.folder import quiet_transformers
from pretune.model.shape import Shape
from pretune.train.forecast.forecasting import (
    MICRO_TOKENS,
    PROCESS_BYTES,
    fitting_micro,
    rows_of_about,
    run_bytes,
    step_seconds,
)
from pretune.train.forecast.plans import SPECIALS, pretraining_plan, recomputed_blocks
from pretune.train.loop.runtime import device_of
from pretune.train.run.assembly import mean_share
from pretune.train.run.budget import planned_steps, steps_in
from pretune.train.run.pretrain import PretrainStage, settled_shape
from pretune.train.run.settle import ATTENTION, COMPILE_GAIN, COMPILE_SECONDS, compiles, settled_precision, usual_speed


def foretell_pretraining(
    stage: PretrainStage, *, tokens: float, vocab_size: int, machine: Machine, timed: bool = True
) -> Forecast:
    """Seconds, bytes of memory and disk, and the model that comes out.

    Args:
        tokens: of the training split.
        timed: whether seconds are told, for which a small step is timed once on a machine; False leaves them 0.
    """
    quiet_transformers()
    device = device_of(stage.device)
    precision = settled_precision(stage.precision, device, Log(quiet=True))
    flops = usual_speed(precision, device)
    shape = settled_shape(stage, tokens=int(tokens), vocab_size=vocab_size, flops=flops)
    choices: dict[str, Any] = {"precision": precision, "attention": ATTENTION.get(device.type, "sdpa")}
    room = machine.free_memory_bytes - PROCESS_BYTES
    choices["recomputed"] = recomputed_blocks(stage, shape, vocab_size, choices, device, room)
    plan = pretraining_plan(stage, shape, vocab_size, choices, device)
    usual = rows_of_about(MICRO_TOKENS[device.type], stage.length, stage.batch)
    micro = min(stage.micro_batch or fitting_micro(plan, usual, room), stage.batch)
    memory = run_bytes(plan, micro)
    per_step = step_seconds(plan, micro, precision) if timed and memory < machine.memory_bytes else 0.0
    steps, seconds = _steps_and_seconds(stage, tokens, per_step, precision)
    parameters = shape.layout().parameters(vocab_size, stage.length)
    return Forecast(
        seconds=seconds,
        memory_bytes=memory,
        disk_bytes=4.0 * parameters + 2 * 12.0 * parameters,
        tokens=steps * stage.batch * mean_share(stage) * stage.length,
        parameters=parameters,
        vocab_size=vocab_size,
        config=_config(stage, shape, vocab_size),
    )


def _steps_and_seconds(stage: PretrainStage, tokens: float, per_step: float, precision: str) -> tuple[int, float]:
    share = mean_share(stage)
    per_step *= share
    if stage.minutes is not None:
        return steps_in(stage.minutes * 60, per_step), stage.minutes * 60
    rows = max(1, int(tokens / stage.length))
    steps = planned_steps(stage, rows=rows, batch=stage.batch * share, tokens_per_row=stage.length)
    if compiles(stage, steps, per_step, precision, Log(quiet=True)):
        return steps, steps * per_step / COMPILE_GAIN + COMPILE_SECONDS
    return steps, steps * per_step


def _config(stage: PretrainStage, shape: Shape, vocab_size: int) -> dict[str, Any]:
    """The transformers config of the model, for the forecast of what is made from it."""
    settings = shape.config(vocab_size=vocab_size, max_length=max(stage.length, 512), specials=SPECIALS)
    return {"model_type": shape.family, **settings}
