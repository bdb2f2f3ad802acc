"""What a fine-tuning reads: the examples of a dataset as rows of its task."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pretune.base.errors import BadMessages, EmptyInput, NoTarget, WrongKind
from pretune.base.log import Log
from pretune.task.task import Task, task_on, tasks
from pretune.text.dataset.balance import read_weights
from pretune.text.dataset.example import read_labels, read_split, shape_of
from pretune.tokens.rows import Row


@dataclass(frozen=True)
class LabelledData:
    """Examples and their rows, of the training and the validation split.

    Args:
        task: what learns from them, with what it must know of all of them.
        labels: names of the labels that are learnt, in their order; None for tasks without.
        class_weights: the dataset's weight of each label.
    """

    task: Task
    labels: Sequence[str] | None
    class_weights: list[float] | None
    examples: list[Any]
    rows: list[Row]
    dev_examples: list[Any]
    dev_rows: list[Row]

    @property
    def tokens_per_row(self) -> float:
        return sum(len(row["ids"]) for row in self.rows) / len(self.rows)

    @property
    def num_examples(self) -> int:
        return num_examples(self.rows)


def num_examples(rows: Sequence[Row]) -> int:
    """Examples that the rows hold: a packed row has several; one that is read in windows has several rows."""
    cut = {(row.get("of"), row["example"]) for row in rows if "example" in row}
    whole = (row for row in rows if "example" not in row)
    return len(cut) + sum(int(row["segments"].max()) + 1 if "segments" in row else 1 for row in whole)


def read_data(task: Task, data: Path, tokenizer: Path, max_length: int, log: Log) -> LabelledData:
    """The examples of a dataset folder as rows of at most `max_length` tokens.

    Raises:
        WrongKind: of another shape than the task's; EmptyInput; what the task says of the examples.
    """
    task = _task_on(task, shape_of(data)).for_model(_config(tokenizer))
    labels = task.learnt(read_labels(data))
    examples, dev = read_split(data, "train"), read_split(data, "validation")
    if not examples:
        raise EmptyInput(f"{data.as_posix()} has no training examples")
    task.check([*examples, *dev], labels)
    task.check_validation(dev)
    task = task.fitted(examples)
    rows = task.rows(examples, tokenizer, labels, max_length=max_length, warn=log.warn)
    dev_rows = _validation_rows(task, dev, tokenizer, labels, max_length, log) if dev else []
    return LabelledData(task, labels, _class_weights(data, labels), examples, rows, dev, dev_rows)


def _config(folder: Path) -> Any:
    path = folder / "config.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _task_on(task: Task, shape: str) -> Task:
    found = task_on(task, shape)
    if found is None:
        there = ", ".join(f"{one.kind} (shape {one.shape})" for one in tasks())
        hint = next((f"task={one.kind}" for one in tasks() if one.shape == shape), f"tasks there are: {there}")
        raise WrongKind(f"task={task.kind} needs {task.shape} examples, these are {shape}", hint=hint)
    return found


def _validation_rows(
    task: Task,
    dev: Sequence[Any],
    tokenizer: Path,
    labels: Sequence[str] | None,
    max_length: int,
    log: Log,
) -> list[Row]:
    """The rows of the validation split; none, with a warning, where nothing of it can be scored."""

    def warn(text: str) -> None:
        log.warn(f"validation: {text}")

    try:
        return task.rows(dev, tokenizer, labels, max_length=max_length, warn=warn)
    except (NoTarget, BadMessages) as error:
        log.warn(f"nothing of the validation split can be scored, so the last weights are kept: {error.problem}")
        return []


def _class_weights(data: Path, labels: Sequence[str] | None) -> list[float] | None:
    """The dataset's weight of each label, in their order; 1 for one that train does not have."""
    weights = read_weights(data)
    return [weights.get(name, 1.0) for name in labels] if weights is not None and labels else None
