"""How good a model is on data, in a few figures: to report before and after it is compressed.

    labelled data     what its task chooses the best model by: accuracy, or the loss of the replies (nats per token)
    tokens            loss (nats per token) and bits per byte

Labelled data is read by the code that serves. Loss is that of rows in float32; a sample, evenly spread over the
validation split (the test split where there is no other), stands for the whole.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pretune.base.artifact import Artifact
from pretune.base.errors import EmptyInput, NotSupported
from pretune.base.sample import evenly
from pretune.infer.predictor import Predictor, Streams
from pretune.objective.objective import Objective
from pretune.objective.pretraining.causal import Causal
from pretune.task.task import Task, judging
from pretune.text.dataset.example import Example, read_split
from pretune.tokens.rows import Row, Vocabulary
from pretune.tokens.store.store import Store

if TYPE_CHECKING:
    from pretune.train.watch.validate import Loss

MOST_EXAMPLES = 1000
MOST_ROWS = 128
MOST_LENGTH = 512


def quality(ready: Predictor, folder: Path, data: Artifact) -> dict[str, float]:
    """Figures of a torch model on a dataset or tokens.

    Args:
        folder: of the model, with its tokenizer.

    Raises:
        NotSupported: the data does not suit the model; EmptyInput: there is no validation or test split.
    """
    if data.card.kind == "tokens":
        return _on_tokens(ready, data.path)
    task, ready = judging(ready, data.path, name="the model")
    examples = read_split(data.path, "validation") or read_split(data.path, "test")
    if not examples:
        raise EmptyInput(f"{data.path.as_posix()} has neither a validation nor a test split")
    if task.better != "loss":
        return _score_of(task, ready, examples)
    return _loss(ready, task.objective(), rows_of(task, ready, examples, folder, MOST_ROWS))


def better_of(figures: Mapping[str, float]) -> tuple[str, float]:
    """The figure that counts, and its sign: 1 where more is better, -1 of a loss."""
    name = next(iter(figures))
    return name, -1.0 if name == "loss" else 1.0


def lost(before: Mapping[str, float], after: Mapping[str, float]) -> float:
    """How much worse a model became, in points: hundredths of a score, or per cent of a loss; below 0: it is better."""
    name, sign = better_of(before)
    return sign * 100 * (before[name] - after[name]) / (1.0 if sign > 0 else before[name])


def _score_of(task: Task, ready: Predictor, examples: Sequence[Example]) -> dict[str, float]:
    chosen = evenly(examples, MOST_EXAMPLES)
    known = ready.facts.said or ()
    if strange := task.judge.strange(chosen, known):
        problem = f"the data has labels that the model does not know: {', '.join(map(repr, strange[:5]))}"
        raise NotSupported(problem, hint=f"the model's are: {', '.join(map(repr, known[:20]))}")
    return {task.better: task.score(ready, chosen)[task.better], "examples": len(chosen)}


def rows_of(task: Task, ready: Predictor, examples: Sequence[Example], folder: Path, most: int) -> list[Row]:
    """At most so many rows of examples, evenly spread, as the task makes them."""
    room = min(ready.facts.max_length, MOST_LENGTH)
    return task.rows(evenly(examples, most), folder, ready.facts.labels, max_length=room - 1)


def _on_tokens(ready: Predictor, folder: Path) -> dict[str, float]:
    splits = (Store.open(folder, split) for split in ("validation", "test"))
    store = next((s for s in splits if s.num_tokens > 1), None)
    if store is None:
        raise EmptyInput(f"{folder.as_posix()} has neither a validation nor a test split")
    found = _loss(ready, Causal(kind="causal"), documents_of(ready, store, MOST_ROWS))
    per_byte = (store.num_tokens - store.num_documents) / store.num_bytes
    return {**found, "bits_per_byte": found["loss"] * per_byte / math.log(2)}


def documents_of(ready: Predictor, store: Store, most: int) -> list[Row]:
    """At most so many rows of documents, evenly spread. Raises NotSupported for a model that does not write."""
    if not isinstance(ready, Streams) or ready.facts.more.get("apart"):
        problem = f"the model gives {ready.gives.plural} and cannot be measured on tokens"
        raise NotSupported(problem, hint="give a dataset with what it answers")
    room = min(ready.facts.max_length, MOST_LENGTH)
    documents = (store.document(k)[:room] for k in evenly(range(store.num_documents), most))
    return [{"ids": ids, "segments": np.zeros(len(ids), np.int64)} for ids in documents if len(ids) > 1]


def _loss(ready: Predictor, objective: Objective, rows: Sequence[Row]) -> dict[str, float]:
    """Nats per target of rows computed one by one."""
    from pretune.model.generate import module_of

    found = loss_of(module_of(ready), objective, rows)
    targets = sum(number for term, number in found.targets.items() if found.weights[term])
    if not targets:
        raise EmptyInput("no row of the data has a target")
    return {"loss": found.per_target, "targets": int(targets)}


def loss_of(model: Any, objective: Objective, rows: Sequence[Row]) -> Loss:
    """The loss of a torch model over rows, one by one."""
    from pretune.train.loop.runtime import Runtime
    from pretune.train.watch.validate import loss_over

    vocabulary = Vocabulary(size=model.config.vocab_size, pad=0)
    return loss_over(model, objective, rows, vocabulary, Runtime(), batch=1)


def seconds_of(ready: Predictor, ids: Sequence[int], *, repeats: int = 5) -> float:
    """Median seconds in which the torch model of a predictor reads one row, after a reading to warm up."""
    import torch

    from pretune.model.generate import module_of

    model, row = module_of(ready), torch.tensor([list(ids)])
    given = {"input_ids": row} | ({"decoder_input_ids": row} if model.config.is_encoder_decoder else {})
    taken = []
    with torch.inference_mode():
        for _ in range(repeats + 1):
            start = time.perf_counter()
            model(**given)
            taken.append(time.perf_counter() - start)
    return statistics.median(taken[1:])
