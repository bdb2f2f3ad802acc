"""Checkpoints of a model that lies in parts: each process writes its own, at the same time.

    checkpoints/parts-00000120/state-0-of-2.safetensors   masters, moments, random state of rank 0
                               state-1-of-2.safetensors   of rank 1
    checkpoints/step-00000120/                            both, state.json and the manifest: rank 0 moves them

Any other mesh, and one process alone, goes on from them (parallel/assembled.py). All processes see one folder. The run
waits until they are written; a process that cannot write ends all of them, and older checkpoints are whole.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import torch.distributed as dist

from pretune.base.errors import NotSaved
from pretune.base.json import Json
from pretune.model.folder import write_safetensors
from pretune.train.loop.checkpoint import Snapshot
from pretune.train.loop.runtime import Runtime
from pretune.train.parallel.pieces import Pieces

PARTS = "parts-"


def write_parts(one: Snapshot, pieces: Pieces, folder: Path, runtime: Runtime) -> Snapshot:
    """The snapshot of a run with what every process has written of it; all of them call it.

    Raises:
        NotSaved: one could not write; all raise it.
    """
    place = folder / f"{PARTS}{one.step:08d}"
    if runtime.rank == 0:
        for left in folder.glob(f"{PARTS}*"):
            shutil.rmtree(left, ignore_errors=True)
        place.mkdir(parents=True)
    dist.barrier()
    path = place / f"state-{runtime.rank}-of-{runtime.world}.safetensors"
    boxes, problem = _boxes(pieces), ""
    try:
        write_safetensors({key: t for key, t in one.tensors.items() if _is_mine(key, pieces, runtime)}, path)
    except Exception as error:  # whatever it is, the others must not wait for this part
        problem = f"rank {runtime.rank}: {error}"
    told: list[tuple[str, Json, str]] = [("", {}, "")] * runtime.world
    dist.all_gather_object(told, (path.name, boxes, problem))
    if problems := [problem for _, _, problem in told if problem]:
        raise NotSaved(f"the checkpoint of step {one.step} could not be written ({'; '.join(problems)})")
    return replace(one, tensors={}, parts={place / name: boxes for name, boxes, _ in told})


def _boxes(pieces: Pieces) -> Json:
    return {name: [one.start, one.size] for name, one in pieces.pieces.items() if one.is_owned}


def _is_mine(key: str, pieces: Pieces, runtime: Runtime) -> bool:
    """Whether this process writes a tensor: its random state, and the weights that it answers for; rank 0 buffers."""
    kind, _, name = key.partition("/")
    return kind == "rng" or (runtime.rank == 0 if kind == "buffer" else pieces.pieces[name].is_owned)
