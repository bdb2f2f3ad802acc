"""What stage finetune does: load, train with an eye on the validation split, keep the best, save."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from pretune.base.artifact import Artifact, relative
from pretune.base.config import complete
from pretune.base.digest import digest
from pretune.base.errors import BadMessages, EmptyInput, NoTarget, OneClass, WrongKind
from pretune.base.stage import Context
from pretune.model.build import num_parameters
from pretune.model.folder import set_model_length, write_safetensors
from pretune.model.generate import NO_LIMIT, longest_of
from pretune.model.parts import layer_scales
from pretune.model.positions import num_positions
from pretune.model.recompute import recompute_blocks
from pretune.objective.objective import Objective, Row, Vocabulary, plain_model
from pretune.report.numbers import count
from pretune.task.finetune import FinetuneStage
from pretune.text.dataset.balance import read_weights
from pretune.text.dataset.example import check_scored, read_labels, read_split, shape_of
from pretune.train.forecast.forecasting import free_bytes, refuse_if_too_large, rows_of_about
from pretune.train.loop.runtime import Runtime, evaluating, give_freed_memory_back
from pretune.train.loop.steps import Scored, StepReport, TrainState, take_step
from pretune.train.loop.stream import Cut, RowStream
from pretune.train.optim.settings import Optim
from pretune.train.optim.update import Update
from pretune.train.run.assembly import narrow_of
from pretune.train.run.budget import planned_steps, steps_in, told_of_budget
from pretune.train.run.pretraining import vocabulary_of
from pretune.train.run.session import Session, keep_samples, note_samples
from pretune.train.run.settle import of_a_step, settled_precision
from pretune.train.run.speed import grown, remembered
from pretune.train.watch.page import write_run_page
from pretune.train.watch.track.follow import following
from pretune.train.watch.validate import loss_over

STEP = "a few rows of this model's step"
MICRO_TOKENS = 8192
"""Tokens of a micro-batch, padding not counted."""
RATES = {"full": 5e-5, "head": 1e-3, "lora": 5e-4}
"""Peak learning rates of AdamW by method: the usual ones; what they give on SST-2 stands in docs/LOG.md."""


@dataclass
class Work:
    """Everything one fine-tuning holds in its hands."""

    stage: FinetuneStage
    folder: Path
    labels: list[str] | None
    examples: list[Any]
    rows: list[Row]
    dev_examples: list[Any]
    dev_rows: list[Row]
    vocabulary: Vocabulary
    objective: Objective
    runtime: Runtime
    context: Context
    choices: dict[str, Any] = field(default_factory=dict)


def finetune(stage: FinetuneStage, base: Artifact, data: Artifact, out: Path, context: Context) -> dict[str, Any]:
    """Train and write the model (or adapter) folder; returns the metrics of the card."""
    work = _prepared(stage, base, data, context)
    model = _model(work, context.seed)
    state = _state(work, model)
    session = _session(work, state)
    context.log.info(
        f"    {num_examples(work.rows):,} examples, {count(num_parameters(model))} parameters "
        f"({count(sum(p.numel() for p in state.update.weights.values()))} train), {state.total} steps, "
        f"{work.choices['precision']}, micro-batch {work.choices['micro_batch']}"
    )
    session.take_up()
    with following(stage.track if work.runtime.rank == 0 else [], context, complete(stage)):
        started = time.monotonic()
        session.run(_watch(work, state))
        _take_best(work, state)
    metrics = _final_metrics(work, state) | {"train_seconds": round(time.monotonic() - started, 1)}
    metrics |= session.summary()
    weights = state.update.final()
    home = relative(base.path, context.home)
    with state.update.exact_weights():
        stage.method.save(model, out, base=home, tokenizer=work.folder, weights=weights)
    set_model_length(out, min(stage.max_length, _longest(model)) if work.labels else _longest(model))
    keep_samples(context, out)
    write_run_page(stage, {"model": base, "data": data}, metrics, out, context)
    return metrics | work.choices | {"micro_batch": session.micro}


def _prepared(stage: FinetuneStage, base: Artifact, data: Artifact, context: Context) -> Work:
    if shape_of(data.path) != stage.task.shape:
        known = {"label": "task=classify", "dialogue": "task=chat"}
        hint = known.get(shape_of(data.path), "tasks there are: classify (shape label), chat (shape dialogue)")
        raise WrongKind(
            f"task={stage.task.kind} needs {stage.task.shape} examples, these are {shape_of(data.path)}", hint=hint
        )
    labels = read_labels(data.path) if stage.task.shape == "label" else None
    if labels is not None and len(labels) < 2:
        raise OneClass(f"all examples carry the label {labels[0]!r}" if labels else "no example carries a label")
    examples, dev = read_split(data.path, "train"), read_split(data.path, "validation")
    if not examples:
        raise EmptyInput(f"{data.path.as_posix()} has no training examples")
    check_scored([*examples, *dev])
    length = min(stage.max_length, _longest_of_folder(base.path))
    rows = stage.task.rows(examples, base.path, labels, max_length=length, warn=context.log.warn)
    dev_rows = _validation_rows(stage, dev, base.path, labels, length, context) if dev else []
    runtime = Runtime.start(stage.device)
    vocabulary = vocabulary_of(base.path)
    objective = stage.task.objective(_class_weights(data.path, labels))
    work = Work(stage, base.path, labels, examples, rows, dev, dev_rows, vocabulary, objective, runtime, context)
    work.choices = context.choose("run", lambda: _settle(work))
    return work


def _validation_rows(
    stage: FinetuneStage, dev: Sequence[Any], folder: Path, labels: Sequence[str] | None, length: int, context: Context
) -> list[Row]:
    """The rows of the validation split; none, with a warning, where nothing of it can be scored."""
    warn = context.log.warn
    try:
        return stage.task.rows(dev, folder, labels, max_length=length, warn=lambda told: warn(f"validation: {told}"))
    except (NoTarget, BadMessages) as error:
        warn(f"nothing of the validation split can be scored, so the last weights are kept: {error.problem}")
        return []


def num_examples(rows: Sequence[Row]) -> int:
    """Examples that the rows hold: a packed row has several."""
    return sum(int(row["segments"].max()) + 1 if "segments" in row else 1 for row in rows)


def _class_weights(data: Path, labels: Sequence[str] | None) -> list[float] | None:
    """The dataset's weight of each label, in their order; 1 for one that train does not have."""
    weights = read_weights(data)
    return [weights.get(name, 1.0) for name in labels] if weights is not None and labels else None


