"""The forecasts of stage pretrain: the step that its settings describe, before there are tokens or a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from pretune.base.stage import Forecast, Machine
from pretune.model.build import build_model
from pretune.model.folder import quiet_transformers
from pretune.model.shape import Shape
from pretune.objective.base import Vocabulary
from pretune.tokens.tokenizer import Specials
from pretune.train.budget import planned_steps
from pretune.train.forecasting import CPU, Plan, candidates, recomputed, run_bytes, step_seconds
from pretune.train.pretrain import PretrainStage, settled_shape
from pretune.train.pretraining import (
    COMPILE_GAIN,
    COMPILE_SECONDS,
    DTYPES,
    attention_for,
    compiling_pays,
    mean_share,
    precision_for,
    training_state,
)
from pretune.train.probe import machine_probe
from pretune.train.rehearsal import weightless
from pretune.train.runtime import Runtime, matrix_speed

SPECIALS = Specials(bos=None, eos=2, pad=0, unk=None, cls=2, sep=2, mask=1)
"""Of a tokenizer that is not made yet."""


def foretell_pretraining(
    stage: PretrainStage, *, tokens: float, vocab_size: int, machine: Machine, timed: bool = True
) -> Forecast:
    """Seconds, bytes of memory and disk, and the model that comes out.

    Args:
        tokens: of the training split.
        timed: whether operations are timed; False leaves `seconds` 0.
    """
    quiet_transformers()
    device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if stage.device == "auto" else stage.device)
    precision = precision_for(stage, device)
    flops = matrix_speed(DTYPES[precision], device) * 0.35
    shape = settled_shape(stage, tokens=int(tokens), vocab_size=vocab_size, flops=flops)
    choices: dict[str, Any] = {"precision": precision, "attention": attention_for(stage, device)}
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


def pretraining_plan(
    stage: PretrainStage, shape: Shape, vocab_size: int, choices: Mapping[str, Any], device: torch.device = CPU
) -> Plan:
    """The step of a model of this shape, with random weights."""
    length = max(stage.length, 512)
    stage = stage.model_copy(update={"optim": stage.optim.model_copy(update={"offload": "none"})})
    choices = {"compile": False, **choices, "steps": 1000}

    def make() -> Any:
        return build_model(
            shape, vocab_size=vocab_size, max_length=length, specials=SPECIALS, seed=0, attention=choices["attention"]
        )

    def build() -> Any:
        model = weightless(make, device)
        return training_state(model, stage, choices, Runtime(device))

    vocabulary = Vocabulary(size=vocab_size, pad=0, mask=1, cls=2, specials=(0, 1, 2))
    parts = [shape.model_dump(mode="json"), vocab_size, dict(choices), stage.optim.model_dump(mode="json")]
    return Plan(
        build, stage.objective, vocabulary, length=stage.length, batch=stage.batch, device=device, known_by=parts
    )


def recomputed_blocks(
    stage: PretrainStage,
    shape: Shape,
    vocab_size: int,
    choices: Mapping[str, Any],
    device: torch.device,
    room: float,
) -> int:
    """How many blocks are computed again in the backward pass, so that about 2,048 tokens fit into `room` bytes."""

    def plan(number: int) -> Plan:
        return pretraining_plan(stage, shape, vocab_size, {**choices, "recomputed": number}, device)

    micro = min(stage.micro_batch or -(-2048 // stage.length), stage.batch)
    return recomputed(stage.checkpointing, plan, shape.layout().layers, micro, room)


def _steps_and_seconds(stage: PretrainStage, tokens: float, per_step: float) -> tuple[int, float]:
    rows = max(1, int(tokens / stage.length))
    share = mean_share(stage)
    per_step *= share
    steps = planned_steps(
        stage, rows=rows, batch=stage.batch * share, tokens_per_row=stage.length, seconds_per_step=max(per_step, 1e-3)
    )
    if stage.minutes is not None:
        return steps, stage.minutes * 60
    if per_step and stage.compile != "no" and compiling_pays(stage, steps * per_step):
        return steps, steps * per_step / COMPILE_GAIN + COMPILE_SECONDS
    return steps, steps * per_step


def _config(stage: PretrainStage, shape: Shape, vocab_size: int) -> dict[str, Any]:
    """The transformers config of the model, for the forecast of what is made from it."""
    settings = shape.config(vocab_size=vocab_size, max_length=max(stage.length, 512), specials=SPECIALS)
    return {"model_type": shape.family, **settings}
