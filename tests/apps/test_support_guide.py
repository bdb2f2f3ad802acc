"""The guide's three commands, from raw data to served; and what a server that is killed had answered."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from pretune.apps.support.record import Record
from pretune.cli import cli

ROOT = Path(__file__).parents[2]
SHOP = ROOT / "tests" / "recipes" / "data" / "shop"


def commands(page: str, heading: str) -> list[list[str]]:
    """The commands of the first fence below a heading."""
    below = (ROOT / page).read_text(encoding="utf-8").partition(f"\n### {heading}\n")[2]
    fence = re.search(r"```\n(.*?)```", below, re.DOTALL)
    assert fence is not None, heading
    return [shlex.split(line) for line in fence[1].splitlines()]


def test_three_commands_make_a_desk_that_answers_and_forgets_nothing_when_it_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(SHOP / "docs", "docs")
    shutil.copy(SHOP / "faq.csv", "faq.csv")
    shutil.copy(SHOP / "dev.csv", "questions.csv")
    make, predict, serve = commands("docs/en/guide.md", "A support desk")
    cli.main(make[1:], standalone_mode=False)
    cli.main(predict[1:], standalone_mode=False)
    assert "within 30 days" in capsys.readouterr().out
    command = [sys.executable, "-m", *serve, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8") as server:
        assert server.stdout is not None
        found = re.search(r"http://\S+", server.stdout.readline())
        assert found is not None
        said = httpx.post(f"{found[0]}/v1/ask", json={"question": "Who is the president of France?"}, timeout=60).json()
        server.kill()
    record = Record(tmp_path / "runs" / "desk" / "state")
    (turn,) = record.talk(said["talk"])
    record.close()
    assert (turn["question"], turn["ticket"]) == ("Who is the president of France?", said["ticket"])
