"""Several processes that train one tiny model by one mesh after the other, and what one process has of the same run."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file

from pretune.base.errors import PretuneError
from pretune.model.build import build_model
from pretune.model.methods.method import METHOD
from pretune.objective.objective import OBJECTIVE
from pretune.testing.worlds import LENGTH, SPECIALS, VOCABULARY, head_of, packed_rows, tiny_shape
from pretune.train.loop.checkpoint import load, snapshot, write
from pretune.train.loop.dice import draw_apart
from pretune.train.loop.runtime import Runtime
from pretune.train.loop.sharded import write_parts
from pretune.train.loop.spec import TrainSpec
from pretune.train.loop.state import training_state
from pretune.train.loop.step import TrainState, take_step
from pretune.train.loop.stream import MicroBatches, RowStream
from pretune.train.parallel.settings import Parallel
from pretune.train.settings import Keep, TrainSettings

Job = dict[str, Any]
"""What is trained: name, parallel, kind (of shape), objective, optim (settings), batch, precision, steps (from, to),
dropout, place (of its checkpoints, in the folder)."""
Outcome = tuple[dict[str, torch.Tensor], list[float]]
STEPS = 4


def model_of(job: Mapping[str, Any]) -> Any:
    """Four blocks, so that four stages have one each; every parameter matters."""
    sizes = {"layers": 4, "heads": 4, "kv_heads": 4, "head_width": 8, "dropout": job.get("dropout", 0.0)}
    known = {n: size for n, size in sizes.items() if n in type(tiny_shape(job["kind"])).model_fields}
    shape = tiny_shape(job["kind"], **known)
    model = build_model(
        shape, head_of(job["kind"]), vocab_size=40, max_length=32, specials=SPECIALS, seed=0, attention="eager"
    )
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return model.double() if job.get("precision", "float64") == "float64" else model


def spec_of(job: Mapping[str, Any]) -> TrainSpec:
    settings = TrainSettings.model_validate({"optim": {"learning_rate": 1e-2, "clip": 0.5, **job["optim"]}})
    objective, rows = OBJECTIVE(job.get("objective", "causal")), packed_rows(job.get("batch", 8), LENGTH)
    return TrainSpec(
        settings=settings,
        objective=objective,
        vocabulary=VOCABULARY,
        outline=lambda: model_of(job),
        known_by=[],
        method=METHOD("full"),
        layers=4,
        length=LENGTH,
        tokens_per_row=LENGTH,
        rows=len(rows),
        batch=len(rows),
        micro_tokens=LENGTH,
        stream=RowStream(rows, len(rows), seed=5),
    )


def run(job: Mapping[str, Any], runtime: Runtime, micro: int = 1, folder: Path | None = None) -> Outcome:
    """(final weights, loss and gradient norms of each step).

    Args:
        folder: where checkpoints are, for a job that goes on `from` a step to the end of another.
    """
    spec = spec_of(job)
    choices = {"precision": job.get("precision", "float64"), "checkpointed": 0, "compile": False, "steps": STEPS}
    state = training_state(spec, model_of(job), choices, runtime)
    folder = folder / job.get("place", "") if folder is not None else None
    first, behind = job.get("steps", (0, STEPS))
    draw_apart(5, runtime)
    if first:
        assert folder is not None
        load(state, folder / f"step-{first:08d}", runtime)
    state.train()
    assert spec.stream is not None
    place = {"rank": runtime.rows.index, "world": runtime.rows.size, "total": STEPS}
    cut = MicroBatches(spec.stream, spec.objective, VOCABULARY, 5, micro, even=runtime.is_cut, **place)
    told = []
    for step in range(first, behind):
        report = take_step(state, spec.objective, cut.batches(step), runtime)
        told += [report.loss["loss"], report.gradient_norm, *state.update.norms_by_part().values()]
    check_wholes(state, runtime)
    if behind < STEPS:
        assert folder is not None
        one = snapshot(state, runtime)
        one = write_parts(one, state.update.pieces, folder, runtime) if runtime.is_cut else one
        if runtime.rank == 0:
            write(one, folder, Keep(last=9))
    final = state.update.final()
    with state.update.exact_weights():  # what is evaluated is the whole model
        assert all(torch.equal(p, final[n]) for n, p in state.model.named_parameters())
    return {n: tensor.detach().clone().contiguous() for n, tensor in final.items()}, told


def check_wholes(state: TrainState, runtime: Runtime) -> None:
    """What processes that compute the same rows hold whole is the same in all of them."""
    if runtime.mesh is None or runtime.mesh.tensor.size == 1 or runtime.mesh.shard.size > 1:
        return
    for name, weight in state.update.weights.items():
        if weight.shape == state.update.pieces.shapes[name]:
            most = weight.detach().clone()
            dist.all_reduce(most, dist.ReduceOp.MAX, group=runtime.mesh.tensor.group)
            assert torch.equal(most, weight), f"{name} is not the same in all {runtime.mesh.tensor.size} processes"


def difference(one: Outcome, other: Outcome) -> float:
    """The largest one of weights, losses and norms."""
    assert one[0].keys() == other[0].keys() and len(one[1]) == len(other[1])
    weights = max(float((one[0][n] - other[0][n]).abs().max()) for n in one[0])
    return max(weights, *(abs(a - b) for a, b in zip(one[1], other[1], strict=True)))


def together(jobs: Sequence[Job], folder: Path, world: int, seconds: float = 240) -> dict[str, Any]:
    """What each job gives on so many processes, by its name: (weights, numbers), or what was refused.

    One process imports what is needed, and becomes all of them: it takes as long as one start.
    """
    (folder / "jobs.json").write_text(json.dumps(jobs), encoding="utf-8")
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "pretune.testing.meshes", str(folder), str(world)]
    env = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, check=False, env=env, cwd=root, timeout=seconds, capture_output=True, encoding="utf-8"
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return {job["name"]: _read(folder, job["name"]) for job in jobs}


def _read(folder: Path, name: str) -> Any:
    told = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    return told if isinstance(told, str) else (load_file(folder / f"{name}.safetensors"), told)


def main(folder: Path, world: int) -> int:
    """Become the ranks; 1 if one of them failed, which ends the others."""
    import torch.distributed.fsdp
    import torch.distributed.pipelining

    torch.set_num_threads(1)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ranks = {os.fork() or _as_rank(folder, rank, world, port) for rank in range(world)}
    while ranks:
        ended, status = os.wait()
        ranks.discard(ended)
        if status:
            for rank in ranks:
                os.kill(rank, signal.SIGKILL)
            return 1
    return 0


def _as_rank(folder: Path, rank: int, world: int, port: int) -> int:
    """What a rank does from its beginning to its end; it does not return."""
    place = {"RANK": rank, "WORLD_SIZE": world, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in place.items()})
    status = 1
    try:
        _work(folder)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def _work(folder: Path) -> None:
    for job in json.loads((folder / "jobs.json").read_text(encoding="utf-8")):
        told: Any
        try:
            weights, told = run(job, Runtime.start("cpu", Parallel.model_validate(job["parallel"])), folder=folder)
        except PretuneError as error:
            if not job.get("is_refused"):
                raise
            weights, told = {}, str(error)
        if os.environ["RANK"] == "0":
            save_file(weights, folder / f"{job['name']}.safetensors")
            (folder / f"{job['name']}.json").write_text(json.dumps(told), encoding="utf-8")
    dist.barrier()  # the ranks leave together


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
