"""A search on a real model, killed in the middle of a trial: the same command ends with the same study."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pretune.base.log import Log
from pretune.base.recipe import Recipe
from pretune.testing.folders import write_model
from pretune.tune.command import Outcome, Wanted, opened, tuned

RECIPE = """
work: work
stages:
  data:   {kind: dataset, read: [d.csv], validation: 0.25, test: 0.2}
  tuned:  {kind: finetune, model: base, data: $data, task: classify, steps: 8, batch: 8, evaluate_every: 4,
           precision: float32, max_length: 16, save_every: 1}
"""
SEARCHED = ("tuned.optim.learning_rate=1e-4..1e-2", "tuned.batch=4,8")
WORDS = ("cat", "hat", "the", "你好", "🙂")


def world(folder: Path) -> None:
    folder.mkdir()
    write_model(folder / "base", folder / "words", "bert-labels")
    rows = [f"{a} and {b} {k},{a}" for k in range(4) for a in WORDS for b in WORDS]
    (folder / "d.csv").write_text("text,label\n" + "\n".join(rows) + "\n", encoding="utf-8")
    (folder / "r.yaml").write_text(RECIPE, encoding="utf-8")


def run(trials: int) -> Outcome:
    job, study = opened(Wanted("r.yaml", SEARCHED, trials=trials))
    return tuned(job, study, log=Log(quiet=True), command="test", stopping=lambda gentle: lambda: False)


def lines() -> list[str]:
    path = Path("work.tune/trials.jsonl")
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


def kill_in_the_second_trial() -> None:
    """Start the command, and kill it once the trial after the first has saved a checkpoint."""
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "pretune", "tune", "r.yaml", *SEARCHED, "--trials", "2", "--quiet"]
    running = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(root)})
    begun = time.monotonic()
    while not (len(lines()) == 1 and list(Path("work/tuned.scratch").glob("checkpoints/*/*"))):
        assert running.poll() is None, "it ended before it could be killed"
        assert time.monotonic() - begun < 300
        time.sleep(0.02)
    running.kill()
    running.wait()


def test_kill_in_a_trial_loses_no_finished_one_and_the_study_ends_as_if_it_had_not_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("quiet", "killed"):
        world(tmp_path / name)
    monkeypatch.chdir(tmp_path / "quiet")
    wanted = [(one["values"], one["score"]) for one in run(2).facts["trials"]]
    monkeypatch.chdir(tmp_path / "killed")
    kill_in_the_second_trial()
    before = lines()
    assert len(before) == 1
    found = run(2)
    assert lines()[0] == before[0]
    assert [(one["values"], one["score"]) for one in found.facts["trials"]] == wanted
    assert {plan.status for plan in Recipe.read(found.facts["recipe"]).plan()} == {"current"}
