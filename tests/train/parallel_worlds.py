"""Several processes that train one tiny model by one mesh after the other, and what one process has of the same run."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from pretune.model.build import build_model
from pretune.model.methods.method import METHOD
from pretune.objective.objective import OBJECTIVE
from pretune.testing.worlds import LENGTH, SPECIALS, VOCABULARY, head_of, packed_rows, tiny_shape
from pretune.train.loop.runtime import Runtime
from pretune.train.loop.spec import TrainSpec
from pretune.train.loop.state import training_state
from pretune.train.loop.step import take_step
from pretune.train.loop.stream import MicroBatches, RowStream
from pretune.train.parallel.settings import Parallel
from pretune.train.settings import TrainSettings

Job = dict[str, Any]
"""What is trained: name, parallel, kind (of shape), objective, optim (settings), batch, precision."""
STEPS = 3


def model_of(job: Mapping[str, Any]) -> Any:
    """Four blocks, so that four stages have one each; every parameter matters."""
    sizes = {"layers": 4, "heads": 4, "kv_heads": 4, "head_width": 8}
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


def run(job: Mapping[str, Any], runtime: Runtime, micro: int = 1) -> tuple[dict[str, torch.Tensor], list[float]]:
    """(final weights, loss and gradient norm of each step)."""
    spec = spec_of(job)
    choices = {"precision": job.get("precision", "float64"), "checkpointed": 0, "compile": False, "steps": STEPS}
    state = training_state(spec, model_of(job), choices, runtime)
    state.train()
    assert spec.stream is not None
    place = {"rank": runtime.rows.index, "world": runtime.rows.size, "total": STEPS, "even": runtime.is_cut}
    cut = MicroBatches(spec.stream, spec.objective, VOCABULARY, 5, micro, **place)
    told = []
    for step in range(STEPS):
        report = take_step(state, spec.objective, cut.batches(step), runtime)
        told += [report.loss["loss"], report.gradient_norm, *state.update.norms_by_part().values()]
    final = state.update.final()
    with state.update.exact_weights():  # what is evaluated is the whole model
        assert all(torch.equal(p, final[n]) for n, p in state.model.named_parameters())
    return {n: tensor.detach().clone().contiguous() for n, tensor in final.items()}, told


def difference(one: Any, other: Any) -> float:
    """The largest one of weights, losses and norms."""
    assert one[0].keys() == other[0].keys() and len(one[1]) == len(other[1])
    weights = max(float((one[0][n] - other[0][n]).abs().max()) for n in one[0])
    return max(weights, *(abs(a - b) for a, b in zip(one[1], other[1], strict=True)))


def together(jobs: Sequence[Job], folder: Path, world: int, seconds: float = 240) -> dict[str, Any]:
    """What each job gives on so many processes, by its name: (weights, numbers), or what was refused."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    root, ranks = Path(__file__).parents[2], []
    (folder / "jobs.json").write_text(json.dumps(jobs), encoding="utf-8")
    for rank in range(world):
        place = {"RANK": rank, "WORLD_SIZE": world, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        env = {**os.environ, **{n: str(v) for n, v in place.items()}, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "tests.train.parallel_worlds", str(folder)]
        ranks.append(subprocess.Popen(command, env=env, cwd=root))
    try:
        codes = [rank.wait(timeout=seconds) for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    assert codes == [0] * world
    return {job["name"]: _read(folder, job["name"]) for job in jobs}


def _read(folder: Path, name: str) -> Any:
    told = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    return told if isinstance(told, str) else (load_file(folder / f"{name}.safetensors"), told)


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    for job in json.loads((folder / "jobs.json").read_text(encoding="utf-8")):
        try:
            weights, told = run(job, Runtime.start("cpu", Parallel.model_validate(job["parallel"])))
        except Exception as error:
            weights, told = {}, f"{type(error).__name__}: {error}"
            if "refused" not in job["name"]:
                raise
        if os.environ["RANK"] == "0":
            save_file(weights, folder / f"{job['name']}.safetensors")
            (folder / f"{job['name']}.json").write_text(json.dumps(told), encoding="utf-8")
    torch.distributed.barrier()  # the ranks leave together


if __name__ == "__main__":
    main(Path(sys.argv[1]))
