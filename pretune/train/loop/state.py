"""A model with its optimizer, as a run chose them."""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pretune.model.checkpointing import checkpoint_blocks
from pretune.model.families import family_of, plain_model
from pretune.model.methods.own import frozen_modules
from pretune.train.loop.runtime import Runtime
from pretune.train.loop.scaling import begun
from pretune.train.loop.spec import Choices, TrainSpec
from pretune.train.loop.step import Scored, TrainState
from pretune.train.optim.update import Update

DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32, "float64": torch.float64}
"""Type of the weights that the model computes with, by precision."""


def training_state(
    spec: TrainSpec, model: Any, choices: Choices, runtime: Runtime, folder: Path | None = None
) -> TrainState:
    """A model with its optimizer, as chosen.

    Args:
        model: with its method applied, `as_precise` as chosen.
        folder: for what is put off to the disk; a temporary one if it is not given.
    """
    if choices["checkpointed"]:
        checkpoint_blocks(plain_model(model), choices["checkpointed"])
    optim = spec.settings.optim.resolved(rate=spec.usual_rate, warmup=choices.get("warmup"))
    scales = spec.method.scales(model, spec.layer_decay)
    update = Update(model, optim, compute_dtype=compute_dtype_of(choices["precision"]), scales=scales, folder=folder)
    if choices["compile"]:
        compile_blocks(model)
    scored = runtime.wrap(Scored(model, spec.objective))
    total, names = int(choices["steps"]), list(update.weights)
    trained_at = partial(spec.method.trained_at, names, total=total)
    still = frozen_modules(model) if spec.method.eval_frozen else ()
    around = spec.method.around
    how: dict[str, Any] = {"trained_at": trained_at, "still": still, "around": around, "refuse": spec.settings.refuse}
    how["scaling"] = begun(choices["precision"])
    return TrainState(model, scored, update, total=total, **how)


def as_precise(model: Any, precision: str) -> Any:
    """The model in float64 where that is the precision; otherwise as it is, in float32."""
    return model.double() if precision == "float64" else model


def compute_dtype_of(precision: str) -> torch.dtype | None:
    """The type that a model computes in, where it is narrower than float32."""
    return DTYPES[precision] if precision in ("bfloat16", "float16") else None


def compile_blocks(model: nn.Module, backend: Any = "inductor") -> None:
    """Compile the blocks of a transformer in place: all are one program, so it is compiled once, not once a layer.

    Embedding, last norm and loss stay as they are: look-ups and products, with nothing to fuse.
    """
    # torch's tracer looks at the .grad of what enters a block, and then warns of having looked.
    warnings.filterwarnings("ignore", message="The .grad attribute of a Tensor that is not a leaf")
    for module in family_of(model).compiled(model):
        module.compile(backend=backend, dynamic=False)


def without_offload(spec: TrainSpec) -> TrainSpec:
    """The spec with masters and moments in memory: for a step that is only tried, or counted."""
    optim = spec.settings.optim.model_copy(update={"offload": "none"})
    return replace(spec, settings=spec.settings.model_copy(update={"optim": optim}))