def _settle(work: Work) -> dict[str, Any]:
    stage = work.stage
    precision = settled_precision(stage.precision, work.runtime.device, work.context.log)
    tokens_per_row = sum(len(r["ids"]) for r in work.rows) / len(work.rows)
    again, micro = _fitting(
        work, precision, stage.micro_batch or rows_of_about(MICRO_TOKENS, tokens_per_row, stage.batch)
    )
    budget = budget_of(stage)
    seconds = 0.0
    if stage.minutes is not None or stage.optim.warms_by_time:
        work.choices = {"precision": precision, "micro_batch": micro, "recomputed": again, "steps": 1000}
        seconds = float(
            remembered(_mark(work, tokens_per_row), lambda: _step_seconds(work, tokens_per_row), work.context.log, STEP)
        )
    if budget.minutes is not None:
        steps = _steps_in_minutes(work, budget.minutes, seconds)
    else:
        steps = planned_steps(budget, rows=len(work.rows), batch=stage.batch, tokens_per_row=tokens_per_row)
    for text in told_of_budget(stage, steps=steps, rows=len(work.rows), batch=stage.batch, seconds_per_step=seconds)[0]:
        work.context.log.warn(text)
    warmup = stage.optim.warmup_steps(tokens_per_step=stage.batch * tokens_per_row, seconds_per_step=seconds)
    return {"precision": precision, "micro_batch": micro, "recomputed": again, "steps": steps, "warmup": warmup}


