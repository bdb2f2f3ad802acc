"""Checkpoints of a model that lies in parts: each process writes its own, at the same time.

    checkpoints/parts-00000120/state-0-of-2.safetensors   masters, moments, random state of rank 0
                               state-1-of-2.safetensors   of rank 1
    checkpoints/step-00000120/                            both, state.json and the manifest: rank 0 moves them

Any other mesh, and one process alone, goes on from them (parallel/assembled.py). All processes see one folder. The run
waits until they are written; a process that cannot write ends all of them, and older checkpoints are whole.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch.distributed as dist

from pretune.base.json import Json
from pretune.base.staging import is_full
from pretune.model.folder import write_safetensors
from pretune.train.loop.checkpoint import Snapshot, failed
from pretune.train.loop.runtime import Runtime
from pretune.train.parallel.pieces import Pieces

PARTS = "parts-"


class Told(NamedTuple):
    """What a process says of its part: the file, its boxes and bytes; what went wrong, and whether the disk is full."""

    name: str
    boxes: Json
    num_bytes: int
    problem: str = ""
    is_full: bool = False


def write_parts(one: Snapshot, pieces: Pieces, folder: Path, runtime: Runtime) -> Snapshot:
    """The snapshot of a run with what every process has written of it; all of them call it.

    Raises:
        DiskFull: it says how much room all parts need; NotSaved: one could not write. All raise it.
    """
    place = folder / f"{PARTS}{one.step:08d}"
    mine = {key: t for key, t in one.tensors.items() if _is_mine(key, pieces, runtime)}
    path = place / f"state-{runtime.rank}-of-{runtime.world}.safetensors"
    part = Told(path.name, _boxes(pieces), sum(t.nbytes for t in mine.values()))
    part = _tried(part, lambda: _make_room(place), runtime) if runtime.rank == 0 else part
    dist.barrier()
    part = part if part.problem else _tried(part, lambda: write_safetensors(mine, path), runtime)
    told = [part] * runtime.world
    dist.all_gather_object(told, part)
    _refuse_failed(told, one.step, place, runtime)
    return replace(one, tensors={}, parts={place / each.name: each.boxes for each in told})


def _make_room(place: Path) -> None:
    for left in place.parent.glob(f"{PARTS}*"):
        shutil.rmtree(left, ignore_errors=True)
    place.mkdir(parents=True)


def _tried(part: Told, write: Callable[[], None], runtime: Runtime) -> Told:
    """With what went wrong: whatever it is, the others must not wait for this part."""
    try:
        write()
    except Exception as error:
        return part._replace(problem=f"rank {runtime.rank}: {error}", is_full=is_full(error))
    return part


def _refuse_failed(told: Sequence[Told], step: int, place: Path, runtime: Runtime) -> None:
    """Raise what went wrong, on every process; what was written of the others takes no room."""
    if not any(part.problem for part in told):
        return
    if runtime.rank == 0:
        shutil.rmtree(place, ignore_errors=True)
    dist.barrier()
    needed = sum(part.num_bytes for part in told) if any(part.is_full for part in told) else 0
    raise failed(step, "; ".join(part.problem for part in told if part.problem), place.parent, needed=needed)


def _boxes(pieces: Pieces) -> Json:
    return {name: [one.start, one.size] for name, one in pieces.pieces.items() if one.is_owned}


def _is_mine(key: str, pieces: Pieces, runtime: Runtime) -> bool:
    """Whether this process writes a tensor: its random state, and the weights that it answers for; rank 0 buffers."""
    kind, _, name = key.partition("/")
    return kind == "rng" or (runtime.rank == 0 if kind == "buffer" else pieces.pieces[name].is_owned)
