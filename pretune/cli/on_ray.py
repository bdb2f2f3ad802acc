"""`ray=ADDRESS`: the same command as `nproc` ranks on nodes of a Ray cluster, placed and restarted by Ray Train.

    here             asks Ray Train for `nproc` workers; Ctrl-C and SIGTERM are passed on
    each worker      `pretune WORDS`, a process of its own, with RANK, WORLD_SIZE and the rest as torchrun sets them
    here, at last    the same command once more, alone: every artifact is there, so it only tells what was made

The nodes see the same files under the same names (NFS and the like). A rank that dies ends the others; Ray Train starts
all again, and they go on from the last checkpoint. When the process here dies, the ranks die with it.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pretune
from pretune.base.cluster import connected
from pretune.base.errors import NotSupported, UserError
from pretune.base.lock import free, holder_of, is_held
from pretune.base.parent import end_with_parent
from pretune.cli.launch import EXPECTED, SECONDS_TO_END, listening, taken_over

Look = Callable[[], tuple[int, int | None, str | None]]
"""See `Told.look`."""

NEW_STARTS = 3
"""Times that Ray Train starts all ranks again after one has died."""
LOOK_SECONDS = 0.5
ANSWER_SECONDS = 60
"""In which a node says whether a process of its own runs."""
LOCKS = "*.scratch/lock"
RAYS_OWN = ".ray"
"""Ray Train's folder in that of the recipe, and a word in it by which a node knows that it sees the same files."""
WORD = "word"
ALIKE = "every node needs the same version, and the same files under the same names"


def launch_on_ray(address: str, nproc: int, work: Path, arguments: Sequence[str]) -> int:
    """Run `pretune ARGUMENTS` as ranks of a cluster; returns the exit code of rank 0.

    Args:
        work: the folder of the recipe, which the nodes must see.

    Raises:
        MissingExtra, Unreachable: see `connected`; NotSupported: too few cores, or the address of a Ray client.
    """
    os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
    with shared(address, work) as (ray, given):
        return _watched(ray, given["told"], _trainer(ray, nproc, {**given, "words": list(arguments)}))


@contextmanager
def shared(address: str, work: Path) -> Iterator[tuple[ModuleType, dict[str, Any]]]:
    """Ray, connected, and what every node is given: by what it knows that it sees the same files, and whom to ask.

    Raises:
        MissingExtra, Unreachable, NotSupported: see `launch_on_ray`.
    """
    if address.startswith("ray://"):
        hint = "give the cluster's own address (auto, HOST:6379) on one of its nodes, or submit the command as a job"
        raise NotSupported("the process here must be one of the cluster, and no Ray client", hint=hint)
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")
    own, word = work / RAYS_OWN, secrets.token_hex(8)
    shutil.rmtree(own, ignore_errors=True)
    own.mkdir(parents=True)
    try:
        (own / WORD).write_text(word, encoding="utf-8")
        with connected(address, output=True) as ray:
            given = {"folder": str(Path.cwd()), "own": str(own.absolute()), "word": word}
            told = ray.remote(num_cpus=0)(Told).remote()
            yield ray, {**given, "told": told, "version": pretune.__version__}
    finally:
        shutil.rmtree(own, ignore_errors=True)


class Told:
    """What the process here and the workers tell each other; an actor, so that it lives as long as the process here."""

    def __init__(self) -> None:
        self.stops: int = 0
        self.code: int | None = None
        self.problem: str | None = None

    def stop(self) -> None:
        """The process here was asked to end, once more."""
        self.stops += 1

    def refuse(self, problem: str) -> None:
        """A node cannot run a rank."""
        self.problem = problem

    def end(self, code: int | None) -> None:
        """Rank 0 has ended, or begins."""
        self.code = code

    def look(self) -> tuple[int, int | None, str | None]:
        """(times that it was asked to end, exit code of rank 0 once that has ended, what is wrong with a node)."""
        return self.stops, self.code, self.problem


