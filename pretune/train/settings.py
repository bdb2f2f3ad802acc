"""What pretraining and fine-tuning let a user set, in one place. No torch here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from pretune.base.config import Config, Free, chosen
from pretune.base.errors import NotSupported
from pretune.base.stage import Forecast
from pretune.train.budget import Budget
from pretune.train.loop.refusing import Refuse
from pretune.train.optim.settings import OPTIM, Optim
from pretune.train.parallel.settings import Parallel
from pretune.train.watch.track.listener import LISTENER, Listener


def with_teacher_in_memory(found: Forecast, inputs: Mapping[str, Forecast]) -> Forecast:
    """The forecast of a run next to the teacher that it learns from, if there is one."""
    teacher = inputs.get("objective.teacher")
    if teacher is None:
        return found
    return replace(found, memory_bytes=found.memory_bytes + (4.0 * teacher.parameters or teacher.disk_bytes))


class Keep(Config):
    """Which checkpoints are kept. The newest, and the one that a run would go back to, are whatever is set here."""

    last: int = Field(2, gt=0)
    """So many of the newest."""
    best: bool = False
    """Whether the one with the best validation is kept; one is saved after each validation that is the best so far."""
    every: int | None = Field(None, gt=0)
    """Those at multiples of so many steps."""

    @property
    def number(self) -> int:
        """How many lie on the disk at most, that are not kept for good: one more is being written."""
        return self.last + self.best + 1


def seconds_of(value: object) -> object:
    """`3h`, `90m`, `45s`, `1.5h` in seconds; what is none of them as it is."""
    units = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", value.strip()) if isinstance(value, str) else None
    return float(found[1]) * units[found[2]] if found else value


class TrainSettings(Budget):
    """Mixed into the stages that train."""

    optim: Annotated[Optim, *chosen(OPTIM)] = OPTIM("adamw")
    """Optimizer and schedule."""
    batch: int = Field(32, gt=0)
    """Rows of a step; how many fit into a micro-batch is found, not asked."""
    evaluate_every: int | None = Field(None, gt=0)
    """Steps between validations; by default six times in pretraining, in fine-tuning once an epoch and at
    least 15 steps apart."""
    precision: Literal["auto", "bfloat16", "float16", "float32", "float64"] = "auto"
    """bfloat16 weights with float32 masters, or float32; auto takes what is faster here. float16: for GPUs without
    bfloat16, with a loss that is scaled. float64: for proofs."""
    micro_batch: Annotated[int | None, Free] = Field(None, gt=0)
    """Rows of one forward pass; when not given, what suits the device (on a CPU 4,096 tokens in pretraining, 8,192 in
    fine-tuning), or as many as fit into memory."""
    checkpointing: Annotated[Literal["none", "full", "auto"], Free] = "none"
    """Blocks whose activations are computed again instead of kept: none, all (full), or as many as are needed to fit
    (auto). Less memory for up to a third more arithmetic; the same gradients."""
    parallel: Annotated[Parallel, Free] = Parallel()
    """How several processes share the run (parallel.data, parallel.shard, parallel.tensor, parallel.pipeline)."""
    device: Annotated[str, Free] = "auto"
    """cpu, cuda, mps (a Mac's GPU, in float32; untested), or auto: cuda where it is, else cpu."""
    save_every: Annotated[int | None, Free] = Field(None, gt=0)
    """Steps between checkpoints; by default one a minute."""
    keep: Annotated[Keep, Free] = Keep()
    """Which checkpoints are kept (keep.last, keep.best, keep.every)."""
    stop_after: Annotated[float | None, Free, BeforeValidator(seconds_of)] = Field(None, gt=0)
    """Time from the start of the stage (3h, 90m, or seconds) after which it saves and leaves with exit code 130; the
    same command continues. For machines that are lent for a time."""
    refuse: Refuse = Refuse()
    """Which steps are refused, and when a run goes back (refuse.sigmas, refuse.window, refuse.goes_back_after)."""
    prompts: Annotated[list[str] | None, Free] = None
    """Texts that the model goes on with, or answers, at each validation (samples.jsonl); by default some of its own."""
    track: Annotated[list[Annotated[Listener, *chosen(LISTENER)]], Free] = []
    """Libraries that show the curves: tensorboard, wandb, swanlab, mlflow, trackio; they write into OUT.track."""

    def check_parallel(self, world: int, **others: str) -> None:
        """Refuse what does not fit the processes, or needs whole weights where they are to lie in parts.

        Args:
            others: name of a setting -> its value, if that needs whole weights; "" if not.

        Raises:
            WrongValue: the mesh does not fit the processes or the batch; NotSupported: a setting needs whole weights.
        """
        self.parallel.check(world, batch=self.batch, micro_batch=self.micro_batch)
        optim = self.optim
        known = {
            "optim": optim.kind if optim.kind == "adafactor" else "",
            "optim.moments": optim.moments if optim.moments == "8bit" else "",
            "optim.offload": optim.offload if optim.offload != "none" else "",
            **others,
        }
        if self.parallel.is_cut and (told := [f"{name}={value}" for name, value in known.items() if value]):
            hint = f"leave out {told[0]}, or take parallel.data alone: every process then holds all weights"
            raise NotSupported(f"{' and '.join(told)}: this needs whole weights, which parallel cuts up", hint=hint)
