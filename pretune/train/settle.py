"""What a run chooses by itself, settled before step 1: precision, attention, micro-batch, compiled or eager, steps.

    precision     what multiplies faster here, bfloat16 or float32
    micro-batch   \\
    attention     / the fastest of a few steps on a throw-away model
    compiled      tried where the run is long enough to win its price back, taken where it did win

Everything that was measured is remembered per machine, so two runs of one command take the same path; what was
chosen is kept with the run and taken again on resume.
"""

from __future__ import annotations

import math
import shutil
from typing import Any

import torch

from pretune.base import probes
from pretune.base.errors import NotSupported
from pretune.base.log import Log
from pretune.model.attention import NAME as BLOCKS
from pretune.model.shape import Shape
from pretune.train.assembly import DTYPES, Choices, Parts, mean_share, new_cut, new_model, training_state
from pretune.train.budget import planned_steps
from pretune.train.float8 import has_float8
from pretune.train.forecasting import Plan, candidates, free_bytes, halves, largest_fitting, refuse_if_too_large
from pretune.train.loop import take_step
from pretune.train.plans import pretraining_plan, recomputed_blocks
from pretune.train.pretrain import settled_shape
from pretune.train.runtime import (
    best_precision,
    give_freed_memory_back,
    matrix_speed,
    narrow_gain,
    recalled,
    remembered,
)

ATTENTIONS = {"cpu": (BLOCKS, "sdpa"), "cuda": ("sdpa", "flex_attention")}
"""Ways to attend, by device; the first where nothing is measured. flex_attention skips what a document does not see."""
COMPILE_SECONDS = 17.0
"""A cold compile of one training shape on two cores (docs/LOG.md), until one was measured here."""
COMPILE_GAIN = 1.3
"""Speed of the compiled step over the eager one (docs/LOG.md), before this shape was tried."""
COMPILED = "cold compile, seconds"


def settle(parts: Parts, *, num_tokens: int, log: Log) -> Choices:
    """The choices of a pretraining run over `num_tokens` tokens of text."""
    stage, runtime = parts.stage, parts.runtime
    if stage.compile == "yes" and not has_compiler():
        hint = "install g++ or clang, or leave compile=auto"
        raise NotSupported("compile=yes needs a C++ compiler, and none is on the path", hint=hint)
    precision = settled_precision(stage.precision, runtime.device, log)
    flops = usual_speed(precision, runtime.device)
    shape = settled_shape(stage, tokens=num_tokens, vocab_size=parts.vocabulary.size, flops=flops)
    choices: Choices = {"precision": precision, "shape": shape.model_dump(mode="json"), "compile": False}
    choices |= {"attention": ATTENTIONS[runtime.device.type][0], "micro_batch": stage.micro_batch or stage.batch}
    room = free_bytes(runtime.device)
    choices["recomputed"] = recomputed_blocks(stage, shape, parts.vocabulary.size, choices, runtime.device, room)
    if choices["recomputed"]:
        give_freed_memory_back()
    seconds = 0.0
    if stage.micro_batch is None or stage.minutes is not None or stage.optim.warms_by_time:
        found = _fastest(parts, shape, choices, room)
        choices |= {name: found[name] for name in ("attention", "micro_batch")}
        seconds = float(found["seconds"])
        if stage.micro_batch is None:  # what was fastest on another day may not fit today
            sizes = halves(int(choices["micro_batch"]))
            choices["micro_batch"] = largest_fitting(_plan(parts, shape, choices), sizes, room)
        choices, seconds = _compiled_if_faster(parts, shape, choices, seconds, log)
    choices["compile"] |= stage.compile == "yes"
    choices["micro_batch"] = min(int(choices["micro_batch"]), stage.batch)
    warmup = stage.optim.warmup_steps(tokens_per_step=stage.batch * stage.length, seconds_per_step=seconds)
    return choices | {"steps": _steps(parts, seconds), "seconds_per_step": seconds, "warmup": warmup}


def usual_speed(precision: str, device: torch.device) -> float:
    """Operations per second that training is reckoned with before anything was built: a third of the product."""
    return matrix_speed(DTYPES[precision], device) * 0.35


def settled_precision(asked: str, device: torch.device, log: Log) -> str:
    """The precision that is meant; a line is logged where the one asked for is slow here.

    Raises:
        NotSupported: the device cannot compute in it.
    """
    if asked == "auto":
        return str(remembered(f"precision {device.type}", lambda: best_precision(device)))
    if asked == "float8" and not has_float8(device):
        raise NotSupported(
            "precision=float8 needs a GPU that multiplies 8-bit floats (compute capability 8.9 or more)",
            hint="precision=auto takes what is fastest here",
        )
    if asked != "bfloat16":
        return asked
    if device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise NotSupported("this GPU does not compute in bfloat16", hint="precision=float32, or auto")
    if device.type == "cpu" and (gain := narrow_gain(device)) < 0.9:
        log.warn(
            f"precision=bfloat16 is slow here: its matrix product has {gain:.0%} of the speed of float32; "
            "bfloat16 is used as asked, precision=auto would take float32"
        )
    return asked


def _steps(parts: Parts, seconds: float) -> int:
    stage, share = parts.stage, mean_share(parts.stage)
    return planned_steps(
        stage,
        rows=len(parts.rows),
        batch=stage.batch * share,
        tokens_per_row=stage.length,
        seconds_per_step=max(seconds * share, 1e-3),
    )


