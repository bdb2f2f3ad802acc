"""Checkpoints: safetensors and JSON, verified by reading back; the last good one is never deleted.

    checkpoints/step-00000120/
      state.safetensors     masters and moments by parameter name, random states, buffers
      state.json            step, counters, windows of losses, rows that are passed over, early stopping
      state-0-of-2 ...      in the place of state.safetensors, where processes hold parts of the weights (sharded.py)
      manifest.json         which run it is of, xxh3-128 of every 4 MiB of the two, and its own digest; written last

A folder is written next to its name and renamed when it is whole. Resume takes the newest that verifies and says
which it skipped and why: "state.safetensors was changed in chunk 3 of 12". What is kept is in `Keep`.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor

from pretune.base.digest import CHUNK, chunk_digests, digest
from pretune.base.errors import Damaged, DiskFull, NotSaved, OtherRun, OtherVersion, PretuneError
from pretune.base.json import Json, JsonMap
from pretune.base.log import Log
from pretune.base.planning import differences
from pretune.base.staging import fsync, is_full, write_durably
from pretune.model.folder import write_safetensors
from pretune.report.numbers import size
from pretune.train.loop.dice import draw_on
from pretune.train.loop.runtime import Runtime
from pretune.train.loop.step import TrainState
from pretune.train.parallel.assembled import read_parts
from pretune.train.settings import Keep

FORMAT = 2
TENSORS, NUMBERS, MANIFEST = "state.safetensors", "state.json", "manifest.json"
PARTIAL = ".partial"
NAME = re.compile(r"step-(\d{8,})")
"""Of a checkpoint; whatever else is in the folder (a copy, `step-00000120 (2)`) is none of ours."""
COUNTERS = ("step", "updates", "refused", "seen", "extra", "micro", "window", "passed", "returned", "scaling")
"""Fields of TrainState that are written as they are."""


@dataclass(frozen=True)
class Snapshot:
    """A run at a step, apart from the run: nothing in it moves when the run goes on.

    Args:
        tensors: masters, moments, buffers, random states.
        parts: files that are written already (sharded.py): their path, and what is where in them.
        facts: of the manifest: `run` it is of, `score` (lower is better), `is_anchor`: whether a run goes back to it.
    """

    step: int
    tensors: Mapping[str, Tensor]
    numbers: Json
    facts: Json = field(default_factory=dict)
    parts: Mapping[Path, Json] = field(default_factory=dict)

    @property
    def num_bytes(self) -> int:
        return sum(tensor.nbytes for tensor in self.tensors.values())

    def copied(self) -> Snapshot:
        """With tensors of its own, in memory."""
        return replace(self, tensors={n: t.detach().to("cpu", copy=True) for n, t in self.tensors.items()})


def snapshot(state: TrainState, runtime: Runtime | None = None, **facts: object) -> Snapshot:
    """The state of all ranks, which take part; tensors are the run's own until they are `copied`."""
    runtime = runtime or Runtime()
    numbers = json.loads(json.dumps({name: getattr(state, name) for name in ("total", *COUNTERS)}))
    return Snapshot(state.step, _tensors(state, runtime), numbers | {"mesh": runtime.sizes}, facts)


def _tensors(state: TrainState, runtime: Runtime) -> dict[str, Tensor]:
    """Of a model that is cut: what lies in this process."""
    random = {"rng/cpu": torch.get_rng_state()[None]}
    if torch.cuda.is_available():
        random["rng/cuda"] = torch.cuda.get_rng_state()[None]
    # Each rank draws its own dropout, and as many numbers as its rows are long.
    if not runtime.is_cut:
        random = {name: runtime.gather({name: mine})[0][name] for name, mine in random.items()}
    # Buffers are part of the model (batch statistics) and may change in training.
    buffers = {f"buffer/{n}": b for n, b in state.model.named_buffers() if b.numel()}
    return state.update.state() | random | buffers


def save(state: TrainState, folder: Path, keep: Keep | None = None, **facts: object) -> Path:
    """Write `folder/step-N` of a run of one process now, and drop what need not be kept."""
    return write(snapshot(state, None, **facts), folder, keep or Keep())


def write(one: Snapshot, folder: Path, keep: Keep) -> Path:
    """Write `folder/step-N`, verify it, and drop what need not be kept.

    Raises:
        DiskFull: it says how much room is needed; NotSaved: another write failed; Damaged: it does not read back.
        Older checkpoints are whole in all three cases.
    """
    final = folder / f"step-{one.step:08d}"
    if verify(final) is not None:  # else the run was stopped here, went on, and came by once more
        with _told(one, folder):
            _write(one, folder, final)
        if problem := verify(final):
            raise Damaged(f"{final.name} does not read back: {problem}", hint="check the disk")
    with suppress(OSError):  # what cannot be deleted takes room, and the next save tries again
        for old in superfluous(folder, one.step, keep):
            _drop(old)
    return final


