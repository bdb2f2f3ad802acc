"""A model with its optimizer, as a run chose them."""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from pretune.base.errors import NotSupported
from pretune.model.checkpointing import checkpoint_blocks
from pretune.model.families import family_of, plain_model
from pretune.model.methods.own import frozen_modules
from pretune.train.loop.runtime import Runtime
from pretune.train.loop.scaling import begun
from pretune.train.loop.spec import Choices, TrainSpec
from pretune.train.loop.step import Scored, TrainState
from pretune.train.optim.update import Update
from pretune.train.parallel.divide import divide
from pretune.train.parallel.pieces import ALL

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
    refuse_cut(spec, model, runtime)
    if choices["checkpointed"]:
        checkpoint_blocks(plain_model(model), choices["checkpointed"])
    optim = spec.settings.optim.resolved(rate=spec.usual_rate, warmup=choices.get("warmup"))
    scales, names = (
        spec.method.scales(model, spec.layer_decay),
        [n for n, p in model.named_parameters() if p.requires_grad],
    )
    dtype, scored = compute_dtype_of(choices["precision"]), Scored(model, spec.objective)
    whole = (model, ALL, None)
    shell, pieces, line = divide(scored, mesh, dtype) if (mesh := runtime.mesh) is not None else whole
    update = Update(model, optim, compute_dtype=dtype, scales=scales, folder=folder, pieces=pieces, shown=shell)
    if choices["compile"] and not runtime.is_cut:  # blocks that meet in the middle are no one program
        compile_blocks(model)
    total = int(choices["steps"])
    trained_at = partial(spec.method.trained_at, names, total=total)
    still = frozen_modules(model) if spec.method.eval_frozen else ()
    around = spec.method.around
    how: dict[str, Any] = {
        "trained_at": trained_at,
        "still": still,
        "around": around,
        "refuse": spec.settings.refuse,
        "line": line,
    }
    how["scaling"] = begun(choices["precision"])
    return TrainState(shell, runtime.wrap(scored), update, total=total, **how)


def refuse_cut(spec: TrainSpec, model: Any, runtime: Runtime) -> None:
    """Raise NotSupported where a step needs a first pass over the whole model, which is to lie in parts."""
    routes = family_of(model).routes
    _refuse_odd_rows(spec, runtime)
    if runtime.is_cut and (spec.objective.gathers or routes):
        what = "the experts of this family" if routes else f"objective={spec.objective.kind}"
        problem = f"{what}: a step looks at the whole model first, which parallel cuts up"
        raise NotSupported(problem, hint="take parallel.data alone: every process then holds all weights")


def _refuse_odd_rows(spec: TrainSpec, runtime: Runtime) -> None:
    if runtime.mesh is not None and runtime.mesh.pipeline.size > 1:
        row = spec.stream.rows(0)[:1] if spec.stream is not None else []
        prepared = [spec.objective.prepare(one, spec.vocabulary, np.random.default_rng(0)) for one in row]
        batch = spec.objective.collate(prepared, spec.vocabulary) if prepared else {"input_ids": None}
        if "input_ids" not in batch:
            problem = f"parallel.pipeline with objective={spec.objective.kind}: its rows are no single texts"
            raise NotSupported(problem, hint="parallel.shard, or parallel.tensor")


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