def _fitting(work: Work, precision: str, micro: int) -> tuple[int, int]:
    """Blocks to compute again, and `micro` or as many rows as fit into the memory that is free."""
    from pretune.task.foretell import finetuning_plan, fitting_cut

    config = json.loads((work.folder / "config.json").read_text(encoding="utf-8"))
    longest = max(len(row["ids"]) for row in work.rows)
    room = free_bytes(work.runtime.device)
    device = work.runtime.device
    with work.context.log.timing("forecast"):
        again, rows = fitting_cut(work.stage, config, precision, longest, micro, device, room)
    if work.stage.micro_batch is None and work.stage.optim.offload == "none":  # else it holds less than is foretold
        refuse_if_too_large(finetuning_plan(work.stage, config, precision, longest, device, again), rows, room)
    return again, rows


def budget_of(stage: FinetuneStage) -> FinetuneStage:
    """The stage with its budget, or with the epochs that are usual for its task."""
    given = (stage.steps, stage.epochs, stage.tokens_read, stage.minutes)
    return stage if any(b is not None for b in given) else stage.model_copy(update={"epochs": stage.task.epochs})


def _mark(work: Work, tokens_per_row: float) -> str:
    """What the speed of a step depends on, but for the machine."""
    stage = work.stage
    parts = [
        (work.folder / "config.json").read_text(encoding="utf-8"),
        work.choices,
        stage.batch,
        round(tokens_per_row),
    ]
    return f"seconds {digest([*parts, *(s.model_dump(mode='json') for s in (stage.task, stage.method, stage.optim))])}"


def _step_seconds(work: Work, tokens_per_row: float) -> float:
    """Seconds of a step on a throw-away model, for a budget in minutes; as if its rows had the usual length."""
    state, alone = _state(work, _model(work, 0)), Runtime(work.runtime.device)
    whole = replace(_cut(work), rank=0, world=1)

    def step(number: int) -> float:
        batch = replace(whole, micro=number).batches(0)[0]
        tokens = batch["input_ids"].shape[1]
        return take_step(state, work.objective, [batch], alone).seconds * tokens_per_row / tokens

    return of_a_step(grown(step, int(work.choices["micro_batch"])), work.stage.batch)


def _steps_in_minutes(work: Work, minutes: float, seconds: float) -> int:
    """Steps between what was spent by now and the last evaluation; an evaluation of a row costs two forward passes."""
    stage = work.stage
    a_look = len(work.dev_rows) * seconds / stage.batch * 2 / 3
    every = stage.evaluate_every or _stream(work).steps_per_epoch
    left = minutes * 60 - (time.monotonic() - work.context.started) - a_look
    return steps_in(left, seconds + a_look / every)


def _model(work: Work, seed: int) -> Any:
    task, method = work.stage.task, work.stage.method
    torch.manual_seed(seed)
    model, heads = task.load(work.folder, work.labels, seed=seed)
    return method.apply(model, heads=heads).to(work.runtime.device)


def _optim(stage: FinetuneStage) -> Optim:
    if stage.optim.kind != "adamw" or stage.optim.learning_rate is not None:
        return stage.optim
    return stage.optim.model_copy(update={"learning_rate": RATES.get(stage.method.kind, RATES["full"])})


def _state(work: Work, model: Any) -> TrainState:
    if work.choices.get("recomputed"):
        give_freed_memory_back()
    folder = work.context.scratch / "offload"
    return training_state(model, work.stage, work.objective, work.choices, work.runtime, folder)


def training_state(
    model: Any,
    stage: FinetuneStage,
    objective: Objective,
    choices: dict[str, Any],
    runtime: Runtime,
    folder: Path | None = None,
) -> TrainState:
    if choices.get("recomputed", 0):
        recompute_blocks(plain_model(model), choices["recomputed"])
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    scales = layer_scales(trained, stage.layer_decay) if stage.layer_decay < 1 else None
    narrow, optim = narrow_of(choices["precision"]), _optim(stage).settled(choices.get("warmup"))
    update = Update(model, optim, narrow=narrow, scales=scales, folder=folder)
    scored = runtime.wrap(Scored(model, objective))
    return TrainState(model=model, scored=scored, update=update, total=int(choices["steps"]))


def _stream(work: Work) -> RowStream:
    return RowStream(work.rows, work.stage.batch, work.context.seed, group=work.stage.task.grouped)


