"""Checkpoints: safetensors and JSON, verified by reading back; the last good ones are kept.

    checkpoints/step-000120/
      state.safetensors     masters and moments by parameter name
      state.json            step, counters, random state, early stopping
      manifest.json         xxh3-128 of the two, written last

A folder is written next to its name and renamed when it is whole. Resume takes the newest that verifies and
says which it skipped and why.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch

from pretune.base.digest import read_digest
from pretune.base.errors import Damaged
from pretune.base.json import Json
from pretune.base.log import Log
from pretune.base.staging import fsync, write_durably
from pretune.model.folder import write_safetensors
from pretune.train.loop.step import TrainState

KEEP = 2
TENSORS, NUMBERS, MANIFEST = "state.safetensors", "state.json", "manifest.json"


def save(state: TrainState, folder: Path) -> Path:
    """Write `folder/step-N`, verify it, and drop older ones beyond the last two."""
    final = folder / f"step-{state.step:08d}"
    partial = folder / f"{final.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    write_safetensors(_tensors(state), partial / TENSORS)
    write_durably(partial / NUMBERS, json.dumps(_numbers(state), allow_nan=True))
    digests = {name: read_digest(partial / name) for name in (TENSORS, NUMBERS)}
    write_durably(partial / MANIFEST, json.dumps(digests))
    fsync(partial)
    shutil.rmtree(final, ignore_errors=True)
    partial.rename(final)
    fsync(folder)
    problem = verify(final)
    if problem:
        raise Damaged(f"{final.name} does not read back: {problem}", hint="check the disk")
    for old in checkpoints(folder)[KEEP:]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def _tensors(state: TrainState) -> dict[str, torch.Tensor]:
    tensors = state.update.state() | {"rng/cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        tensors["rng/cuda"] = torch.cuda.get_rng_state()
    # Buffers are part of the model (batch statistics) and may change in training.
    return tensors | {f"buffer/{n}": b for n, b in state.model.named_buffers() if b.numel()}


def _numbers(state: TrainState) -> Json:
    return {
        "step": state.step,
        "updates": state.updates,
        "refused": state.refused,
        "total": state.total,
        "micro": state.micro,
        "seen": state.seen,
        "extra": state.extra,
    }


def checkpoints(folder: Path) -> list[Path]:
    """Finished checkpoints, newest first."""
    found = [p for p in folder.glob("step-*") if p.is_dir() and not p.name.endswith(".partial")]
    return sorted(found, reverse=True)


def verify(folder: Path) -> str | None:
    """What is wrong with a checkpoint, or None."""
    try:
        digests = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return f"its manifest cannot be read ({error.__class__.__name__})"
    for name in (TENSORS, NUMBERS):
        if not (folder / name).is_file():
            return f"{name} is missing"
        if read_digest(folder / name) != digests.get(name):
            return f"{name} was changed"
    return None


def resume(state: TrainState, folder: Path, log: Log) -> bool:
    """Take up the newest checkpoint that verifies; says which were skipped and why.

    Raises:
        Damaged: there are checkpoints but none verifies. (Nothing is trained again in silence.)
    """
    found = checkpoints(folder)
    for one in found:
        problem = verify(one)
        if problem is None:
            load(state, one)
            log.info(f"    continues at step {state.step} of {state.total}")
            return True
        log.warn(f"{one.name} is skipped: {problem}")
    if found:
        hint = f"delete {folder.as_posix()} to begin again"
        raise Damaged(f"none of {len(found)} checkpoints verifies", hint=hint)
    return False


def load(state: TrainState, folder: Path) -> None:
    from safetensors.torch import load_file

    tensors = load_file(folder / TENSORS)
    numbers = json.loads((folder / NUMBERS).read_text(encoding="utf-8"))
    rng = {k: tensors.pop(k) for k in list(tensors) if k.startswith("rng/")}
    buffers = {k.partition("/")[2]: tensors.pop(k) for k in list(tensors) if k.startswith("buffer/")}
    state.update.load(tensors)
    for name, buffer in state.model.named_buffers():
        if name in buffers:
            buffer.copy_(buffers[name])
    torch.set_rng_state(rng["rng/cpu"])
    if "rng/cuda" in rng and torch.cuda.is_available():
        torch.cuda.set_rng_state(rng["rng/cuda"])
    state.step, state.updates, state.refused = numbers["step"], numbers["updates"], numbers["refused"]
    state.seen, state.extra, state.micro = numbers["seen"], numbers["extra"], numbers.get("micro")
    assert state.total == numbers["total"], "the length of a run is resolved once"