def _trainer(ray: ModuleType, nproc: int, given: dict[str, Any]) -> Any:
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
            name="train", storage_path=given["own"], failure_config=FailureConfig(max_failures=NEW_STARTS)
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

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    thread = threading.Thread(target=fit, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(LOOK_SECONDS)
    for number, handler in before.items():
        signal.signal(number, handler)
    _, code, problem = ray.get(told.look.remote())
    if problem:
        raise UserError(problem, hint=ALIKE)
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
    if rank == 0:
        free_abandoned(ray, Path(given["own"]).parent)
        ray.get(told.end.remote(None))
    if problem := unfit(given):
        ray.get(told.refuse.remote(problem))
    meeting = listening(ray.util.get_node_ip_address()) if rank == 0 else None
    host, port = broadcast_from_rank_zero(meeting and meeting.getsockname())
    barrier()
    if ray.get(told.look.remote())[2]:  # of any node, so that none waits for another
        return
    place = {"RANK": rank, "LOCAL_RANK": context.get_local_rank(), "WORLD_SIZE": context.get_world_size()}
    place |= {"MASTER_ADDR": host, "MASTER_PORT": port}
    told_place = {name: str(value) for name, value in place.items()}
    code = _run(given, told_place, lambda: ray.get(told.look.remote()), meeting)
    if code not in EXPECTED or (rank and code and not _has_leader_ended(lambda: ray.get(told.look.remote()))):
        raise RuntimeError(f"rank {rank} ended with exit code {code}")
    if rank == 0:
        ray.get(told.end.remote(code))


def unfit(given: Mapping[str, Any]) -> str | None:
    """What keeps this node from running a rank."""
    if given["version"] != pretune.__version__:
        return f"a node of the cluster has pretune {pretune.__version__}, not {given['version']}"
    word = Path(given["own"]) / WORD
    if not Path(given["folder"]).is_dir() or not word.is_file() or word.read_text(encoding="utf-8") != given["word"]:
        return f"a node of the cluster does not see the files of {given['folder']} and {word.parents[1]}"
    return None


def free_abandoned(ray: ModuleType, work: Path) -> None:
    """Let go of the locks of processes that are gone: as their own nodes say, or the cluster where a node was lost.

    Those of this host need no word: whoever wants such a lock sees by itself.
    """
    for lock in work.glob(LOCKS):
        holder = holder_of(lock)
        if holder and holder["host"] != socket.gethostname() and is_gone(ray, lock, holder["host"]):
            free(lock, holder)


def is_gone(ray: ModuleType, lock: Path, host: str) -> bool:
    """Whether a node of this name was lost, or says that nobody there holds the lock; a stranger may be alive."""
    from ray.exceptions import RayError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as On

    nodes = [node for node in ray.nodes() if node["NodeManagerHostname"] == host]
    there = [On(node["NodeID"], soft=False) for node in nodes if node["Alive"]]
    try:
        asked = [ray.remote(num_cpus=0)(is_held).options(scheduling_strategy=one).remote(lock) for one in there[:1]]
        return bool(nodes) and not any(ray.get(asked, timeout=ANSWER_SECONDS))
    except RayError:  # it is silent, or goes just now
        return False


def _run(given: Mapping[str, Any], place: Mapping[str, str], look: Look, meeting: socket.socket | None = None) -> int:
    """The exit code of the rank's process, which is asked to end as often as the process here is.

    It dies with this worker, and is killed when rank 0 has ended and it has not: it is frozen.
    """
    command, stops, left = [sys.executable, "-m", "pretune", *given["words"]], 0, SECONDS_TO_END
    more, files = taken_over(meeting) if meeting else ({}, ())
    start = partial(subprocess.Popen, cwd=given["folder"], preexec_fn=end_with_parent)
    with start(command, env={**os.environ, **place, **more}, pass_fds=files) as process:
        if meeting:
            meeting.close()  # it is the rank's
        while process.poll() is None:
            asked, code, _ = look()
            if asked > stops:
                stops = asked
                process.terminate()
            left -= 0.0 if code is None else LOOK_SECONDS
            if left <= 0:
                process.kill()
            time.sleep(LOOK_SECONDS)
    return process.returncode


def _has_leader_ended(look: Look) -> bool:
    """Whether rank 0 ends, too; else it is frozen, and all are to be started again."""
    end = time.monotonic() + SECONDS_TO_END
    while look()[1] is None and time.monotonic() < end:
        time.sleep(LOOK_SECONDS)
    return look()[1] is not None