def _write(one: Snapshot, folder: Path, final: Path) -> None:
    for left in folder.glob(f"*{PARTIAL}"):
        shutil.rmtree(left, ignore_errors=True)
    partial = folder / f"{final.name}{PARTIAL}"
    partial.mkdir(parents=True)
    for part in one.parts:
        part.rename(partial / part.name)
    for place in {part.parent for part in one.parts}:
        place.rmdir()
    if not one.parts:
        write_safetensors(one.tensors, partial / TENSORS)
    numbers = one.numbers | {"parts": {part.name: pieces for part, pieces in one.parts.items()} or {TENSORS: {}}}
    write_durably(partial / NUMBERS, json.dumps(numbers, allow_nan=True))
    files = {name: chunk_digests(partial / name) for name in (*numbers["parts"], NUMBERS)}
    facts: Json = {"format": FORMAT, "step": one.step, "files": files, **one.facts}
    write_durably(partial / MANIFEST, json.dumps(facts | {"digest": digest(facts)}))
    fsync(partial)
    _drop(final)
    partial.rename(final)
    fsync(folder)


@contextmanager
def _told(one: Snapshot, folder: Path) -> Iterator[None]:
    """What failed while a checkpoint was written, in the user's words; what was begun of it is taken away."""
    needed = one.num_bytes + sum(part.stat().st_size for part in one.parts)
    try:
        yield
    except (OSError, SafetensorError) as error:
        shutil.rmtree(folder / f"step-{one.step:08d}{PARTIAL}", ignore_errors=True)
        raise failed(one.step, str(error), folder, needed=needed if is_full(error) else 0) from error


def failed(step: int, why: str, folder: Path, *, needed: int) -> PretuneError:
    """The error of a checkpoint that was not written; `needed`: its bytes, if the disk is full."""
    what = f"the checkpoint of step {step} could not be written"
    if not needed:
        return NotSaved(f"{what} ({why})", hint="mend it, then run the same command")
    free = shutil.disk_usage(folder if folder.exists() else folder.parent).free
    hint = "free that much, then run the same command: it continues from the last checkpoint"
    return DiskFull(f"{what}: it needs {size(needed)}, {size(free)} are free", hint=hint)


def _drop(checkpoint: Path) -> None:
    """Delete a checkpoint: it is none any more from the first moment on, so none is ever found half deleted."""
    if checkpoint.is_dir():
        aside = checkpoint.with_name(f"{checkpoint.name}.old{PARTIAL}")
        checkpoint.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)


# ---- what is kept --------------------------------------------------------------------------------


def checkpoints(folder: Path) -> list[Path]:
    """Finished checkpoints, newest first."""
    found = [p for p in folder.glob("step-*") if NAME.fullmatch(p.name) and p.is_dir()]
    return sorted(found, key=step_of, reverse=True)


def step_of(checkpoint: Path) -> int:
    """The step that its name says."""
    found = NAME.fullmatch(checkpoint.name)
    assert found is not None, f"{checkpoint.name} is no checkpoint"
    return int(found[1])


def extras(folder: Path) -> list[Json]:
    """What stages keep in the checkpoints that are there (`extra`); one that cannot be read is none."""
    found: list[Json] = []
    for one in checkpoints(folder):
        with suppress(OSError, ValueError, KeyError):
            found.append(json.loads((one / NUMBERS).read_text(encoding="utf-8"))["extra"])
    return found


def superfluous(folder: Path, step: int, keep: Keep) -> list[Path]:
    """The checkpoints that need not be kept after one of this step was written, which verifies.

    Those behind it do not verify, or the run would have gone on from them. Where a run goes back to is kept always.
    """
    found = {step_of(path): path for path in checkpoints(folder)}
    told = {one: facts for one, path in found.items() if one <= step and (facts := facts_of(path)) is not None}
    kept = set(sorted(told)[-keep.last :]) | {step}
    kept |= set([one for one in sorted(told) if told[one].get("is_anchor")][-1:])
    if keep.best and (scored := [one for one in told if told[one].get("score") is not None]):
        kept.add(min(scored, key=lambda one: (told[one]["score"], one)))
    kept |= {one for one in told if keep.every and one % keep.every == 0}
    return [path for one, path in found.items() if one not in kept]


def drop_behind(folder: Path, step: int) -> None:
    """Delete the checkpoints of later steps: the run went back, and comes by them on another way."""
    for one in checkpoints(folder):
        if step_of(one) > step:
            _drop(one)


