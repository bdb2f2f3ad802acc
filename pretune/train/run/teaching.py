"""A run that learns from a teacher: its spec, with the teacher open, and what the teacher says of rows, kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pretune.base.errors import NotSupported
from pretune.base.stage import Context
from pretune.model.families import family_of, num_positions, plain_model
from pretune.objective.blocks import projected
from pretune.objective.distil import TOLD, TOLD_IDS, Distil
from pretune.objective.teacher import check_outputs, open_teacher
from pretune.report.numbers import size
from pretune.tokens.rows import Row, Vocabulary
from pretune.train.forecast.choosing import resolved_precision
from pretune.train.forecast.speed import QUIET
from pretune.train.loop.spec import TrainSpec
from pretune.train.loop.state import compute_dtype_of

MOST_KEPT = 2**30
"""Bytes of a teacher's answers that are worth keeping: read again they cost no pass of the teacher."""
NUMBER_BYTES = 4


def with_teacher(
    spec: TrainSpec, objective: Distil, folder: Path, tokenizer: Path, *, narrow: bool = False
) -> TrainSpec:
    """The run with the teacher of its objective, from its folder.

    Args:
        narrow: whether the teacher reads in the narrow type of the run, where it has one.

    Raises:
        NotSupported: as `open_teacher`; it reads shorter rows, or its outputs mean something else.
    """
    told = spec.settings.precision
    attention = "eager" if objective.attention else spec.attention or None
    exact = told == "float64"
    teacher = open_teacher(folder, objective.head, tokenizer, device=spec.device, exact=exact, attention=attention)
    longest = num_positions(plain_model(teacher).config.to_dict())
    if longest is not None and longest < spec.length:
        problem = f"the teacher {folder.as_posix()} reads {longest} tokens, and rows have up to {spec.length}"
        raise NotSupported(problem, hint=f"take a teacher that reads as many, or rows of {longest}")
    if spec.make is not None:
        check_outputs(teacher, spec.make(), objective.of, name=folder.as_posix())
    dtype = compute_dtype_of(resolved_precision(told, spec.device, QUIET))
    if narrow and dtype is not None:
        family_of(teacher).narrow(teacher, dtype)
    objective.hold(teacher)
    if not objective.listens:
        return replace(spec, objective=objective)
    student = partial(_listened_to, objective=objective, teacher=teacher)
    make = spec.make and partial(student, spec.make)
    return replace(spec, objective=objective, outline=partial(student, spec.outline), make=make)


def _listened_to(make: Callable[[], Any], *, objective: Distil, teacher: Any) -> Any:
    student = make()
    if objective.attention:
        plain_model(student).set_attn_implementation("eager")
    return projected(student, teacher) if objective.hidden else student


def keep_told(objective: Distil, rows: Sequence[Row], vocabulary: Vocabulary, context: Context, *, batch: int) -> bool:
    """What the teacher says of rows that are read several times goes into the rows, and the teacher goes; once
    computed it is kept in the run's scratch, so that a resumed run has the same bits.

    Returns:
        Whether it does: not where its blocks are listened to, where it judges what the student writes, nor where its
        answers are too many.
    """
    from safetensors.torch import load_file, save_file

    path = context.scratch / "told.safetensors"

    def write() -> bool:
        found = None if objective.listens or objective.on_policy else told_of(objective, rows, vocabulary, batch=batch)
        if found is not None:
            save_file(found, path)
            context.log.info(f"    the teacher was asked about {len(rows):,} rows; kept: {size(path.stat().st_size)}")
        return found is not None

    if not context.choose("told", write):
        return False
    kept = load_file(path)
    for name in (one for one in (TOLD, TOLD_IDS) if one in kept):
        starts, widths = (kept[f"{name}_{what}"].tolist() for what in ("sizes", "widths"))
        parts = torch.split(kept[name], starts)
        for row, part, width in zip(rows, parts, widths, strict=True):
            row[name] = part.view(-1, width).numpy()
    objective.hold(None)
    return True


def told_of(objective: Distil, rows: Sequence[Row], vocabulary: Vocabulary, *, batch: int) -> dict[str, Tensor] | None:
    """What the teacher says of the targets of each row, the rows' numbers behind one another, with how many they are
    and how wide; None where that is more than MOST_KEPT bytes. Rows of like length run together."""
    order = sorted(range(len(rows)), key=lambda k: len(rows[k]["ids"]))
    parts: dict[str, dict[int, Tensor]] = {TOLD: {}, TOLD_IDS: {}}
    taken = 0
    for start in range(0, len(order), batch):
        some = order[start : start + batch]
        for name, tensors in objective.told_by_row([rows[k] for k in some], vocabulary).items():
            parts[name] |= dict(zip(some, tensors, strict=True))
            taken += sum(NUMBER_BYTES * t.numel() for t in tensors)
        if taken > MOST_KEPT:
            return None
    found: dict[str, Tensor] = {}
    for name, by_row in parts.items():
        if by_row:
            all_rows = [by_row[k] for k in range(len(rows))]
            found[name] = torch.cat([t.flatten() for t in all_rows])
            found[f"{name}_sizes"] = torch.tensor([t.numel() for t in all_rows])
            found[f"{name}_widths"] = torch.tensor([t.shape[1] for t in all_rows])
    return found
