"""One process at a time: whoever lives holds a lock, whoever died does not, and no clock is asked."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from pretune.base.errors import Locked
from pretune.base.lock import free, is_held, is_running, release, started, take
from pretune.base.staging import Workspace

KEY = "0" * 32
RACER = """
import sys, time
from pathlib import Path
from pretune.base.errors import Locked
from pretune.base.lock import take
lock = Path(sys.argv[1])
print("ready", flush=True)
while not (lock.parent / "go").exists():
    time.sleep(0.001)
try:
    take(lock, "it")
    print("took", flush=True)
    sys.stdin.read()
except Locked:
    print("refused", flush=True)
"""


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "lock"


def parent(**other: Any) -> str:
    """The lock of a process that runs, which is not this one."""
    return json.dumps({"pid": os.getppid(), "host": socket.gethostname(), "started": started(os.getppid()), **other})


def test_another_process_at_work_is_refused_and_a_dead_one_is_not(tmp_path: Path) -> None:
    with Workspace(tmp_path / "x", KEY).opened() as work:
        (work.scratch / "lock").write_text(parent(), encoding="utf-8")
        with pytest.raises(Locked), Workspace(tmp_path / "x", KEY).opened():
            pass
        # The pid was given to another process since.
        (work.scratch / "lock").write_text(parent(started="an older boot/1"), encoding="utf-8")
        with Workspace(tmp_path / "x", KEY).opened():
            pass


def test_the_same_process_cannot_take_it_twice_but_again(lock: Path) -> None:
    """Two threads of a notebook would write into one folder."""
    take(lock, "it")
    with pytest.raises(Locked):
        take(lock, "it")
    release(lock)
    take(lock, "it")


def test_only_ones_own_lock_is_given_back(lock: Path) -> None:
    take(lock, "it")
    lock.write_text(parent(), encoding="utf-8")
    release(lock)
    assert lock.exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}', '{"pid": "x", "host": "h", "started": "s"}', "null"])
def test_a_lock_that_says_nothing_holds_nothing(lock: Path, text: str) -> None:
    lock.write_text(text, encoding="utf-8")
    assert not is_held(lock)
    take(lock, "it")


def test_a_lock_of_another_host_is_believed(lock: Path) -> None:
    lock.write_text(parent(host="elsewhere", pid=1, started="x"), encoding="utf-8")
    assert is_held(lock)


def test_a_clock_that_is_set_makes_nobody_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    """On Linux the time of the boot, by which psutil counts, is now minus the uptime: it moves with the clock."""
    since = started(os.getpid())
    for module in (psutil, psutil._psplatform):
        monkeypatch.setattr(module, "boot_time", lambda: time.time() + 3600)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert since and is_running(os.getpid(), since)


def test_a_process_that_ended_runs_no_more_though_nobody_waited_for_it() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    since = started(child.pid)
    assert since and is_running(child.pid, since)
    child.kill()
    end = time.monotonic() + 20
    while is_running(child.pid, since) and time.monotonic() < end:  # a zombie until wait()
        time.sleep(0.01)
    assert not is_running(child.pid, since)
    child.communicate()


def test_of_many_that_find_a_dead_lock_at_once_one_takes_it(lock: Path) -> None:
    lock.write_text(parent(started="dead"), encoding="utf-8")
    racers = [
        subprocess.Popen([sys.executable, "-c", RACER, lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    assert [racer.stdout.readline().strip() for racer in racers if racer.stdout] == ["ready"] * 3
    (lock.parent / "go").touch()
    said = [racer.stdout.readline().strip() for racer in racers if racer.stdout]
    for racer in racers:
        racer.communicate()
    assert sorted(said) == ["refused"] * 2 + ["took"]


@pytest.mark.parametrize(
    ("job", "restarts", "is_free"),
    [("7", "1", True), ("7", "0", False), ("7", None, False), ("8", "1", False), (None, None, False)],
)
def test_a_job_that_slurm_started_again_takes_over_from_its_lost_node(
    job: str | None, restarts: str | None, is_free: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, given = tmp_path / "lock", {"SLURM_JOB_ID": job, "SLURM_RESTART_COUNT": restarts}
    monkeypatch.setenv("SLURM_CLUSTER_NAME", "big")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.delenv("SLURM_RESTART_COUNT", raising=False)
    take(lock, "x")
    holder = json.loads(lock.read_text(encoding="utf-8"))
    lock.write_text(json.dumps({**holder, "host": "lost"}), encoding="utf-8")
    for name, value in given.items():
        monkeypatch.delenv(name, raising=False) if value is None else monkeypatch.setenv(name, value)
    assert is_held(lock) != is_free


def test_a_lock_of_another_host_says_how_to_see_that_it_is_dead_and_which_file_to_remove(tmp_path: Path) -> None:
    lock = tmp_path / "my runs" / "lock"
    lock.parent.mkdir()
    lock.write_text(json.dumps({"pid": 4711, "host": "lost", "started": "boot/1"}), encoding="utf-8")
    with pytest.raises(Locked) as told:
        take(lock, "'base'")
    assert told.value.problem == "process 4711 on lost is working on 'base'"
    assert f"if lost is off, or `ps -p 4711` there shows no pretune: `rm '{lock}'`" in str(told.value.hint)
    free(lock, {"pid": 4712, "host": "lost", "started": "boot/1"})
    assert lock.exists(), "it is another's by now"
    free(lock, {"pid": 4711, "host": "lost", "started": "boot/1"})
    take(lock, "'base'")
