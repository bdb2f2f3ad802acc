"""What private fine-tuning asks of its settings and its data: that one example is one row, and decides nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pretune.base.artifact import Artifact
from pretune.base.errors import NotSupported
from pretune.task.labelled_data import LabelledData
from pretune.tokens.rows import Row

if TYPE_CHECKING:
    from pretune.task.settings import FinetuneSettings

ONE_BY_ONE = ("classify", "chat", "seq2seq")
"""Tasks whose loss is a sum over examples, and whose heads begin with nothing that was counted in them."""


def why_not_private(settings: FinetuneSettings) -> str | None:
    """Why these settings cannot be private; None: they can."""
    task = settings.task
    if task.kind not in ONE_BY_ONE:
        return (
            f"private fine-tuning is for task={' or '.join(ONE_BY_ONE)}: task={task.kind} learns from examples together"
        )
    mixing = [name for name in ("mixup", "smote", "few_shot") if getattr(task, name, False)]
    if mixing:
        return f"task.{mixing[0]} makes examples of several, so none can be clipped alone; leave it out"
    read_elsewhere = ("remember", "objective", "unlabelled")
    if more := [name for name in read_elsewhere if getattr(settings, name) is not None]:
        return f"{more[0]} reads the examples in ways that the noise does not cover; leave it out of a private run"
    if settings.folds:
        return "folds train on the examples several times, which the noise does not cover; leave them out"
    if settings.micro_batch not in (None, 1):
        return "in a private run examples pass one at a time; leave out micro_batch"
    return None


def one_each(read: LabelledData, data: Mapping[str, Artifact], world: int) -> LabelledData:
    """Rows of one example each, which weigh alike.

    Raises:
        NotSupported: an example has several rows; the data set has some twice; several processes.
    """
    if world > 1:
        raise NotSupported("a private run is one process: the noise is drawn once", hint="leave out nproc")
    for one in data.values():
        again = [name for name in ("augment", "balance") if one.card.settings.get(name)]
        if again and one.card.settings[again[0]] != {"kind": "weights"}:
            problem = (
                f"{one.path.as_posix()} has examples more than once ({again[0]}), and each time would tell of them"
            )
            raise NotSupported(problem, hint="make the data set without it")
    rows = [alone for row in read.rows for alone in _parts(row)]
    if len(rows) != read.num_examples:
        problem = f"{read.num_examples} examples are {len(rows)} rows, and an example may add to a step once only"
        raise NotSupported(problem, hint="give a larger max_length, so that none is read in parts")
    return replace(read, rows=rows, class_weights=None)


def _parts(row: Row) -> Iterator[Row]:
    """The examples that are packed into a row, each as a row of its own."""
    if "segments" not in row:
        yield row
        return
    for number in range(int(row["segments"].max()) + 1):
        here = row["segments"] == number
        alone: Any = {name: values[here] if isinstance(values, np.ndarray) else values for name, values in row.items()}
        alone["segments"] = np.zeros(int(here.sum()), dtype=np.int64)
        yield alone
