"""What stage pretrain does: build, measure, train, validate, save."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from pretune.base.artifact import Artifact
from pretune.base.config import complete
from pretune.base.errors import NotSupported
from pretune.base.json import Json
from pretune.base.stage import Context, Forecast, Machine
from pretune.model.build import build_model, num_parameters
from pretune.model.folder import quiet_transformers, save_model, set_model_length
from pretune.model.methods.scratch import Scratch
from pretune.model.shape import SHAPE, Shape
from pretune.report.numbers import count
from pretune.tokens.encode.additions import add_controls, lacking
from pretune.tokens.encode.tokenizer import Specials, special_ids
from pretune.tokens.rows import Vocabulary, vocabulary_of
from pretune.tokens.store.packing import Rows
from pretune.train.forecast.choosing import attention_for, resolved_precision, usual_speed
from pretune.train.forecast.forecast import forecast_of
from pretune.train.forecast.speed import QUIET
from pretune.train.loop.feed import one_tokenizer, open_feed
from pretune.train.loop.runtime import Runtime, device_of
from pretune.train.loop.session import begin, keep_samples
from pretune.train.loop.sources import VALIDATION_ROWS
from pretune.train.loop.spec import Looks, TrainSpec
from pretune.train.loop.stream import StoreStream
from pretune.train.run.resolve import resolve
from pretune.train.run.settings import PretrainSettings, resolved_shape
from pretune.train.watch.page import write_run_page
from pretune.train.watch.track.follow import following
from pretune.train.watch.watching import SHARE_OF_LOOKS, Watch, writer_of

MICRO_TOKENS = {"cpu": 4096, "mps": 4096, "cuda": 16384}
"""Tokens of a micro-batch, by device; on a CPU more of them take memory and win little."""
USUAL_VOCABULARY = 8192
"""For forecasts from tokens whose vocabulary is not known yet: what the tokenizer stage learns by default."""
SHORTEST_WINDOW = 512
"""Positions that a model has at least, however short its rows are."""


def pretrain(settings: PretrainSettings, stores: Mapping[str, Artifact], out: Path, context: Context) -> Json:
    """Train on token stores and write the model folder; returns the metrics of the card."""
    quiet_transformers()
    runtime = Runtime.start(settings.device)
    tokenizer = completed_tokenizer(settings, one_tokenizer(stores), context)
    vocabulary = vocabulary_of(tokenizer)
    form = settings.objective.form(settings.length, vocabulary)
    feed = open_feed(stores, form, settings.packing, settings.mixture, seed=context.seed, tokenizer=tokenizer)
    shape = SHAPE(context.choose("shape", lambda: _shape(settings, feed.num_tokens, vocabulary, runtime, context)))
    specials = special_ids(tokenizer)
    spec = spec_of(settings, shape, vocabulary, specials, device=runtime.device, seed=context.seed, rows=feed.rows)
    choices = context.choose("run", lambda: resolve(spec, context.log, context.started))
    ramp = int(settings.batch_ramp * choices["steps"])
    spec = replace(spec, stream=StoreStream(feed.rows, settings.batch, ramp))
    session = begin(spec, choices, runtime, context)
    model = session.state.model
    context.log.info(
        f"    {shape.kind}: {count(num_parameters(model))} parameters, {session.state.total} steps of "
        f"{settings.batch} x {settings.length} tokens, {choices['precision']}, micro-batch {choices['micro_batch']}"
        f"{', compiled' if choices['compile'] else ''}"
    )
    torch.manual_seed(context.seed)  # dropout draws the same, whether or not measuring has drawn before
    watch = Watch(session, feed, writer_of(spec, feed, tokenizer))
    session.resume()
    watch.resume()
    with following(settings.track if runtime.rank == 0 else [], context, complete(settings)):
        started = time.monotonic()
        session.run(watch.after)
        seconds = time.monotonic() - started
        metrics = watch.finish() | {"train_seconds": round(seconds, 1), "shape": shape.model_dump(mode="json")}
        metrics |= {**choices, "micro_batch": session.micro}
    if not session.leads:
        return metrics
    save_model(model, out, tokenizer=tokenizer, weights=session.state.update.final())
    set_model_length(out, settings.length)
    keep_samples(context, out)
    write_run_page("pretrain", complete(settings), stores, metrics, out, context)
    return metrics


def completed_tokenizer(settings: PretrainSettings, folder: Path, context: Context) -> Path:
    """The tokenizer of the stores, or a copy of it in the scratch folder with what the objective needs besides.

    Raises:
        NotSupported: it lacks a token, and new_words=no.
    """
    objective = settings.objective
    if not (tokens := lacking(folder, objective.needs, objective.controls)):
        return folder
    told = f"{', '.join(list(tokens)[:4])}{' ...' if len(tokens) > 4 else ''}"
    if not settings.new_words:
        hint = "leave new_words=yes: they are added behind its last id, and the tokens stay valid"
        raise NotSupported(f"objective={objective.kind} needs {told}, which the tokenizer lacks", hint=hint)
    context.log.info(f"    added behind the tokenizer's last token for objective={objective.kind}: {told}")
    rank = context.team.rank
    return add_controls(folder, tokens, context.scratch / (f"tokenizer-{rank}" if rank else "tokenizer"))


def _shape(
    settings: PretrainSettings, num_tokens: int, vocabulary: Vocabulary, runtime: Runtime, context: Context
) -> Json:
    precision = resolved_precision(settings.precision, runtime.device, context.log)
    flops = usual_speed(precision, runtime.device, context.log)
    found = resolved_shape(settings, tokens=num_tokens, vocab_size=vocabulary.size, flops=flops)
    return found.model_dump(mode="json")


def spec_of(
    settings: PretrainSettings,
    shape: Shape,
    vocabulary: Vocabulary,
    specials: Specials,
    *,
    device: torch.device,
    seed: int = 0,
    rows: Rows | None = None,
    tokens: float = 0.0,
) -> TrainSpec:
    """All of a pretraining run.

    Args:
        rows: what it reads; None for a forecast, from so many `tokens`.
    """
    window, layout = max(settings.length, SHORTEST_WINDOW), shape.layout()
    attention = attention_for(device)
    model = partial(
        build_model,
        shape,
        settings.objective.head,
        vocab_size=vocabulary.size,
        max_length=window,
        specials=specials,
        attention=attention,
    )
    method, compiled = Scratch(kind="scratch"), settings.compile
    return TrainSpec(
        settings=settings,
        objective=settings.objective,
        vocabulary=vocabulary,
        outline=lambda: method.apply(model(seed=0), heads=()),
        known_by=[shape.model_dump(mode="json"), vocabulary.size, window, attention],
        method=method,
        layers=layout.layers,
        length=settings.length,
        tokens_per_row=settings.length,
        rows=len(rows) if rows is not None else max(1, int(tokens / settings.length)),
        batch=settings.batch * settings.mean_share,
        micro_tokens=MICRO_TOKENS[device.type],
        attention=attention,
        compile="no" if compiled == "auto" and not settings.objective.one_shape else compiled,
        flops_per_token=layout.flops_per_token(vocabulary.size, settings.length, settings.objective.passed),
        device=device,
        seed=seed,
        looks=Looks(last=2 * VALIDATION_ROWS, share=SHARE_OF_LOOKS),
        make=lambda: method.apply(model(seed=seed), heads=()).to(device),
        stream=StoreStream(rows, settings.batch) if rows is not None else None,
    )


def forecast_pretraining(
    settings: PretrainSettings, *, tokens: float, vocab_size: int, machine: Machine, timed: bool = True
) -> Forecast:
    """Seconds, bytes of memory and disk, and the model that comes out.

    Args:
        tokens: of the training split.
        vocab_size: 0 if it is not known yet.
        timed: whether seconds are told.
    """
    quiet_transformers()
    device, controls = device_of(settings.device), settings.objective.controls
    size = (vocab_size or USUAL_VOCABULARY) + len(controls)
    flops = usual_speed(resolved_precision(settings.precision, device, QUIET), device)
    shape = resolved_shape(settings, tokens=int(tokens), vocab_size=size, flops=flops)
    specials = Specials(bos=None, eos=2, pad=0, unk=None, cls=2, sep=2, mask=1)
    added = dict(zip(controls, range(size - len(controls), size), strict=True))
    vocabulary = Vocabulary(size=size, pad=0, mask=1, cls=2, specials=(0, 1, 2), controls=added, end=2)
    spec = spec_of(settings, shape, vocabulary, specials, device=device, tokens=tokens)
    parameters = shape.layout().parameters(size, settings.length)
    window = max(settings.length, SHORTEST_WINDOW)
    config = shape.config(vocab_size=size, max_length=window, specials=specials)
    return replace(
        forecast_of(spec, machine, timed=timed),
        disk_bytes=4.0 * parameters + 2 * 12.0 * parameters,
        parameters=parameters,
        vocab_size=size,
        config={"model_type": shape.family, **config},
    )
