"""The forecasts of stage finetune: the step of the model's config, its task and its method."""

from __future__ import annotations

import copy
from typing import Any

import torch

from pretune.base.log import Log
from pretune.base.stage import Forecast, Machine
from pretune.model.folder import quiet_transformers
from pretune.model.positions import num_positions
from pretune.objective.objective import Vocabulary
from pretune.task.finetune import FinetuneStage
from pretune.task.finetuning import MICRO_TOKENS, budget_of, training_state
from pretune.train.forecast.forecasting import (
    CPU,
    PROCESS_BYTES,
    Plan,
    fitting_micro,
    recomputed,
    rows_of_about,
    run_bytes,
    step_seconds,
)
from pretune.train.forecast.rehearsal import weightless
from pretune.train.loop.runtime import Runtime, device_of
from pretune.train.run.budget import planned_steps, steps_in
from pretune.train.run.settle import settled_precision

BYTES_PER_TOKEN, TOKENS_PER_EXAMPLE = 4.0, 60.0
"""Of labelled text that nobody has read yet."""


def foretell_finetuning(stage: FinetuneStage, base: Forecast, data: Forecast, machine: Machine) -> Forecast:
    """Seconds, bytes of memory and disk of fine-tuning the model of `base`, whose config is known."""
    quiet_transformers()
    assert base.config is not None
    device = device_of(stage.device)
    precision = settled_precision(stage.precision, device, Log(quiet=True))
    tokens = data.tokens or data.text_bytes / BYTES_PER_TOKEN
    per_row = min(TOKENS_PER_EXAMPLE, stage.max_length) if stage.task.grouped else float(stage.max_length)
    config, room = dict(base.config), machine.free_memory_bytes - PROCESS_BYTES
    wanted = stage.micro_batch or rows_of_about(MICRO_TOKENS, per_row, stage.batch)
    again, micro = fitting_cut(stage, config, precision, stage.max_length, wanted, device, room)
    plan = finetuning_plan(stage, config, precision, stage.max_length, device, again)
    memory = run_bytes(plan, micro)
    fits = memory < machine.memory_bytes
    per_step = step_seconds(plan, micro, precision) * per_row / plan.length if fits else 0.0
    budget = budget_of(stage)
    rows = max(1, int(tokens / per_row))
    if budget.minutes is not None:
        steps = steps_in(budget.minutes * 60, per_step)
    else:
        steps = planned_steps(budget, rows=rows, batch=stage.batch, tokens_per_row=per_row)
    parameters = base.parameters or base.disk_bytes / 4
    return Forecast(
        seconds=(stage.minutes or 0) * 60 or steps * per_step,
        memory_bytes=memory,
        disk_bytes=4.0 * parameters + 2 * 12.0 * parameters,
        parameters=parameters,
        config=base.config,
    )


def fitting_cut(
    stage: FinetuneStage,
    config: dict[str, Any],
    precision: str,
    length: int,
    micro: int,
    device: torch.device,
    room: float,
) -> tuple[int, int]:
    """(blocks to compute again, rows of a micro-batch: at most `micro`) with which a step fits into `room` bytes."""

    def plan(number: int) -> Plan:
        return finetuning_plan(stage, config, precision, length, device, number)

    layers = int(config.get("num_hidden_layers") or config.get("n_layer") or 1)
    again = recomputed(stage.checkpointing, plan, layers, min(micro, -(-2048 // length)), room)
    return again, stage.micro_batch or fitting_micro(plan(again), micro, room)


def finetuning_plan(
    stage: FinetuneStage,
    config: dict[str, Any],
    precision: str,
    length: int,
    device: torch.device = CPU,
    again: int = 0,
) -> Plan:
    """The step of the model that this transformers config describes, with random weights."""
    from transformers import AutoConfig

    # Whatever type the folder has, it is loaded in float32.
    config = {name: value for name, value in config.items() if name != "torch_dtype"} | {"dtype": "float32"}
    known = AutoConfig.for_model(**config)
    objective = stage.task.objective()
    stage = stage.model_copy(update={"optim": stage.optim.model_copy(update={"offload": "none"})})
    choices = {"precision": precision, "recomputed": again, "steps": 1000}
    length = min(length, num_positions(known.to_dict()) or length)

    def make() -> Any:
        model, heads = stage.task.outline(copy.deepcopy(known))
        return stage.method.apply(model, heads=heads)

    def build() -> Any:
        return training_state(weightless(make, device), stage, objective, choices, Runtime(device))

    vocabulary = Vocabulary(size=int(known.vocab_size), pad=0, mask=1, cls=2, specials=(0, 1, 2))
    parts = [config, choices, *(s.model_dump(mode="json") for s in (stage.task, stage.method, stage.optim))]
    return Plan(
        build,
        objective,
        vocabulary,
        length=length,
        batch=stage.batch,
        device=device,
        known_by=parts,
        keeps_freed=not again,
    )