# ---- reading -------------------------------------------------------------------------------------


def facts_of(folder: Path) -> Json | None:
    """The manifest of a checkpoint; None if it is not as it was written."""
    try:
        facts: Json = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return facts if facts.pop("digest") == digest(facts) else None
    except (OSError, ValueError, KeyError, AttributeError):
        return None


def verify(folder: Path) -> str | None:
    """What is wrong with a checkpoint, or None.

    Raises:
        OtherVersion: another version of pretune wrote it, which is no damage.
    """
    facts = facts_of(folder)
    if facts is None:
        return "its manifest is missing or was changed"
    if facts.get("format") != FORMAT:
        age = "a newer" if facts.get("format", 0) > FORMAT else "an older"
        hint = "install the version that began this run, or choose another --out"
        raise OtherVersion(f"{folder.name} was written by {age} version of pretune", hint=hint)
    if folder.name != f"step-{facts['step']:08d}":
        return f"it is that of step {facts['step']}, under another name"
    return next(filter(None, (_changed(folder / name, known) for name, known in facts["files"].items())), None)


def _changed(path: Path, known: list[str]) -> str | None:
    if not path.is_file():
        return f"{path.name} is missing"
    try:
        found = chunk_digests(path)
    except OSError as error:
        return f"{path.name} cannot be read ({error})"
    if len(found) < len(known):
        return f"{path.name} is cut off: {path.stat().st_size:,} bytes are left"
    wrong = [k + 1 for k, (a, b) in enumerate(zip(found, [*known, *found][: len(found)], strict=True)) if a != b]
    if wrong or len(found) != len(known):
        places = ", ".join(map(str, wrong[:3] or [len(found)])) + (" ..." if len(wrong) > 3 else "")
        return f"{path.name} was changed in chunk {places} of {len(known)} ({size(CHUNK)} each)"
    return None


def newest(folder: Path, run: JsonMap, log: Log, *, anchor: bool = False, below: int | None = None) -> Path | None:
    """The newest checkpoint that verifies; says which were skipped and why. None if there is none.

    Args:
        run: what the run is of (`Context.run`).
        anchor: only such as a run goes back to, at a step `below` this one.

    Raises:
        Damaged: there are checkpoints but none verifies. (Nothing is trained again in silence.)
        OtherRun: it is of a run with other settings or inputs, which are named; OtherVersion: of another pretune.
    """
    found = checkpoints(folder)
    for one in found:
        if problem := verify(one):
            log.warn(f"{one.name} is skipped: {problem}")
            continue
        facts = facts_of(one) or {}
        _refuse_other(one, facts.get("run") or {}, run)
        if not anchor or (facts.get("is_anchor") and (below is None or facts["step"] < below)):
            return one
    if found and not anchor:
        hint = f"delete {folder.as_posix()} to begin again"
        raise Damaged(f"none of {len(found)} checkpoints verifies", hint=hint)
    return None


def _refuse_other(checkpoint: Path, run: JsonMap, mine: JsonMap) -> None:
    if run.get("key") == mine.get("key"):
        return
    told = "; ".join(differences(run, mine)) or "another version of the stage"
    hint = "give the values back to continue it, or choose another --out"
    raise OtherRun(f"{checkpoint.name} is of another run: {told}", hint=hint)


def resume(state: TrainState, folder: Path, log: Log, run: JsonMap | None = None) -> bool:
    """Continue from the newest checkpoint that verifies, in a run of one process; errors as `newest`."""
    found = newest(folder, run or {}, log)
    if found is not None:
        load(state, found)
        log.info(f"    continues at step {state.step} of {state.total}")
    return found is not None


def load(state: TrainState, folder: Path, runtime: Runtime | None = None) -> None:
    """Take the state of a checkpoint that verifies; of random states that of this rank (dice.py)."""
    runtime = runtime or Runtime()
    numbers = json.loads((folder / NUMBERS).read_text(encoding="utf-8"))
    tensors = read_parts(folder, numbers["parts"], state.update.held())
    rng = {k: tensors.pop(k) for k in list(tensors) if k.startswith("rng/")}
    buffers = {k.partition("/")[2]: tensors.pop(k) for k in list(tensors) if k.startswith("buffer/")}
    state.update.load(tensors)
    for name, buffer in state.model.named_buffers():
        if name in buffers:
            buffer.copy_(buffers[name])
    draw_on(rng, runtime, same=numbers.get("mesh") == runtime.sizes)
    for name in COUNTERS:
        setattr(state, name, numbers[name])
    assert state.total == numbers["total"], "the length of a run is resolved once"
