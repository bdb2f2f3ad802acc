"""The forecasts of stage pretrain: the step that its settings describe, before there are tokens or a model."""

from __future__ import annotations

from typing import Any

from pretune.base.log import Log
from pretune.base.stage import Forecast, Machine
from pretune.model.folder import quiet_transformers
from pretune.model.shape import Shape
from pretune.train.assembly import mean_share
from pretune.train.budget import planned_steps
from pretune.train.forecasting import candidates, run_bytes, step_seconds
from pretune.train.plans import SPECIALS, pretraining_plan, recomputed_blocks
from pretune.train.pretrain import PretrainStage, settled_shape
from pretune.train.probe import machine_probe
from pretune.train.runtime import device_of
from pretune.train.settle import (
    ATTENTIONS,
    COMPILE_GAIN,
    compile_seconds,
    has_compiler,
    settled_precision,
    usual_speed,
    worth_trying,
)


def foretell_pretraining(
    stage: PretrainStage, *, tokens: float, vocab_size: int, machine: Machine, timed: bool = True
) -> Forecast:
    """Seconds, bytes of memory and disk, and the model that comes out.

    Args:
        tokens: of the training split.
        timed: whether operations are timed; False leaves `seconds` 0.
    """
    quiet_transformers()
    device = device_of(stage.device)
    precision = settled_precision(stage.precision, device, Log(quiet=True))
    flops = usual_speed(precision, device)
    shape = settled_shape(stage, tokens=int(tokens), vocab_size=vocab_size, flops=flops)
    choices: dict[str, Any] = {"precision": precision, "attention": ATTENTIONS[device.type][0]}
    room = machine.free_memory_bytes - machine_probe()["process_bytes"]
    choices["recomputed"] = recomputed_blocks(stage, shape, vocab_size, choices, device, room)
    plan = pretraining_plan(stage, shape, vocab_size, choices, device)
    micro = min(stage.micro_batch, stage.batch) if stage.micro_batch else candidates(plan, room)[-1]
    memory = run_bytes(plan, micro)
    per_step = step_seconds(plan, micro) if timed and memory < machine.memory_bytes else 0.0
    steps, seconds = _steps_and_seconds(stage, tokens, per_step)
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


def _steps_and_seconds(stage: PretrainStage, tokens: float, per_step: float) -> tuple[int, float]:
    rows = max(1, int(tokens / stage.length))
    share = mean_share(stage)
    per_step *= share
    steps = planned_steps(
        stage, rows=rows, batch=stage.batch * share, tokens_per_row=stage.length, seconds_per_step=max(per_step, 1e-3)
    )
    if stage.minutes is not None:
        return steps, stage.minutes * 60
    if per_step and _will_compile(stage, steps * per_step):
        return steps, steps * per_step / COMPILE_GAIN + compile_seconds()
    return steps, steps * per_step


def _will_compile(stage: PretrainStage, eager_seconds: float) -> bool:
    return stage.compile == "yes" or (stage.compile == "auto" and has_compiler() and worth_trying(eager_seconds))


def _config(stage: PretrainStage, shape: Shape, vocab_size: int) -> dict[str, Any]:
    """The transformers config of the model, for the forecast of what is made from it."""
    settings = shape.config(vocab_size=vocab_size, max_length=max(stage.length, 512), specials=SPECIALS)
    return {"model_type": shape.family, **settings}
