"""What stage finetune does: load, train with an eye on the validation split, keep the best, save."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from pretune.base.artifact import Artifact, below, relative
from pretune.base.config import complete
from pretune.base.errors import NotSupported, WrongValue
from pretune.base.json import Json
from pretune.base.log import Log
from pretune.base.stage import Context, Forecast, Machine
from pretune.infer.answers import Text
from pretune.model.build import num_parameters
from pretune.model.families import family_named, num_positions, plain_model
from pretune.model.folder import config_of, quiet_transformers, set_model_length
from pretune.model.layers import with_layers
from pretune.model.methods.adapter import write_merged
from pretune.model.methods.method import Method
from pretune.model.methods.scratch import Scratch
from pretune.model.rounded import round_base
from pretune.objective.blocks import PROJECTION, drop_projection
from pretune.objective.objective import Objective
from pretune.report.numbers import count
from pretune.task.choosing import Best
from pretune.task.fresh import write_fresh
from pretune.task.keeping import keeping
from pretune.task.labelled_data import LabelledData
from pretune.task.privately import one_each
from pretune.task.rehearsal import Rehearsal, rehearsed
from pretune.task.remember.earlier import Past
from pretune.task.remember.remember import Remember
from pretune.task.remember.watched import before, forgotten, knows, watched
from pretune.task.settings import FinetuneSettings
from pretune.task.several import read_all
from pretune.task.task import Task
from pretune.tokens.rows import Vocabulary, vocabulary_of
from pretune.train.forecast.forecast import forecast_of
from pretune.train.loop.runtime import Runtime, device_of
from pretune.train.loop.session import Session, begin, keep_samples
from pretune.train.loop.spec import Choices, Looks, TrainSpec
from pretune.train.loop.step import TrainState
from pretune.train.loop.stream import RowStream
from pretune.train.parallel.settings import check_model
from pretune.train.run.resolve import resolve
from pretune.train.run.teaching import keep_told, with_teacher
from pretune.train.watch.page import write_run_page
from pretune.train.watch.track.follow import following

MICRO_TOKENS = 8192
"""Tokens of a micro-batch, padding not counted."""
NO_LIMIT = 1 << 20
"""Tokens of a row, for models whose config names no limit."""
FEWEST_LEFT = 8
"""Positions that a method must leave for text."""
LEAST_APART = 15
"""Steps between two looks at the validation split, where an epoch has fewer: no score moves in three steps."""
FEWEST_STEPS, MOST_EPOCHS = 300, 20.0
"""Steps of a run without a budget, as long as no example is read more often; it stops when its score stalls."""
BYTES_PER_TOKEN, TOKENS_PER_EXAMPLE = 4.0, 60.0
"""Of labelled text that nobody has read yet."""


def finetune(
    settings: FinetuneSettings,
    inputs: Mapping[str, Artifact],
    data: Mapping[str, Artifact],
    out: Path,
    context: Context,
) -> Json:
    """Train and write the model (or adapter) folder; returns the metrics of the card.

    Args:
        inputs: by their places.
        data: those of them that are learnt from, by the name of their task; of one task alone, under "".
    """
    base = inputs["model"]
    runtime, log = Runtime.start(settings.device, settings.parallel), context.log
    folder = _start(settings, base, context)
    config = config_of(folder)
    check_model(config, settings.parallel)
    longest = min(settings.max_length, room_for(settings.method, config))
    read = _read(settings, data, folder, longest, runtime, log)
    rehearsal = _rehearsal(settings, folder, longest, read, runtime, context)
    read, found = rehearsed(rehearsal, read, inputs.get("unlabelled"), out)
    plain = _spec(settings, folder, config, read, runtime, context)
    past = Past(base, folder, longest, context.seed, log, below(inputs, "remember.data"))
    remember = settings.remember or Remember()
    spec = _taught(settings, plain, inputs, read, folder, context)
    spec = remember.learnt(spec, past, read)
    choices: Choices = context.choose("run", lambda: resolve(spec, log, context.started))
    session = begin(spec, choices, runtime, context)
    state = session.state
    log.info(f"    {_told(state, read.num_examples, choices)}")
    read.task.start(session, read.rows, read.dev_rows)
    remember.start(session, past, read)
    things = watched(past, below(inputs, "watch"), session, taken=[one.path.name for one in data.values()])
    known = before(things, session)
    session.resume()
    best = Best(settings, session, read, folder, _every(settings, read), plain.objective)
    with (
        keeping(session, settings.method, read.rows, read.dev_rows),
        following(settings.track if runtime.rank == 0 else [], context, complete(settings)),
    ):
        started = time.monotonic()
        session.run(best.after)
        metrics = _best(best, remember) if session.leads else {}
    if not session.leads:
        return {}
    drop_projection(state.model)
    metrics |= {**best.metrics(), **forgotten(things, session, known), **state.extra.get("private", {})}
    metrics |= knows(read, data, metrics)
    metrics |= {**_sizes(state, read), "train_seconds": round(time.monotonic() - started, 1), **session.summary()}
    _write(settings, session, read.task, folder, out)
    keep_samples(context, out)
    for one in write_run_page("finetune", complete(settings), inputs, metrics, out, context):
        if one.name == "over-fit":
            log.warn(f"over-fit: {one.says}")
            metrics |= {"over_fit_from": int(one.evidence["step"]), "remedy": one.do}
    return metrics | found | choices | {"micro_batch": session.micro}


def _read(
    settings: FinetuneSettings,
    data: Mapping[str, Artifact],
    folder: Path,
    longest: int,
    runtime: Runtime,
    log: Log,
) -> LabelledData:
    """The examples as rows; of a private run one row each."""
    read = read_all(settings.task, {name: one.path for name, one in data.items()}, folder, longest, log)
    read.task.check_rows(read.rows, batch=settings.batch)
    return read if settings.optim.private is None else one_each(read, data, runtime.world)


def _taught(
    settings: FinetuneSettings,
    spec: TrainSpec,
    inputs: Mapping[str, Artifact],
    read: LabelledData,
    folder: Path,
    context: Context,
) -> TrainSpec:
    """The run with a teacher, where it has one; the teacher goes when all that it says of the rows is kept."""
    if settings.objective is None:
        return spec
    objective = settings.objective.around(spec.objective)
    found = with_teacher(spec, objective, inputs["objective.teacher"].path, folder)
    keep_told(objective, read.rows, spec.vocabulary, context, batch=spec.usual_micro)
    return found


def _rehearsal(
    settings: FinetuneSettings, folder: Path, longest: int, read: LabelledData, runtime: Runtime, context: Context
) -> Rehearsal:
    config = config_of(folder)
    return Rehearsal(
        settings,
        folder,
        runtime,
        context,
        spec=lambda data, inner: _spec(settings, folder, config, data, runtime, inner),
        rows=lambda examples: read.task.rows(examples, folder, read.labels, max_length=longest),
        every=lambda data: _every(settings, data),
    )


def _best(best: Best, remember: Remember) -> Json:
    """Go back to the best weights, and on from there as what is remembered asks; what was measured of it."""
    best.restore()
    metrics = remember.finish(best)
    return metrics | best.choose()


def _told(state: TrainState, examples: int, choices: Choices) -> str:
    train = count(sum(state.update.shown[name].numel() for name in state.update.trained))
    return (
        f"{examples:,} examples, {count(num_parameters(state.model))} parameters ({train} train), {state.total} steps, "
        f"{choices['precision']}, micro-batch {choices['micro_batch']}"
    )


def _write(settings: FinetuneSettings, session: Session, task: Task, folder: Path, out: Path) -> None:
    """The folder of the model; its tokenizer says how long a text may be."""
    state, home = session.state, relative(folder, session.context.home)
    weights = state.update.final()
    weights = {name: weight for name, weight in weights.items() if PROJECTION not in name}
    with state.update.exact_weights():
        left = task.fold(state.model, weights)
        task.save(settings.method, state.model, out, base=home, tokenizer=folder, weights=left)
    window = longest_of(plain_model(state.model).config.to_dict())
    is_cut = task.grouped and task.answers is not Text
    for place in sorted(out.rglob("tokenizer_config.json")):
        set_model_length(place.parent, min(settings.max_length, window) if is_cut else window)


def _start(settings: FinetuneSettings, base: Artifact, context: Context) -> Path:
    """The folder of the model that training begins with: what is given, or one with new weights."""
    if settings.fresh is None:
        return with_layers(_whole(settings, base.path, context), settings.take_layers, context)
    folder, shape = context.scratch / "fresh", settings.fresh

    def write() -> bool:
        write_fresh(shape, base.path, folder, max_length=settings.max_length, seed=context.seed)
        return True

    context.choose("fresh", write)
    return folder


def _whole(settings: FinetuneSettings, folder: Path, context: Context) -> Path:
    """The folder of a whole model; of an adapter, one in the scratch folder with the adapter merged into its base."""
    if not (folder / "adapter_config.json").is_file():
        return folder
    if settings.method.keeps_base:
        problem = f"{folder.as_posix()} is an adapter, and method={settings.method.kind} learns next to one base"
        hint = "make one model of both: pretune export ADAPTER --out BUNDLE to=huggingface; or train with method=full"
        raise NotSupported(problem, hint=hint)
    out = context.scratch / "merged"
    context.choose("merged", lambda: write_merged(folder, out))
    return out


def _sizes(state: Any, data: LabelledData) -> Json:
    left_out = len(data.examples) - data.num_examples
    return {
        "steps_taken": state.step,
        "parameters": num_parameters(state.model),
        "trained_parameters": sum(p.numel() for p in state.update.weights.values()),
        "examples": data.num_examples,
        **({"examples_left_out": left_out} if left_out else {}),
    }


def usual_epochs(task: Task, rows: int, batch: int) -> float:
    """The epochs of a task, and more where these would be few steps; of one that reads its examples once, one.

    Source: Mosbach et al. 2021, arXiv:2006.04884 (small sets are learnt in 20 epochs); ours: docs/LOG.md, wikigold.
    """
    return max(task.epochs, min(MOST_EPOCHS, FEWEST_STEPS * batch / rows)) if task.epochs > 1 else task.epochs


def longest_of(config: Mapping[str, Any]) -> int:
    """Tokens of the longest row that a model of this config reads."""
    return num_positions(config) or NO_LIMIT


def room_for(method: Method, config: Mapping[str, Any]) -> int:
    """Tokens of the longest text that a model of this config reads with a method.

    Raises:
        NotSupported: the method is none for such a model; WrongValue: it leaves hardly any.
    """
    method.check(family_named(config["model_type"]).config(config))
    positions, taken = longest_of(config), method.taken()
    if taken and positions - taken < FEWEST_LEFT:
        problem = (
            f"method.tokens={taken} leaves {max(0, positions - taken)} of the model's {positions} positions for text"
        )
        raise WrongValue(problem, hint=f"take at most {positions - FEWEST_LEFT} virtual tokens; 20 are usual")
    return positions - taken


def _every(settings: FinetuneSettings, data: LabelledData) -> int:
    return settings.evaluate_every or max(-(-len(data.rows) // settings.batch), LEAST_APART)


# ---- what a run is made of -----------------------------------------------------------------------


def _spec(
    settings: FinetuneSettings,
    folder: Path,
    config: Mapping[str, Any],
    data: LabelledData,
    runtime: Runtime,
    context: Context,
) -> TrainSpec:
    task = data.task

    def make() -> Any:
        torch.manual_seed(context.seed)
        model, heads = task.load(folder, data.labels, seed=context.seed)
        round_base(model, settings.base_precision)
        return settings.method.apply(model, heads=heads).to(runtime.device)

    looked = 2 * len(data.dev_rows)  # once for the loss, once for the answers
    spec = outlined(settings, task, config, task.objective(data.class_weights), vocabulary_of(folder), runtime.device)
    return replace(
        spec,
        length=max(len(row["ids"]) for row in data.rows),
        tokens_per_row=data.tokens_per_row,
        rows=len(data.rows),
        epochs=usual_epochs(task, len(data.rows), settings.batch),
        seed=context.seed,
        looks=Looks(last=looked, between=looked / _every(settings, data)),
        make=make,
        stream=RowStream(data.rows, settings.batch, context.seed, group=task.grouped),
    )


def outlined(
    settings: FinetuneSettings,
    task: Task,
    config: Mapping[str, Any],
    objective: Objective,
    vocabulary: Vocabulary,
    device: torch.device,
) -> TrainSpec:
    """A run from the config of its model alone; rows as long as they may be."""
    # Whatever type the folder has, it is loaded in float32.
    plain = {name: value for name, value in config.items() if name != "torch_dtype"} | {"dtype": "float32"}
    known = family_named(plain["model_type"]).config(plain)

    def outline() -> Any:
        model, heads = task.outline(copy.deepcopy(known))
        round_base(model, settings.base_precision)
        return settings.method.apply(model, heads=heads)

    length = min(settings.max_length, room_for(settings.method, known.to_dict()))
    return TrainSpec(
        settings=settings,
        objective=objective,
        vocabulary=vocabulary,
        outline=outline,
        known_by=[plain, *(part.model_dump(mode="json") for part in (task, settings.method)), settings.base_precision],
        method=_paced(settings),
        layers=int(config.get("num_hidden_layers") or config.get("n_layer") or 1),
        width=int(getattr(known.get_text_config(), "hidden_size", 0)),
        length=length,
        tokens_per_row=float(length),
        rows=1,
        batch=settings.batch,
        micro_tokens=1 if settings.optim.private is not None else MICRO_TOKENS,
        epochs=task.epochs,
        pace=task.pace,
        layer_decay=settings.layer_decay,
        device=device,
    )


def _paced(settings: FinetuneSettings) -> Method:
    """What says how fast weights learn: the method; of new weights their shape."""
    fresh = settings.fresh
    return settings.method if fresh is None else Scratch(kind="scratch", rate=fresh.usual_rate)


def forecast_finetuning(settings: FinetuneSettings, base: Forecast, data: Forecast, machine: Machine) -> Forecast:
    """Seconds, bytes of memory and disk of fine-tuning the model of `base`, whose config is known."""
    quiet_transformers()
    assert base.config is not None
    size = int(base.config.get("vocab_size") or base.vocab_size or 1)
    vocabulary = Vocabulary(size=size, pad=0, mask=1, cls=2, specials=(0, 1, 2))
    task = settings.task.for_model(base.config)
    own = task.objective()
    objective = settings.objective.around(own) if settings.objective else own
    spec = outlined(settings, task, base.config, objective, vocabulary, device_of(settings.device))
    tokens = data.tokens or data.text_bytes / BYTES_PER_TOKEN
    each = tokens / data.documents if data.documents else TOKENS_PER_EXAMPLE
    per_row = min(each, float(spec.length)) if task.grouped else float(spec.length)
    rows = max(1, int(tokens / per_row))
    spec = replace(spec, tokens_per_row=per_row, rows=rows, epochs=usual_epochs(task, rows, settings.batch))
    parameters = base.parameters or base.disk_bytes / 4
    kept = 4.0 * spec.width * tokens if settings.method.keeps() and spec.epochs > 1 else 0.0
    return replace(
        forecast_of(spec, machine),
        tokens=0,
        disk_bytes=4.0 * parameters + settings.keep.number * 12.0 * parameters + kept,
        parameters=parameters,
        config=base.config,
    )
