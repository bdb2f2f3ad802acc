"""What stage pretrain does: build, measure, train, validate, save."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pretune.base.artifact import Artifact
from pretune.base.stage import Context
from pretune.model.build import num_parameters
from pretune.model.folder import quiet_transformers, save_model, set_model_length
from pretune.model.shape import SHAPE, Shape
from pretune.objective.base import Vocabulary
from pretune.tokens.tokenizer import load_tokenizer, special_ids
from pretune.train.assembly import DTYPES, Parts, new_cut, new_model, new_state
from pretune.train.feed import Feed, one_tokenizer, open_feed
from pretune.train.loop import StepReport, TrainState
from pretune.train.pretrain import PretrainStage
from pretune.train.runtime import Runtime, matrix_speed
from pretune.train.session import Session
from pretune.train.settle import settle
from pretune.train.stream import Cut
from pretune.train.validate import Loss, bits_per_byte, loss_over


def pretrain(stage: PretrainStage, stores: Mapping[str, Artifact], out: Path, context: Context) -> dict[str, Any]:
    """Train on token stores and write the model folder; returns the metrics of the card."""
    quiet_transformers()
    runtime = Runtime.start(stage.device)
    tokenizer = one_tokenizer(stores)
    vocabulary = vocabulary_of(tokenizer)
    feed = open_feed(stage, stores, vocabulary, context.seed)
    parts = Parts(stage, feed.rows, tokenizer, vocabulary, runtime, context.seed)
    choices = context.choose("run", lambda: settle(parts, num_tokens=feed.num_tokens, log=context.log))
    shape = SHAPE(choices["shape"])
    model = new_model(parts, shape, choices["attention"])
    state = new_state(parts, model, choices)
    cut = new_cut(parts, choices["micro_batch"])
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
    return _metrics(stage, session, feed, vocabulary) | {"train_seconds": round(seconds, 1), **choices}


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
            batch = session.cut.micro
            loss = loss_over(session.state.model, stage.objective, part, vocabulary, session.runtime, batch=batch)
            session.context.log.metrics(step=report.step, validation_loss=loss.per_target)
            session.context.log.info(f"    step {report.step}: validation loss {loss.per_target:.4f} nats per token")
        return False

    return after


def _metrics(stage: PretrainStage, session: Session, feed: Feed, vocabulary: Vocabulary) -> dict[str, Any]:
    """Validation in float32 with the weights that were saved."""
    state, rows = session.state, feed.validation
    metrics: dict[str, Any] = {
        "parameters": num_parameters(state.model),
        "tokens": int(state.step * session.tokens_per_step),
        "steps": state.step,
        "refused_steps": state.step - state.updates,
    }
    if not rows:
        return metrics
    with state.update.exact_weights():
        loss: Loss = loss_over(state.model, stage.objective, rows, vocabulary, session.runtime, batch=session.cut.micro)
    session.context.log.metrics(step=state.step, validation_loss=loss.per_target)
    metrics["validation_loss"] = loss.per_target
    if stage.objective.kind == "causal":
        metrics["validation_bits_per_byte"] = bits_per_byte(loss, **feed.held_out)
    return metrics