def _cut(work: Work) -> Cut:
    runtime = work.runtime
    micro = int(work.choices["micro_batch"])
    return Cut(_stream(work), work.objective, work.vocabulary, work.context.seed, micro, runtime.rank, runtime.world)


def _session(work: Work, state: TrainState) -> Session:
    tokens = sum(len(r["ids"]) for r in work.rows) / len(work.rows) * work.stage.batch
    cut = _cut(work)
    return Session(state, work.objective, cut, work.runtime, work.context, tokens, save_every=work.stage.save_every)


# ---- the validation split ------------------------------------------------------------------------


def _scores(work: Work, state: TrainState) -> dict[str, float]:
    """Loss and scores on the validation split, in float32 with the exact weights."""
    stage = work.stage
    with state.update.exact_weights(), evaluating(state.model):
        micro = state.micro or int(work.choices["micro_batch"])
        loss = loss_over(state.model, work.objective, work.dev_rows, work.vocabulary, work.runtime, batch=micro)
        ready = stage.task.ready(state.model, work.folder, work.labels, max_length=stage.max_length)
        prompts = stage.task.questions(work.dev_examples) if stage.prompts is None else stage.prompts
        note_samples(work.context, state.step, stage.task.texts(ready, prompts))
        return {"loss": loss.per_target, **stage.task.score(ready, work.dev_examples)}


def _watch(work: Work, state: TrainState) -> Any:
    """After each step: evaluate when due, keep the best weights, stop when it has stalled."""
    every = work.stage.evaluate_every or _stream(work).steps_per_epoch

    def after(report: StepReport) -> bool:
        last = report.step == state.total
        if not work.dev_rows or (report.step % every and not last):
            return False
        log = work.context.log
        with log.timing("validation"):
            scores = _scores(work, state)
        log.metrics(step=report.step, **{f"validation_{k}": v for k, v in scores.items()})
        shown = "  ".join(f"{k} {v:.4f}" for k, v in scores.items())
        better = _is_better(work, state, scores)
        log.info(f"    step {report.step}: validation {shown}{'  (best so far)' if better else ''}")
        if better:
            state.extra |= {"best": scores, "best_step": report.step, "stalled": 0}
            final = state.update.final()
            trained = {n: final[n] for n in state.update.weights}
            write_safetensors(trained, work.context.scratch / "best.safetensors")
        else:
            state.extra["stalled"] = state.extra.get("stalled", 0) + 1
        return bool(state.extra["stalled"] >= work.stage.patience)

    return after


def _is_better(work: Work, state: TrainState, scores: dict[str, float]) -> bool:
    """By the task's score, higher is better; among equals, and for `loss` itself, by the lower loss. NaN never is."""
    if not math.isfinite(scores["loss"]):
        return False
    best = state.extra.get("best")
    return best is None or _rank(work, scores) > _rank(work, best)


def _rank(work: Work, scores: dict[str, float]) -> tuple[float, float]:
    name = work.stage.task.better
    return (scores[name] if name != "loss" else 0.0, -scores["loss"])


def _take_best(work: Work, state: TrainState) -> None:
    path = work.context.scratch / "best.safetensors"
    if "best" not in state.extra or state.extra["best_step"] == state.step:
        return
    state.update.settle(load_file(path))


def _final_metrics(work: Work, state: TrainState) -> dict[str, Any]:
    best = {f"validation_{k}": v for k, v in state.extra.get("best", {}).items()}
    return {
        **best,
        "best_step": state.extra.get("best_step", state.step),
        "steps_taken": state.step,
        "parameters": num_parameters(state.model),
        "trained_parameters": sum(p.numel() for p in state.update.weights.values()),
        "examples": num_examples(work.rows),
        **({"examples_left_out": left} if (left := len(work.examples) - num_examples(work.rows)) else {}),
    }


# ---- lengths -------------------------------------------------------------------------------------


def _longest(model: Any) -> int:
    return longest_of(plain_model(model).config)


def _longest_of_folder(folder: Path) -> int:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return num_positions(config) or NO_LIMIT
