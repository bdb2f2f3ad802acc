"""A command that was started lives on its own: followed, found again, stopped; here it is a studio itself."""

from __future__ import annotations

import time
from pathlib import Path

import httpx
import pytest

from pretune.base.errors import Locked
from pretune.studio.runs import Run, Runs
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
