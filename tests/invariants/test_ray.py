"""Ranks on the nodes of a Ray cluster are the ranks of this machine: the same bits, whoever is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

import pretune
from pretune.base.errors import Locked, NotSupported, Stopped
from pretune.base.lock import is_held
from pretune.cli import on_ray, trials_on_ray
from pretune.cli.launch import listening
from pretune.cli.on_ray import WORD, cores_for_each, unfit
from pretune.cli.trials_on_ray import nodes_and_shares, patiently
from pretune.tune.study import Trial
from tests.invariants.test_ranks import assert_equal, run, together, told, world
from tests.tune.toys import RECIPE as TOYS

__all__ = ["together", "world"]
WORK = "cluster"
pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::FutureWarning"
)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Two nodes with one core each, as processes of their own."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore")
        patch.setenv("RAY_worker_niceness", "0")  # else the other tests, which are many, come first
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))  # of the nodes, which find the toys there
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        cluster.add_node(num_cpus=1)
        yield cluster.address
        cluster.shutdown()


def ranks_at_work() -> list[psutil.Process]:
    """The processes that train, wherever they were started."""

    def is_rank(process: psutil.Process) -> bool:
        try:
            return f"work={WORK}" in process.cmdline() and "RANK" in process.environ()
        except psutil.Error:
            return False

    return [process for process in psutil.process_iter() if is_rank(process)]


def started(world: Path, address: str) -> subprocess.Popen[bytes]:
    return run(world, WORK, "nproc=2", f"ray={address}")


def wait_for(condition: Callable[[], object], process: subprocess.Popen[bytes] | None = None) -> None:
    deadline = time.monotonic() + 240
    while not condition() and time.monotonic() < deadline and (process is None or process.poll() is None):
        time.sleep(0.02)
    assert condition()


def has_checkpoint(world: Path, stage: str, step: int) -> bool:
    return any((world / WORK / f"{stage}.scratch" / "checkpoints").glob(f"step-*{step}"))


def test_with_a_rank_killed_and_then_all_of_it_it_ends_with_the_bits_of_this_machine(
    world: Path, together: Path, address: str
) -> None:
    killed = started(world, address)
    wait_for(lambda: has_checkpoint(world, "base", 4), killed)
    ranks_at_work()[0].send_signal(signal.SIGKILL)  # Ray Train starts both again
    wait_for(lambda: has_checkpoint(world, "classifier", 4), killed)
    killed.kill()
    killed.wait()
    wait_for(lambda: not ranks_at_work())
    assert not (world / WORK / "classifier" / "artifact.json").exists(), "it was killed in the middle"
    assert started(world, address).wait(timeout=240) == 0, told(world)
    assert_equal(together, world / WORK, 0.0)
    assert not (world / WORK / ".ray").exists()


def test_more_processes_than_cores_are_refused(world: Path, address: str) -> None:
    (world / "log.txt").unlink()
    assert run(world, "many", "nproc=4", f"ray={address}").wait(timeout=60) == 2
    assert "the cluster has 2 cores, and nproc=4" in told(world)


def test_each_rank_gets_as_many_cores_as_all_can_have() -> None:
    assert cores_for_each(2, [8, 8]) == 8
    assert cores_for_each(4, [8, 8]) == 4
    assert cores_for_each(3, [8, 4]) == 4
    assert cores_for_each(3, [7, 2]) == 2, "three on the first node; or two there, of three cores each, and none beside"
    assert cores_for_each(9, [8, 1]) == 1


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({}, None),
        ({"version": "0.0.1"}, f"pretune {pretune.__version__}, not 0.0.1"),
        ({"word": "another"}, "does not see the files"),
        ({"own": "nowhere"}, "does not see the files"),
        ({"folder": "nowhere"}, "does not see the files"),
    ],
)
def test_a_node_that_sees_other_files_or_has_another_version_runs_no_rank(
    changed: dict[str, str], told: str | None, tmp_path: Path
) -> None:
    (tmp_path / WORD).write_text("one", encoding="utf-8")
    given = {"version": pretune.__version__, "word": "one", "own": str(tmp_path), "folder": str(tmp_path)}
    found = unfit({**given, **changed})
    assert found is None if told is None else told in str(found)


@pytest.mark.parametrize(
    ("script", "look", "code"),
    [
        ("exit 3", (0, None, None), 3),
        ("exec sleep 60", (1, None, None), -signal.SIGTERM),
        ("trap '' TERM; while :; do sleep 1; done", (0, 1, None), -signal.SIGKILL),
    ],
)
def test_a_rank_is_asked_to_end_with_the_terminal_and_killed_if_it_outlives_rank_0(
    script: str, look: tuple[int, int | None, str | None], code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (python := tmp_path / "python").write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    python.chmod(0o755)
    monkeypatch.setattr(on_ray.sys, "executable", str(python))
    monkeypatch.setattr(on_ray, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(on_ray, "SECONDS_TO_END", 0.3)
    assert on_ray._run({"words": [], "folder": str(tmp_path)}, {}, lambda: look) == code


def test_rank_0_gets_the_socket_that_was_bound_for_its_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (python := tmp_path / "python").write_text(
        "#!/bin/sh\nreadlink /proc/self/fd/$PRETUNE_STORE_FILE | grep -q socket: && exit 3\n", encoding="utf-8"
    )
    python.chmod(0o755)
    monkeypatch.setattr(on_ray.sys, "executable", str(python))
    monkeypatch.setattr(on_ray, "LOOK_SECONDS", 0.05)
    meeting = listening("127.0.0.1")
    assert on_ray._run({"words": [], "folder": str(tmp_path)}, {}, lambda: (0, None, None), meeting) == 3
    assert meeting.fileno() == -1, "it is the rank's alone"


# ---- a search -----------------------------------------------------------------------------------

SEARCHED = ("hill.k=1,2", "hill.way=plain,deadly", "hill.gate=gate")


@pytest.fixture
def search(tmp_path: Path, address: str) -> Callable[[], subprocess.Popen[bytes]]:
    (tmp_path / "r.yaml").write_text(TOYS, encoding="utf-8")
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    words = [sys.executable, "-m", "pretune", "tune", "r.yaml", *SEARCHED, "--sampler", "grid", f"ray={address}"]

    def start() -> subprocess.Popen[bytes]:
        with (tmp_path / "log.txt").open("ab") as log:
            return subprocess.Popen(words, cwd=tmp_path, env=env, stdout=log, stderr=log)

    return start


def test_a_search_is_stopped_killed_and_loses_a_process_and_still_tries_everything_once(
    tmp_path: Path, search: Callable[[], subprocess.Popen[bytes]]
) -> None:
    def at_work() -> list[Path]:
        return [lock for lock in (tmp_path / "work").glob("hill@*.scratch/lock") if is_held(lock)]

    stopped = search()
    wait_for(lambda: len(at_work()) == 2, stopped)  # a trial on each node
    stopped.terminate()
    assert stopped.wait(timeout=120) == 130, told(tmp_path)
    assert not at_work()
    killed = search()
    wait_for(lambda: len(at_work()) == 2, killed)
    killed.kill()
    killed.wait()
    wait_for(lambda: not at_work())
    (tmp_path / "gate").touch()
    assert search().wait(timeout=240) == 0, told(tmp_path)
    lines = (tmp_path / "work.tune" / "trials.jsonl").read_text(encoding="utf-8").splitlines()
    trials = [json.loads(line) for line in lines]
    wanted = [{"hill.k": k, "hill.way": way} for k in (1, 2) for way in ("plain", "deadly")]
    assert sorted(map(str, (trial["values"] for trial in trials))) == sorted(map(str, wanted))
    assert {trial["state"] for trial in trials} == {"finished"}, "a process that died was begun again"
    assert not (tmp_path / "work" / ".ray").exists()


def test_a_trial_gets_a_node_or_a_gpu_and_no_more_cores_than_the_least_of_them_has() -> None:
    def node(name: str, alive: bool = True, **has: float) -> dict[str, Any]:
        return {"NodeID": name, "Alive": alive, "Resources": has}

    assert nodes_and_shares([node("a", CPU=8), node("b", CPU=4), node("c", alive=False, CPU=1), node("d", CPU=0)]) == (
        ["a", "b"],
        {"num_cpus": 4, "num_gpus": 0},
    )
    assert nodes_and_shares([node("a", CPU=8, GPU=2), node("b", CPU=4)]) == (["a", "a"], {"num_cpus": 4, "num_gpus": 1})
    with pytest.raises(NotSupported, match="no node of the cluster has a core"):
        nodes_and_shares([node("a", GPU=2)])


def test_a_trial_waits_for_a_stage_that_another_one_makes_unless_it_is_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials_on_ray, "WAIT_SECONDS", 0.0)
    done, freed = Trial({}, 1.0), list[int]()

    def run() -> Trial:
        if len(freed) < 3:
            raise Locked("process 1 on there is working on 'x'", hint="wait for it")
        return done

    assert patiently(run, lambda: False, lambda: freed.append(1)) is done
    freed.clear()
    with pytest.raises(Stopped):
        patiently(run, lambda: True, lambda: freed.append(1))


# ---- locks of those that are gone ---------------------------------------------------------------


class Nodes:
    """A cluster as far as it is asked about nodes; `held`: what the living ones say of a lock."""

    def __init__(self, alive: dict[str, bool], held: bool):
        self.alive, self.held = alive, held

    def nodes(self) -> list[dict[str, Any]]:
        return [{"NodeID": "0" * 56, "NodeManagerHostname": name, "Alive": on} for name, on in self.alive.items()]

    def remote(self, **options: Any) -> Any:
        return lambda function: SimpleNamespace(options=lambda **more: SimpleNamespace(remote=lambda lock: self.held))

    def get(self, asked: list[bool], timeout: float) -> list[bool]:
        return asked


@pytest.mark.parametrize(
    ("alive", "held", "is_free"),
    [
        ({"there": True}, True, False),
        ({"there": True}, False, True),
        ({"there": False}, True, True),
        ({"elsewhere": True, "lost": False}, False, False),
    ],
)
def test_a_lock_is_let_go_where_its_node_was_lost_or_knows_nothing_of_its_process(
    alive: dict[str, bool], held: bool, is_free: bool, tmp_path: Path
) -> None:
    pytest.importorskip("ray")
    lock = tmp_path / "base.scratch" / "lock"
    lock.parent.mkdir()
    lock.write_text(json.dumps({"pid": 7, "host": "there", "started": "boot/7"}), encoding="utf-8")
    on_ray.free_abandoned(Nodes(alive, held), tmp_path)  # type: ignore[arg-type]
    assert lock.exists() != is_free
