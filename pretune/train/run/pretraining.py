"""What stage pretrain does: build, measure, train, validate, save."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path

import torch

from pretune.base.artifact import Artifact, below, unlike
from pretune.base.config import complete
from pretune.base.errors import NotSupported
from pretune.base.json import Json
from pretune.base.stage import Context, Forecast, Machine
from pretune.model.build import num_parameters
from pretune.model.families import family_of
from pretune.model.folder import config_of, quiet_transformers, save_model, set_model_length
from pretune.model.generate import read_length
from pretune.model.layers import with_layers
from pretune.model.shape import SHAPE
from pretune.objective.blocks import drop_projection
from pretune.objective.distil import Distil
from pretune.report.numbers import count
from pretune.text.corpus.proportions import Proportions
from pretune.tokens.encode.additions import add_controls, lacking
from pretune.tokens.encode.tokenizer import Specials, special_ids
from pretune.tokens.rows import Vocabulary, vocabulary_of
from pretune.tokens.store.packing import Rows
from pretune.train.forecast.choosing import attention_for, resolved_precision, usual_speed
from pretune.train.forecast.forecast import forecast_of
from pretune.train.forecast.speed import QUIET
from pretune.train.loop.feed import Feed, one_tokenizer, open_feed
from pretune.train.loop.runtime import Runtime, device_of
from pretune.train.loop.session import Session, begin, keep_samples
from pretune.train.loop.sources import VALIDATION_ROWS
from pretune.train.loop.spec import Looks, TrainSpec
from pretune.train.loop.stream import StoreStream
from pretune.train.parallel.settings import check_model
from pretune.train.run.resolve import resolve
from pretune.train.run.settings import PretrainSettings, resolved_shape
from pretune.train.run.starting import SHORTEST_WINDOW, Start, fresh, going_on, outlined, tokenizer_for
from pretune.train.run.teaching import with_teacher
from pretune.train.watch.page import write_run_page
from pretune.train.watch.track.follow import following
from pretune.train.watch.watching import DOMAIN, SHARE_OF_LOOKS, Watch, writer_of

MICRO_TOKENS = {"cpu": 4096, "mps": 4096, "cuda": 16384}
"""Tokens of a micro-batch, by device; on a CPU more of them take memory and win little."""
EARLIER = "pretune.task.remember.watched:of_pretraining"
USUAL_VOCABULARY = 8192
"""For forecasts from tokens whose vocabulary is not known yet: what the tokenizer stage learns by default."""


def pretrain(settings: PretrainSettings, inputs: Mapping[str, Artifact], out: Path, context: Context) -> Json:
    """Train on token stores and write the model folder; returns the metrics of the card."""
    quiet_transformers()
    runtime = Runtime.start(settings.device, settings.parallel)
    stores = {place.removeprefix("tokens."): one for place, one in inputs.items() if place.startswith("tokens")}
    base = inputs.get("base")
    general: dict[str, Artifact] = {}
    for one in (one for one in below(inputs, "watch") if one.card.kind == "tokens"):
        general[unlike(one.path.name, [DOMAIN, *general])] = one
    tokenizer = one_tokenizer({**stores, **{f"watch {name}": one for name, one in general.items()}})
    tokenizer = tokenizer_for(base.path, tokenizer) if base else tokenizer
    tokenizer = completed_tokenizer(settings, tokenizer, context)
    vocabulary = vocabulary_of(tokenizer)
    if told := settings.objective.remark():
        context.log.info(f"    {told}")
    form = settings.objective.form(settings.length, vocabulary)
    read = partial(open_feed, form=form, packing=settings.packing, seed=context.seed, tokenizer=tokenizer)
    feed = read(stores, mixture=settings.mixture)
    watched = {name: read({name: one}, mixture=Proportions()) for name, one in general.items()}
    start = _start(settings, base, feed, tokenizer, vocabulary, runtime, context)
    spec = spec_of(settings, start, vocabulary, device=runtime.device, seed=context.seed, rows=feed.rows)
    if isinstance(settings.objective, Distil):
        spec = with_teacher(spec, settings.objective, inputs["objective.teacher"].path, tokenizer, narrow=True)
    choices = context.choose("run", lambda: resolve(spec, context.log, context.started))
    ramp = int(settings.batch_ramp * choices["steps"])
    spec = replace(spec, stream=StoreStream(feed.rows, settings.batch, ramp))
    session = begin(spec, choices, runtime, context)
    model = session.state.model
    context.log.info(
        f"    {start.name}: {count(num_parameters(model))} parameters, {session.state.total} steps of "
        f"{settings.batch} x {settings.length} tokens, {choices['precision']}, micro-batch {choices['micro_batch']}"
        f"{', compiled' if choices['compile'] else ''}"
    )
    torch.manual_seed(context.seed)  # dropout draws the same, whether or not measuring has drawn before
    watch = Watch(session, feed, writer_of(spec, feed, tokenizer), watched, goes_on=base is not None)
    earlier = _earlier(base, [one for one in below(inputs, "watch") if one.card.kind != "tokens"], session)
    session.resume()
    watch.resume()
    watch.begin()
    with following(settings.track if runtime.rank == 0 else [], context, complete(settings)):
        started = time.monotonic()
        session.run(watch.after)
        seconds = time.monotonic() - started
        metrics = watch.finish() | {"train_seconds": round(seconds, 1), **start.told}
        drop_projection(model)
        kept = family_of(model).kept(model)
        metrics |= {**choices, "micro_batch": session.micro, "parameters": num_parameters(kept)}
    if not session.leads:
        return metrics
    for name, figures in earlier().items():
        metrics[name] = metrics.get(name, {}) | figures
    final = session.state.update.final()
    save_model(kept, out, tokenizer=tokenizer, weights={n: final[n] for n, _ in kept.named_parameters()})
    set_model_length(out, max(settings.length, read_length(base.path, model.config) if base else 0))
    keep_samples(context, out)
    write_run_page("pretrain", complete(settings), inputs, metrics, out, context)
    return metrics


def _start(
    settings: PretrainSettings,
    base: Artifact | None,
    feed: Feed,
    tokenizer: Path,
    vocabulary: Vocabulary,
    runtime: Runtime,
    context: Context,
) -> Start:
    head, attention = settings.objective.head, attention_for(runtime.device)
    if base is not None:
        folder = with_layers(base.path, settings.take_layers, context)
        check_model(config_of(folder), settings.parallel)
        return going_on(folder, head, tokenizer, vocabulary, length=settings.length, attention=attention)
    shape = SHAPE(context.choose("shape", lambda: _shape(settings, feed.num_tokens, vocabulary, runtime, context)))
    return fresh(shape, head, vocabulary, special_ids(tokenizer), length=settings.length, attention=attention)


def _earlier(base: Artifact | None, given: Sequence[Artifact], session: Session) -> Callable[[], Json]:
    """What is called after training for `before`, `after` and `forgotten` of tasks that the base was fine-tuned on.

    Who knows tasks is found by name: this package knows none.
    """
    if not given:
        return dict
    module, _, name = EARLIER.partition(":")
    found: Callable[[], Json] = getattr(import_module(module), name)(base, given, session)
    return found


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
    start: Start,
    vocabulary: Vocabulary,
    *,
    device: torch.device,
    seed: int = 0,
    rows: Rows | None = None,
    tokens: float = 0.0,
) -> TrainSpec:
    """All of a pretraining run.

    Args:
        start: the model before its first step.
        rows: what it reads; None for a forecast, from so many `tokens`.
    """
    method, layout, objective = start.method, start.layout, settings.objective
    return TrainSpec(
        settings=settings,
        objective=objective,
        vocabulary=vocabulary,
        outline=lambda: method.apply(start.outline(), heads=()),
        known_by=start.known_by,
        method=method,
        layers=layout.layers,
        length=settings.length,
        tokens_per_row=settings.length,
        rows=len(rows) if rows is not None else max(1, int(tokens / settings.length)),
        batch=settings.batch * settings.mean_share,
        micro_tokens=MICRO_TOKENS[device.type],
        attention=attention_for(device),
        compile="no" if settings.compile == "auto" and not objective.one_shape else settings.compile,
        flops_per_token=layout.flops_per_token(vocabulary.size, settings.length, objective.passed),
        device=device,
        seed=seed,
        looks=Looks(last=2 * VALIDATION_ROWS, share=SHARE_OF_LOOKS),
        make=lambda: method.apply(start.make(seed), heads=()).to(device),
        stream=StoreStream(rows, settings.batch) if rows is not None else None,
    )


def forecast_pretraining(
    settings: PretrainSettings,
    *,
    tokens: float,
    vocab_size: int,
    machine: Machine,
    timed: bool = True,
    base: Forecast | None = None,
) -> Forecast:
    """Seconds, bytes of memory and disk, and the model that comes out.

    Args:
        tokens: of the training split.
        vocab_size: 0 if it is not known yet.
        timed: whether seconds are told.
        base: the model that learns on.
    """
    quiet_transformers()
    device, controls = device_of(settings.device), settings.objective.controls
    size = (vocab_size or USUAL_VOCABULARY) + len(controls)
    specials = Specials(bos=None, eos=2, pad=0, unk=None, cls=2, sep=2, mask=1)
    added = dict(zip(controls, range(size - len(controls), size), strict=True))
    vocabulary = Vocabulary(size=size, pad=0, mask=1, cls=2, specials=(0, 1, 2), controls=added, end=2)
    head, attention = settings.objective.head, attention_for(device)
    if base is not None and base.config is not None:
        start = outlined(base.config, head, base.parameters, size, length=settings.length, attention=attention)
        config, parameters = dict(base.config), base.parameters
    else:
        flops = usual_speed(resolved_precision(settings.precision, device, QUIET), device)
        shape = resolved_shape(settings, tokens=int(tokens), vocab_size=size, flops=flops)
        start = fresh(shape, head, vocabulary, specials, length=settings.length, attention=attention)
        parameters = shape.layout().parameters(size, settings.length)
        window = max(settings.length, SHORTEST_WINDOW)
        config = {"model_type": shape.family, **shape.config(vocab_size=size, max_length=window, specials=specials)}
    return replace(
        forecast_of(spec_of(settings, start, vocabulary, device=device, tokens=tokens), machine, timed=timed),
        disk_bytes=4.0 * parameters + settings.keep.number * 12.0 * parameters,
        parameters=parameters,
        vocab_size=size,
        config=config,
    )
