"""What a run takes, before there are tokens or a model: memory, seconds, and how it would be cut."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pretune.base.errors import WrongValue
from pretune.base.json import Json
from pretune.base.stage import Forecast, Machine
from pretune.model.families import family_of, plain_model
from pretune.train.budget import planned_steps, steps_in
from pretune.train.forecast.choosing import COMPILE_GAIN, COMPILE_SECONDS, compiles, resolved_precision
from pretune.train.forecast.dry_run import weightless
from pretune.train.forecast.mesh import Work, gpus_of, meshes
from pretune.train.forecast.plan import PROCESS_BYTES, Plan, checkpointed, fitting_micro, run_bytes, step_seconds
from pretune.train.forecast.speed import QUIET
from pretune.train.loop.private import trial_of
from pretune.train.loop.runtime import Runtime
from pretune.train.loop.spec import TrainSpec
from pretune.train.loop.state import as_precise, training_state, without_offload
from pretune.train.loop.step import TrainState
from pretune.train.parallel.stages import can_stage
from pretune.train.parallel.tensor import can_split

FEW_ROWS = 4
"""Of a dry run for a mesh."""
FEW_TOKENS = 2048
"""Of a micro-batch that must fit, before blocks are computed again."""


def plan_of(spec: TrainSpec, precision: str, again: int) -> Plan:
    """The step of a spec in the words of its forecast, with `again` blocks computed again."""
    light = without_offload(spec)
    choices: Json = {"precision": precision, "checkpointed": again, "compile": False, "steps": 1000}

    def build() -> TrainState:
        model = weightless(lambda: as_precise(spec.outline(), precision), spec.device)
        state = training_state(light, model, choices, Runtime(spec.device))
        # The most that a step takes: all that trains moves. Noise is no product, and drawing it would take real memory.
        return replace(state, trained_at=None, mechanism=trial_of(light, noise=0.0))

    return Plan(
        build,
        spec.objective,
        spec.vocabulary,
        length=spec.length,
        batch=spec.settings.batch,
        device=spec.device,
        known_by=[spec.known_by, choices, light.settings.optim.model_dump(mode="json")],
        keeps_freed=not again,
    )


def fitting(spec: TrainSpec, precision: str, room: float) -> tuple[int, int]:
    """(blocks to compute again, rows of a micro-batch) with which a step fits into `room` bytes."""
    settings = spec.settings
    wanted = min(settings.micro_batch or spec.usual_micro, settings.batch)
    few = min(settings.micro_batch or -(-FEW_TOKENS // spec.length), wanted)
    again = checkpointed(settings.checkpointing, lambda n: plan_of(spec, precision, n), spec.layers, few, room)
    return again, wanted if settings.micro_batch else fitting_micro(plan_of(spec, precision, again), wanted, room)


def forecast_of(spec: TrainSpec, machine: Machine, *, timed: bool = True) -> Forecast:
    """Seconds, memory, and the tokens that are read.

    Args:
        timed: whether seconds are told, for which a small step is timed once on a machine; False leaves them 0.

    On the machine's `gpus` it is what the best mesh takes, on paper (mesh.py).
    """
    if machine.gpus:
        return _on_paper(spec, machine.gpus)
    precision = resolved_precision(spec.settings.precision, spec.device, QUIET)
    again, micro = fitting(spec, precision, machine.free_memory_bytes - PROCESS_BYTES)
    plan = plan_of(spec, precision, again)
    memory, per_step = run_bytes(plan, micro), 0.0
    copy = plan.copy_bytes(micro) if spec.device.type == "cpu" and spec.settings.optim.offload != "disk" else 0.0
    memory += copy if memory + copy < machine.free_memory_bytes else 0.0  # else the run waits for its checkpoints
    if timed and memory < machine.memory_bytes:
        share = spec.batch / spec.settings.batch * spec.tokens_per_row / spec.length
        per_step = step_seconds(plan, micro, precision) * share
    steps, seconds = _steps_and_seconds(spec, per_step, precision)
    return Forecast(seconds=seconds, memory_bytes=memory, tokens=steps * spec.batch * spec.tokens_per_row)


def _on_paper(spec: TrainSpec, asked: str) -> Forecast:
    """What a rank of the best mesh takes. Raises WrongValue where the rows cannot be dealt to so many GPUs."""
    number, gpu = gpus_of(asked)
    found = meshes(work_of(spec), number, gpu)
    if not found:
        hint = f"batch={-(-spec.settings.batch // number) * number}, or another number of GPUs"
        raise WrongValue(f"no mesh deals a batch of {spec.settings.batch} rows to {number} GPUs", hint=hint)
    best, minutes = found[0], spec.settings.minutes
    steps = steps_in(minutes * 60, best.seconds) if minutes is not None else steps_planned(spec)
    tokens = steps * spec.batch * spec.tokens_per_row
    told = [{**mesh.to_json(), "gpu": gpu.name, "memory_of_gpu": gpu.memory} for mesh in found]
    return Forecast(seconds=steps * best.seconds, memory_bytes=best.memory, tokens=tokens, meshes=told)


def work_of(spec: TrainSpec) -> Work:
    """A step of one process in a narrow type, by dry runs of the model, as mesh.py deals it."""
    again = spec.layers if spec.settings.checkpointing != "none" else 0
    plan = plan_of(spec, "bfloat16", again)
    memory, flops = plan.lines(min(FEW_ROWS, spec.settings.batch))
    model = weightless(spec.outline, spec.device)
    config, every = plain_model(model).config.get_text_config(), list(model.parameters())
    names = ("num_attention_heads", "num_key_value_heads", "intermediate_size")
    return Work(
        rest=memory.base,
        row=memory.slope,
        flops=flops.at(spec.settings.batch),
        parameters=float(sum(p.numel() for p in every)),
        trained=float(sum(p.numel() for p in every if p.requires_grad)),
        layers=spec.layers,
        width=spec.width or int(config.hidden_size),
        length=spec.length,
        batch=spec.settings.batch,
        divides=tuple(int(size) for name in names if (size := getattr(config, name, None))),
        cuts=cuts_of(spec, model),
    )


def cuts_of(spec: TrainSpec, model: Any) -> frozenset[str]:
    """The directions in which a run of this model and objective can be cut; the others it would refuse."""
    if spec.objective.gathers or family_of(model).routes:
        return frozenset()
    found = {"shard": True, "tensor": can_split(model), "pipeline": can_stage(model)}
    return frozenset(name for name, can in found.items() if can)


def _steps_and_seconds(spec: TrainSpec, per_step: float, precision: str) -> tuple[int, float]:
    minutes = spec.settings.minutes
    if minutes is not None:
        return steps_in(minutes * 60, per_step), minutes * 60
    steps = steps_planned(spec)
    if compiles(spec.compile, steps * per_step, precision, QUIET):
        return steps, steps * per_step / COMPILE_GAIN + COMPILE_SECONDS
    return steps, steps * per_step


def steps_planned(spec: TrainSpec) -> int:
    """Steps of a budget that is not in minutes."""
    sizes = {"rows": spec.rows, "batch": spec.batch, "tokens_per_row": spec.tokens_per_row}
    return planned_steps(spec.settings, **sizes, epochs=spec.epochs)
