"""What stage pretrain does: build, measure, train, validate, save."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from pretune.base.artifact import Artifact
from pretune.base.stage import Context
from pretune.model.build import build_model, num_parameters
from pretune.model.folder import quiet_transformers, save_model, set_model_length
from pretune.model.recompute import recompute_blocks
from pretune.model.shape import SHAPE, Shape
from pretune.objective.base import Vocabulary
from pretune.tokens.packing import Rows
from pretune.tokens.tokenizer import load_tokenizer, special_ids
from pretune.train.budget import planned_steps, told_of_budget
from pretune.train.feed import Feed, one_tokenizer, open_feed
from pretune.train.forecasting import candidates, free_bytes, halves, largest_fitting, refuse_if_too_large
from pretune.train.loop import Scored, StepReport, TrainState, take_step
from pretune.train.pretrain import PretrainStage, settled_shape
from pretune.train.runtime import Runtime, best_precision, matrix_speed, remembered
from pretune.train.session import Session
from pretune.train.stream import Cut, StoreStream
from pretune.train.update import Update
from pretune.train.validate import Loss, bits_per_byte, loss_over

DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}
COMPILE_SECONDS = 45.0
"""A cold compile of one training shape on two cores (docs/LOG.md); it must be won back."""
COMPILE_GAIN = 1.35
"""Speed of the compiled step over the eager one (docs/LOG.md)."""


def pretrain(stage: PretrainStage, stores: Mapping[str, Artifact], out: Path, context: Context) -> dict[str, Any]:
    """Train on token stores and write the model folder; returns the metrics of the card."""
    quiet_transformers()
    runtime = Runtime.start(stage.device)
    tokenizer = one_tokenizer(stores)
    vocabulary = vocabulary_of(tokenizer)
    feed = open_feed(stage, stores, vocabulary, context.seed)
    choices = context.choose("run", lambda: _settle(stage, feed, tokenizer, vocabulary, runtime, context))
    shape = SHAPE(choices["shape"])
    model = _build(stage, shape, tokenizer, vocabulary, context.seed, choices).to(runtime.device)
    state = training_state(model, stage, choices, runtime, context.scratch / "offload")
    ramp = int(stage.batch_ramp * state.total)
    cut = _cut(stage, feed.rows, vocabulary, context.seed, choices["micro_batch"], runtime, ramp)
    _tell_of_budget(stage, feed, choices, context)
    context.log.info(
        f"    {shape.kind}: {num_parameters(model) / 1e6:.1f} million parameters, {state.total} steps of "
        f"{stage.batch} x {stage.length} tokens, {choices['precision']}, micro-batch {choices['micro_batch']}"
        f"{', compiled' if choices['compile'] else ''}"
    )
    session = _session(stage, state, cut, runtime, context, shape, vocabulary, choices)
    started = time.monotonic()
    session.run(_validator(stage, session, feed.validation, vocabulary))
    seconds = time.monotonic() - started
    save_model(model, out, tokenizer=tokenizer, weights=state.update.final())
    set_model_length(out, stage.length)
    return _metrics(stage, session, feed, vocabulary) | {
        "train_seconds": round(seconds, 1),
        **choices,
        "micro_batch": session.micro,
    }


def vocabulary_of(folder: Path) -> Vocabulary:
    """Size and special ids of a tokenizer folder."""
    specials = special_ids(folder)
    size = load_tokenizer(folder).get_vocab_size(with_added_tokens=True)
    ids = {
        i
        for i in (specials.bos, specials.eos, specials.pad, specials.cls, specials.sep, specials.mask)
        if i is not None
    }
    pad = specials.pad if specials.pad is not None else (specials.eos or 0)
    return Vocabulary(size=size, pad=pad, mask=specials.mask, cls=specials.cls, specials=tuple(sorted(ids)))


# ---- what a run chooses by itself, settled before step 1 ----------------------------------------


def _settle(
    stage: PretrainStage,
    feed: Feed,
    tokenizer: Path,
    vocabulary: Vocabulary,
    runtime: Runtime,
    context: Context,
) -> dict[str, Any]:
    from pretune.train.foretell import pretraining_plan, recomputed_blocks

    precision = precision_for(stage, runtime.device)
    flops = matrix_speed(DTYPES[precision], runtime.device) * 0.35
    shape = settled_shape(stage, tokens=feed.num_tokens, vocab_size=vocabulary.size, flops=flops)
    attention = attention_for(stage, runtime.device)
    choices: dict[str, Any] = {"precision": precision, "shape": shape.kind, "attention": attention, "compile": False}
    choices["shape"] = shape.model_dump(mode="json")
    device, room = runtime.device, free_bytes(runtime.device)
    choices["recomputed"] = recomputed_blocks(stage, shape, vocabulary.size, choices, device, room)
    seconds = 0.0
    if stage.micro_batch is None or stage.minutes is not None or stage.optim.warms_by_time:
        measured = _measure(stage, shape, feed.rows, tokenizer, vocabulary, runtime, context, choices)
        # What was fastest on another day may not fit today.
        plan, seconds = pretraining_plan(stage, shape, vocabulary.size, choices, device), float(measured["seconds"])
        choices["micro_batch"] = largest_fitting(plan, halves(int(measured["micro_batch"])), room)
    if stage.micro_batch is not None:
        choices["micro_batch"] = min(stage.micro_batch, stage.batch)
    steps = _steps(stage, feed.rows, seconds)
    if stage.compile != "no" and compiling_pays(stage, steps * seconds):
        choices["compile"] = True
        steps = _steps(stage, feed.rows, seconds / COMPILE_GAIN) if stage.minutes else steps
    warmup = stage.optim.warmup_steps(tokens_per_step=stage.batch * stage.length, seconds_per_step=seconds)
    return choices | {"steps": steps, "seconds_per_step": seconds, "warmup": warmup}


def precision_for(stage: PretrainStage, device: torch.device) -> str:
    """The precision that was asked for, or the faster one."""
    if stage.precision != "auto":
        return stage.precision
    return str(remembered("precision", lambda: best_precision(device)))


def attention_for(stage: PretrainStage, device: torch.device) -> str:
    return "eager" if device.type == "cpu" and stage.length <= 512 else "sdpa"


def _steps(stage: PretrainStage, rows: Rows, seconds: float) -> int:
    share = mean_share(stage)
    return planned_steps(
        stage,
        rows=len(rows),
        batch=stage.batch * share,
        tokens_per_row=stage.length,
        seconds_per_step=max(seconds * share, 1e-3),
    )


def mean_share(stage: PretrainStage) -> float:
    """Rows of a step over those of a whole batch, on the average of the run: a ramp has 1/8, 1/4 and 1/2 of them."""
    return 1 - stage.batch_ramp * (1 - (1 / 8 + 1 / 4 + 1 / 2) / 3)


def compiling_pays(stage: PretrainStage, eager_seconds: float) -> bool:
    """Compiling needs a C++ compiler and must win back its own time, with some to spare."""
    import shutil

    if stage.compile == "yes":
        return True
    if not any(shutil.which(name) for name in ("c++", "g++", "clang++", "cl")):
        return False
    return eager_seconds * (1 - 1 / COMPILE_GAIN) > 2 * COMPILE_SECONDS


def _measure(
    stage: PretrainStage,
    shape: Shape,
    rows: Rows,
    tokenizer: Path,
    vocabulary: Vocabulary,
    runtime: Runtime,
    context: Context,
    choices: dict[str, Any],
) -> dict[str, float]:
    """Seconds of a step for micro-batches of several sizes, on a throw-away model; remembered per machine."""
    settings = shape.model_dump(mode="json")
    parts = [
        settings,
        stage.batch,
        stage.length,
        vocabulary.size,
        choices["precision"],
        stage.optim.kind,
        stage.objective.kind,
    ]

    def measure() -> dict[str, float]:
        from pretune.train.foretell import pretraining_plan

        room = free_bytes(runtime.device)
        plan = pretraining_plan(stage, shape, vocabulary.size, choices, runtime.device)
        sizes = candidates(plan, room)
        if stage.optim.offload == "none":  # else it holds less than is foretold
            refuse_if_too_large(plan, sizes[0], room)
        model = _build(stage, shape, tokenizer, vocabulary, context.seed, choices).to(runtime.device)
        state = training_state(model, stage, {**choices, "steps": 1000}, runtime)
        best = {"micro_batch": 0.0, "seconds": math.inf}
        for micro in sizes:
            cut = _cut(stage, rows, vocabulary, context.seed, micro, runtime)
            seconds = min(take_step(state, stage.objective, cut.batches(0), runtime).seconds for _ in range(2))
            if seconds < best["seconds"]:
                best = {"micro_batch": micro, "seconds": seconds}
        return best

    return remembered(f"step {parts} {runtime.device.type}", measure)  # type: ignore[no-any-return]


# ---- building ------------------------------------------------------------------------------------


def _build(
    stage: PretrainStage, shape: Shape, tokenizer: Path, vocabulary: Vocabulary, seed: int, choices: dict[str, Any]
) -> Any:
    return build_model(
        shape,
        vocab_size=vocabulary.size,
        max_length=max(stage.length, 512),
        specials=special_ids(tokenizer),
        seed=seed,
        attention=choices["attention"],
    )


def training_state(
    model: Any, stage: PretrainStage, choices: dict[str, Any], runtime: Runtime, folder: Path | None = None
) -> TrainState:
    narrow = torch.bfloat16 if choices["precision"] == "bfloat16" else None
    if choices.get("recomputed", 0):
        recompute_blocks(model, choices["recomputed"])
    optim = stage.optim.settled(choices.get("warmup"))
    update = Update(model, optim, narrow=narrow, folder=folder)
    scored: torch.nn.Module = runtime.wrap(Scored(model, stage.objective))
    if choices["compile"]:
        scored = torch.compile(scored)  # type: ignore[assignment]
    return TrainState(model=model, scored=scored, update=update, total=int(choices["steps"]))


def _cut(
    stage: PretrainStage, rows: Rows, vocabulary: Vocabulary, seed: int, micro: int, runtime: Runtime, ramp: int = 0
) -> Cut:
    stream = StoreStream(rows, stage.batch, ramp)
    return Cut(stream, stage.objective, vocabulary, seed, micro, runtime.rank, runtime.world)


def _tell_of_budget(stage: PretrainStage, feed: Feed, choices: dict[str, Any], context: Context) -> None:
    """A budget that is less than a step, or more than the data holds."""
    warnings, remarks = told_of_budget(
        stage,
        steps=choices["steps"],
        rows=len(feed.rows),
        batch=stage.batch * mean_share(stage),
        seconds_per_step=choices["seconds_per_step"],
    )
    for text in warnings:
        context.log.warn(text)
    for text in remarks:
        context.log.info(f"    {text}")


def _session(
    stage: PretrainStage,
    state: TrainState,
    cut: Cut,
    runtime: Runtime,
    context: Context,
    shape: Shape,
    vocabulary: Vocabulary,
    choices: dict[str, Any],
) -> Session:
    return Session(
        state=state,
        objective=stage.objective,
        cut=cut,
        runtime=runtime,
        context=context,
        tokens_per_step=stage.batch * stage.length,
        flops_per_token=shape.layout().flops_per_token(vocabulary.size, stage.length),
        machine_flops=matrix_speed(DTYPES[choices["precision"]], runtime.device),
        save_every=stage.save_every,
    )


# ---- validating ----------------------------------------------------------------------------------


def _validator(stage: PretrainStage, session: Session, rows: list[Any], vocabulary: Vocabulary) -> Any:
    every = stage.evaluate_every or max(1, math.ceil(session.state.total / 6))

    def after(report: StepReport) -> bool:
        if rows and report.step % every == 0 and report.step < session.state.total:
            part = rows[:: max(1, len(rows) // 48)]
            loss = loss_over(
                session.state.model, stage.objective, part, vocabulary, session.runtime, batch=session.micro
            )
            session.context.log.metrics(step=report.step, validation_loss=loss.per_target)
            session.context.log.info(f"    step {report.step}: validation loss {loss.per_target:.4f} nats per token")
        return False

    return after


def _metrics(stage: PretrainStage, session: Session, feed: Feed, vocabulary: Vocabulary) -> dict[str, Any]:
    """Validation in float32 with the weights that were saved."""
    state, rows, stream = session.state, feed.validation, session.cut.stream
    assert isinstance(stream, StoreStream)
    metrics: dict[str, Any] = {
        "parameters": num_parameters(state.model),
        "tokens": stream.rows_before(state.step) * stage.length,
        "steps": state.step,
        "refused_steps": state.step - state.updates,
    }
    if not rows:
        return metrics
    with state.update.exact_weights():
        loss: Loss = loss_over(state.model, stage.objective, rows, vocabulary, session.runtime, batch=session.micro)
    session.context.log.metrics(step=state.step, validation_loss=loss.per_target)
    metrics["validation_loss"] = loss.per_target
    if stage.objective.kind == "causal":
        metrics["validation_bits_per_byte"] = bits_per_byte(loss, **feed.held_out)
    return metrics
