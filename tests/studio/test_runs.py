"""A command that was started lives on its own: followed, found again, stopped; here it is a studio itself."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import httpx
import pytest

from pretune.base.errors import Locked
from pretune.base.lock import started
from pretune.studio import runs as module
from pretune.studio.runs import Run, Runs, Started
from pretune.studio.start import opened


def wait_for(run: Run, text: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while text not in run.log and time.monotonic() < end:
        time.sleep(0.1)
    assert text in run.log


def test_a_run_has_a_life_of_its_own_and_a_second_studio_in_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('a file of the folder was run')", encoding="utf-8")
    runs, home = Runs(tmp_path, tmp_path / ".studio" / "runs"), tmp_path / ".studio" / "runs"
    run = runs.start(["studio", ".", "--port", "0"])
    wait_for(run, "Ctrl-C stops")
    url = run.log.partition(": ")[2].partition("/?")[0]
    assert httpx.get(url, timeout=60).status_code == 401, "it answers, so a signal finds its handler"
    with pytest.raises(Locked), opened(tmp_path):
        pass
    again = Runs(tmp_path, home).all()
    assert [(one.id, one.state, one.typed) for one in again] == [("0001", "running", "pretune studio . --port 0")]
    again[0].stop()
    assert run.wait(60) == "done"
    with opened(tmp_path):
        assert [one.state for one in runs.all()] == ["done"]


def running(home: Path, id: str, of: str, *, born: str | None = None) -> None:
    """The folder of a run whose process is this one, or was."""
    (home / id).mkdir(parents=True)
    known = {
        "words": ["check", "./a"],
        "pid": os.getpid(),
        "began": 0.0,
        "born": born or started(os.getpid()),
        "of": of,
    }
    (home / id / "run.json").write_text(json.dumps(known), encoding="utf-8")


def test_what_runs_already_is_not_started_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "runs"
    running(home, "0001", "pretune check ./a")
    running(home, "0002", "pretune check ./b", born="before")
    runs = Runs(tmp_path, home)
    new = Run(home / "0003", Started((), 0, 0.0))
    monkeypatch.setattr(Runs, "_started", lambda self, words, of: new)
    assert runs.start(["check", "./a"]).id == "0001"
    assert runs.start(["check", "./b"]) is new, "that one has ended"
    assert runs.start(["check", "./a"], "another text of it") is new


@pytest.mark.parametrize("text", ["", "{", "[]", '{"words": 3}', '{"words": [], "pid": 1, "more": 2}'])
def test_a_damaged_run_and_foreign_names_hide_none_of_the_others(tmp_path: Path, text: str) -> None:
    running(tmp_path, "0001", "")
    running(tmp_path, "0002", "")
    (tmp_path / "0002" / "run.json").write_text(text, encoding="utf-8")
    for name in ("0003-copy", "1e5", "\u0664"):
        (tmp_path / name).mkdir()
    runs = Runs(tmp_path, tmp_path)
    assert [run.id for run in runs.all()] == ["0001"] and runs.find("../0001") is None
    assert [run.log for run in runs.all()] == [""], "its log was deleted"


def test_a_run_is_asked_to_stop_by_what_the_system_has_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On Windows SIGTERM ends a process at once, and nothing is saved."""
    sent = []
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append(number))
    run = Run(tmp_path, Started((), os.getpid(), 0.0, started(os.getpid()) or ""))
    run.stop()
    monkeypatch.setattr(module, "STOP", 1)
    run.stop()
    assert sent == [signal.SIGTERM, 1]
