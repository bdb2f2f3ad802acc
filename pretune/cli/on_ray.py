"""`ray=ADDRESS`: the same command as `nproc` ranks on nodes of a Ray cluster, placed and restarted by Ray Train.

    here             asks Ray Train for `nproc` workers; Ctrl-C and SIGTERM are passed on
    each worker      `pretune WORDS`, a process of its own, with RANK, WORLD_SIZE and the rest as torchrun sets them
    here, at last    the same command once more, alone: every artifact is there, so it only tells what was made

The nodes see the same files under the same names (NFS and the like). A rank that dies ends the others; Ray Train starts
all again, and they go on from the last checkpoint. When the process here dies, the ranks die with it.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import pretune
from pretune.base.cluster import connected
from pretune.base.errors import NotSupported, UserError
from pretune.cli.launch import EXPECTED

NEW_STARTS = 3
"""Times that Ray Train starts all ranks again after one has died."""
LOOK_SECONDS = 0.5
RAYS_OWN = ".ray"
"""Ray Train's folder in that of the recipe; the nodes look there whether they see the same files."""


def launch_on_ray(address: str, nproc: int, work: Path, arguments: Sequence[str]) -> int:
    """Run `pretune ARGUMENTS` as ranks of a cluster; returns the exit code of rank 0.

    Args:
        work: the folder of the recipe, which the nodes must see.

    Raises:
        MissingExtra, Unreachable: see `connected`; NotSupported: too few cores, or the address of a Ray client.
    """
    if address.startswith("ray://"):
        hint = "give the cluster's own address (auto, HOST:6379) on one of its nodes, or submit the command as a job"
        raise NotSupported("Ray Train does not work through a Ray client", hint=hint)
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")
    os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
    work.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(work / RAYS_OWN, ignore_errors=True)
    with connected(address, output=True) as ray:
        told = ray.remote(num_cpus=0)(Told).remote()
        given = {"words": list(arguments), "folder": str(Path.cwd()), "work": str(work.absolute()), "told": told}
        try:
            return _watched(ray, told, _trainer(ray, nproc, work, {**given, "version": pretune.__version__}))
        finally:
            shutil.rmtree(work / RAYS_OWN, ignore_errors=True)


class Told:
    """What the process here and the workers tell each other; an actor, so that it lives as long as the process here."""

    def __init__(self) -> None:
        self.stops: int = 0
        self.code: int | None = None
        self.problem: str | None = None

    def stop(self) -> None:
        self.stops += 1

    def asked(self) -> int:
        return self.stops

    def end(self, code: int, problem: str | None = None) -> None:
        self.code, self.problem = code, problem

    def ended(self) -> tuple[int | None, str | None]:
        return self.code, self.problem


def _trainer(ray: ModuleType, nproc: int, work: Path, given: dict[str, Any]) -> Any:
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    cores = [int(node.get("CPU", 0)) for node in nodes]
    gpus = sum(int(node.get("GPU", 0)) for node in nodes)
    if nproc > sum(cores):
        problem = f"the cluster has {sum(cores)} cores, and nproc={nproc} asks for one each"
        raise NotSupported(problem, hint="lower nproc, or add nodes: `ray start --address=HOST:6379`")
    return DataParallelTrainer(
        rank_on_node,
        train_loop_config=given,
        scaling_config=ScalingConfig(
            num_workers=nproc, use_gpu=gpus >= nproc, resources_per_worker={"CPU": cores_for_each(nproc, cores)}
        ),
        run_config=RunConfig(
            name=RAYS_OWN, storage_path=str(work.absolute()), failure_config=FailureConfig(max_failures=NEW_STARTS)
        ),
    )


def cores_for_each(nproc: int, cores: Sequence[int]) -> int:
    """The most cores that each of `nproc` ranks can have, on nodes with these."""
    return next(n for n in range(max(cores), 0, -1) if n == 1 or sum(node // n for node in cores) >= nproc)


def _watched(ray: ModuleType, told: Any, trainer: Any) -> int:
    """Wait for the end, in the main thread, which signals reach."""
    failed: list[BaseException] = []

    def fit() -> None:
        try:
            trainer.fit()
        except Exception as error:
            failed.append(error)

    def pass_on(number: int, frame: object) -> None:
        told.stop.remote()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, pass_on)
    thread = threading.Thread(target=fit, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(LOOK_SECONDS)
    code, problem = ray.get(told.ended.remote())
    if problem:
        raise UserError(problem, hint="every node needs the same version, and the same files under the same names")
    if failed and code in (None, 0):
        raise UserError(f"the ranks died more than {NEW_STARTS} times: {failed[0]}", hint="the same command continues")
    return 1 if code is None else int(code)


# ---- on a node ----------------------------------------------------------------------------------


def rank_on_node(given: dict[str, Any]) -> None:
    """One rank. Raises RuntimeError when it dies, so that Ray Train starts all again."""
    import ray
    from ray.train import get_context
    from ray.train.collective import barrier, broadcast_from_rank_zero

    context, told, rank = get_context(), given["told"], get_context().get_world_rank()
    if problem := _unfit(given):
        ray.get(told.end.remote(2, problem))
    host, port = broadcast_from_rank_zero(_meeting_place(ray))
    barrier()
    if ray.get(told.ended.remote())[1]:  # of any node, so that none waits for another
        return
    place = {"RANK": rank, "LOCAL_RANK": context.get_local_rank(), "WORLD_SIZE": context.get_world_size()}
    place |= {"MASTER_ADDR": host, "MASTER_PORT": port}
    code = _run(ray, told, given, {name: str(value) for name, value in place.items()})
    if code not in EXPECTED:
        raise RuntimeError(f"rank {rank} ended with exit code {code}")
    if rank == 0:
        ray.get(told.end.remote(code))


def _unfit(given: dict[str, Any]) -> str | None:
    if given["version"] != pretune.__version__:
        return f"a node of the cluster has pretune {pretune.__version__}, not {given['version']}"
    missing = [path for path in (given["folder"], given["work"]) if not Path(path).is_dir()]
    return f"a node of the cluster does not see the folder {missing[0]}" if missing else None


def _meeting_place(ray: ModuleType) -> tuple[str, int]:
    host = ray.util.get_node_ip_address()
    with socket.socket() as free:
        free.bind((host, 0))
        return host, free.getsockname()[1]


def _run(ray: ModuleType, told: Any, given: dict[str, Any], place: dict[str, str]) -> int:
    """The rank's process, which is asked to end as often as the process here is, and dies with this worker."""
    command = [sys.executable, "-m", "pretune", *given["words"]]
    with subprocess.Popen(command, env={**os.environ, **place}, cwd=given["folder"], preexec_fn=_die_with) as process:  # noqa: PLW1509
        stops = 0
        while process.poll() is None:
            asked = ray.get(told.asked.remote())
            if asked > stops:
                stops = asked
                process.terminate()
            time.sleep(LOOK_SECONDS)
    return process.returncode


def _die_with() -> None:
    """Linux ends this process when the thread that started it ends, be it by SIGKILL of the worker."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