# ---- micro-batch and attention ------------------------------------------------------------------


def _fastest(parts: Parts, shape: Shape, choices: Choices, room: float) -> dict[str, Any]:
    """micro_batch, attention and seconds of the fastest eager step within `room` bytes; remembered.

    Raises:
        DoesNotFit: the smallest micro-batch is foretold to need more.
    """

    def measure() -> dict[str, Any]:
        first, *others = _attentions(parts)
        sizes = _candidates(parts, shape, choices, room)
        best = _timed(parts, shape, {**choices, "attention": first}, sizes)
        for attention in others:
            found = _timed(parts, shape, {**choices, "attention": attention}, [best["micro_batch"]])
            best = min(best, found, key=lambda one: one["seconds"])
        return best

    return remembered(f"step {_mark(parts, choices)}", measure)  # type: ignore[no-any-return]


def _attentions(parts: Parts) -> list[str]:
    """flex_attention cuts a row into blocks of 128."""
    kinds = ATTENTIONS[parts.runtime.device.type]
    return [kind for kind in kinds if kind != "flex_attention" or parts.stage.length % 128 == 0]


def _timed(parts: Parts, shape: Shape, choices: Choices, sizes: list[int], repeats: int = 2) -> dict[str, Any]:
    """The fastest micro-batch of `sizes` and its seconds a step, on a throw-away model."""
    model = new_model(parts, shape, choices["attention"])
    state = training_state(model, parts.stage, {**choices, "steps": 1000}, parts.runtime)
    best = {"micro_batch": 0, "attention": choices["attention"], "seconds": math.inf}
    for micro in sizes:
        batches = new_cut(parts, micro).batches(0)
        times = [take_step(state, parts.stage.objective, batches, parts.runtime).seconds for _ in range(repeats)]
        best = min(best, best | {"micro_batch": micro, "seconds": min(times)}, key=lambda one: one["seconds"])
        best["first"] = times[0]
    return best


def _candidates(parts: Parts, shape: Shape, choices: Choices, room: float) -> list[int]:
    """Micro-batches worth trying; those given, or those that are foretold to fit."""
    if parts.stage.micro_batch is not None:
        return [min(parts.stage.micro_batch, parts.stage.batch)]
    plan = _plan(parts, shape, choices)
    sizes = candidates(plan, room)
    if parts.stage.optim.offload == "none":  # else it holds less than is foretold
        refuse_if_too_large(plan, sizes[0], room)
    return sizes


def _plan(parts: Parts, shape: Shape, choices: Choices) -> Plan:
    return pretraining_plan(parts.stage, shape, parts.vocabulary.size, choices, parts.runtime.device)


def _mark(parts: Parts, choices: Choices) -> str:
    """What the speed of a step depends on, but for the machine."""
    stage = parts.stage
    optim = stage.optim.kind, stage.optim.moments, stage.optim.offload
    kinds = *optim, stage.objective.kind, parts.runtime.device.type
    sizes = stage.batch, stage.length, parts.vocabulary.size, stage.micro_batch
    return f"{choices['shape']} {sizes} {choices['precision']} {kinds} {choices['recomputed']}"


# ---- compiled or eager --------------------------------------------------------------------------


def worth_trying(eager_seconds: float) -> bool:
    """Are there steps enough to win twice the price of a cold compile back?"""
    return eager_seconds * (1 - 1 / COMPILE_GAIN) > 2 * compile_seconds()


def compile_seconds() -> float:
    """What a cold compile took on this machine, or takes on others."""
    return float(probes.recalled(COMPILED) or COMPILE_SECONDS)


def _compiled_if_faster(parts: Parts, shape: Shape, choices: Choices, eager: float, log: Log) -> tuple[Choices, float]:
    """The choices with or without compiling, and the seconds of a step, by a trial that is remembered."""
    asked, steps, trial = parts.stage.compile, _steps(parts, eager), {**choices, "compile": True}
    key = f"compiled {choices['micro_batch']} {_mark(parts, choices)}"
    known = recalled(key) is not None
    if asked == "no" or not (asked == "yes" or known or worth_trying(steps * eager)):
        return choices, eager
    if not has_compiler():
        log.info("    no C++ compiler is on the path: the steps stay eager")
        return choices, eager
    if not known:
        log.info("    trying compiled blocks (kept for this machine and shape)")

    def measure() -> list[dict[str, Any]]:
        sizes = [int(choices["micro_batch"])]
        return [_timed(parts, shape, {**trial, "attention": kind}, sizes, repeats=3) for kind in _attentions(parts)]

    tried: list[dict[str, Any]] = remembered(key, measure)
    if probes.recalled(COMPILED) is None:
        probes.keep(COMPILED, tried[0]["first"])
    best = min(tried, key=lambda one: float(one["seconds"]))
    # The trial has filled the cache of compiled code; what is still to be paid is about a third of its price.
    if asked == "auto" and steps * (eager - best["seconds"]) < best["first"] / 3:
        return choices, eager
    return {**trial, "attention": best["attention"]}, float(best["seconds"])


def has_compiler() -> bool:
    """Is there a C++ compiler, which compiling on a CPU needs (and triton's launchers on a GPU)?"""
    return any(shutil.which(name) for name in ("c++", "g++", "clang++", "cl"))
