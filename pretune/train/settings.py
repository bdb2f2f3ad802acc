"""What pretraining and fine-tuning let a user set, in one place. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field

from pretune.base.config import Free, chosen
from pretune.base.errors import WrongValue
from pretune.base.stage import Forecast
from pretune.train.budget import Budget
from pretune.train.optim.settings import OPTIM, Optim
from pretune.train.watch.track.listener import LISTENER, Listener


def refuse_ranks(batch: int, world: int) -> None:
    """Raise WrongValue where the rows of a step cannot be dealt evenly to so many processes."""
    if batch % world:
        hint = f"batch={-(-batch // world) * world}, or another number of processes"
        raise WrongValue(f"a batch of {batch} rows cannot be dealt evenly to {world} processes", hint=hint)


def with_teacher_in_memory(found: Forecast, inputs: Mapping[str, Forecast]) -> Forecast:
    """The forecast of a run next to the teacher that it learns from, if there is one."""
    teacher = inputs.get("objective.teacher")
    if teacher is None:
        return found
    return replace(found, memory_bytes=found.memory_bytes + (4.0 * teacher.parameters or teacher.disk_bytes))


class TrainSettings(Budget):
    """Mixed into the stages that train."""

    optim: Annotated[Optim, *chosen(OPTIM)] = OPTIM("adamw")
    """Optimizer and schedule."""
    batch: int = Field(32, gt=0)
    """Rows of a step; how many fit into a micro-batch is found, not asked."""
    evaluate_every: int | None = Field(None, gt=0)
    """Steps between validations; by default six times in pretraining, in fine-tuning once an epoch and at
    least 15 steps apart."""
    precision: Literal["auto", "bfloat16", "float32", "float64"] = "auto"
    """bfloat16 weights with float32 masters, or float32; auto takes what is faster here. float64: for proofs."""
    micro_batch: Annotated[int | None, Free] = Field(None, gt=0)
    """Rows of one forward pass; when not given, what suits the device (on a CPU 4,096 tokens in pretraining, 8,192 in
    fine-tuning), or as many as fit into memory."""
    checkpointing: Annotated[Literal["none", "full", "auto"], Free] = "none"
    """Blocks whose activations are computed again instead of kept: none, all (full), or as many as are needed to fit
    (auto). Less memory for up to a third more arithmetic; the same gradients."""
    device: Annotated[str, Free] = "auto"
    """cpu, cuda, mps (a Mac's GPU, in float32; untested), or auto: cuda where it is, else cpu."""
    save_every: Annotated[int | None, Free] = Field(None, gt=0)
    """Steps between checkpoints; by default one a minute."""
    prompts: Annotated[list[str] | None, Free] = None
    """Texts that the model goes on with, or answers, at each validation (samples.jsonl); by default some of its own."""
    track: Annotated[list[Annotated[Listener, *chosen(LISTENER)]], Free] = []
    """Libraries that show the curves: tensorboard, wandb, swanlab, mlflow, trackio; they write into OUT.track."""
