"""What stage pretrain does: build, measure, train, validate, save."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import astuple
from pathlib import Path
from typing import Any

import torch

from pretune.base.artifact import Artifact
from pretune.base.config import complete
from pretune.base.stage import Context
from pretune.model.build import num_parameters
from pretune.model.folder import quiet_transformers, save_model, set_model_length
from pretune.model.shape import SHAPE, Shape
from pretune.objective.objective import Vocabulary
from pretune.report.numbers import count
from pretune.tokens.encode.tokenizer import load_tokenizer, special_ids
from pretune.train.loop.feed import Feed, one_tokenizer, open_feed
from pretune.train.loop.runtime import Runtime, give_freed_memory_back
from pretune.train.loop.steps import TrainState
from pretune.train.loop.stream import Cut
from pretune.train.run.assembly import DTYPES, Parts, mean_share, new_cut, new_model, training_state
from pretune.train.run.budget import told_of_budget
from pretune.train.run.pretrain import PretrainStage
from pretune.train.run.session import Session, keep_samples
from pretune.train.run.settle import settle
from pretune.train.run.speed import matrix_speed
from pretune.train.watch.page import write_run_page
from pretune.train.watch.track.follow import following
from pretune.train.watch.watching import Watch, writer_of


def pretrain(stage: PretrainStage, stores: Mapping[str, Artifact], out: Path, context: Context) -> dict[str, Any]:
    """Train on token stores and write the model folder; returns the metrics of the card."""
    quiet_transformers()
    runtime = Runtime.start(stage.device)
    tokenizer = one_tokenizer(stores)
    vocabulary = vocabulary_of(tokenizer)
    feed = open_feed(stage, stores, vocabulary, context.seed)
    parts = Parts(stage, feed.rows, tokenizer, vocabulary, runtime, context.seed)
    choices = context.choose(
        "run", lambda: settle(parts, num_tokens=feed.num_tokens, log=context.log, started=context.started)
    )
    if choices["recomputed"]:
        give_freed_memory_back()
    shape = SHAPE(choices["shape"])
    model = new_model(parts, shape, choices["attention"])
    state = training_state(model, stage, choices, runtime, context.scratch / "offload")
    cut = new_cut(parts, choices["micro_batch"], ramp=int(stage.batch_ramp * state.total))
    _tell_of_budget(stage, feed, choices, context)
    context.log.info(
        f"    {shape.kind}: {count(num_parameters(model))} parameters, {state.total} steps of "
        f"{stage.batch} x {stage.length} tokens, {choices['precision']}, micro-batch {choices['micro_batch']}"
        f"{', compiled' if choices['compile'] else ''}"
    )
    session = _session(stage, state, cut, runtime, context, shape, vocabulary, choices)
    torch.manual_seed(context.seed)  # dropout draws the same, whether or not measuring has drawn before
    watch = Watch(stage, session, feed, vocabulary, writer_of(stage, feed, tokenizer))
    session.take_up()
    watch.take_up()
    with following(stage.track if runtime.rank == 0 else [], context, complete(stage)):
        started = time.monotonic()
        session.run(watch.after)
        seconds = time.monotonic() - started
        metrics = watch.finish() | {"train_seconds": round(seconds, 1), **choices, "micro_batch": session.micro}
    save_model(model, out, tokenizer=tokenizer, weights=state.update.final())
    set_model_length(out, stage.length)
    keep_samples(context, out)
    write_run_page(stage, stores, metrics, out, context)
    return metrics


def vocabulary_of(folder: Path) -> Vocabulary:
    """Size and special ids of a tokenizer folder: those its configuration names, and its other control tokens."""
    tokenizer = load_tokenizer(folder)
    specials = special_ids(folder, tokenizer)
    controls = {number for number, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    ids = controls | {number for number in astuple(specials) if number is not None}
    pad = specials.pad if specials.pad is not None else (specials.eos or 0)
    size = tokenizer.get_vocab_size(with_added_tokens=True)
    return Vocabulary(size=size, pad=pad, mask=specials.mask, cls=specials.cls, specials=tuple(sorted(ids)))


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
        machine_flops=matrix_speed(DTYPES[choices["precision"]], runtime.device, context.log),
        save_every=stage.save_every,
    )
