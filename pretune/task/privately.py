"""What private fine-tuning asks of its data: that one example is one row, and decides nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from pretune.base.artifact import Artifact
from pretune.base.errors import NotSupported
from pretune.task.labelled_data import LabelledData
from pretune.tokens.rows import Row


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
    # Neither weights of the labels nor what the task makes of all examples (how often each label occurs) is noised.
    return replace(read, task=read.task.fitted([]), rows=rows, class_weights=None)


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
