"""The guide's three commands, from raw data to served; the watch is killed in the middle, and goes on."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from pretune.apps.app import Started, open_app
from pretune.apps.serving import serving_app
from pretune.cli import cli
from pretune.testing.folders import write_model
from tests.apps.test_support_guide import ROOT, commands

NEWS = ROOT / "tests" / "recipes" / "data" / "news"


def counted(url: str, wanted: int) -> int:
    """Texts that a watch has counted, once there are as many as are wanted."""
    number = 0
    for _ in range(2400):
        number = sum(one["texts"] for one in httpx.get(f"{url}/v1/watch", timeout=60).json()["sources"])
        if number >= wanted:
            break
        time.sleep(0.05)
    return number


def test_three_commands_make_a_watch_that_counts_every_text_once_although_it_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    write_model(tmp_path / "runs" / "base", tmp_path / "words", "bert-labels")
    shutil.copy(NEWS / "news.csv", "news.csv")
    shutil.copy(NEWS / "stream.jsonl", "history.jsonl")
    shutil.copy(NEWS / "stream.jsonl", "news.jsonl")
    finetune, monitor, serve = commands("docs/en/guide.md", "A watch over news")
    cli.main([*finetune[1:], "steps=2"], standalone_mode=False)
    cli.main(monitor[1:], standalone_mode=False)
    command = [sys.executable, "-m", *serve, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8") as server:
        assert server.stdout is not None
        found = re.search(r"http://\S+", server.stdout.readline())
        assert found is not None
        before = counted(found[0], 1)
        server.kill()
    with (tmp_path / "news.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"time": "2026-02-01T00:00:00Z", "text": "Ostrand Bank opens again"}\n')
    number = len((tmp_path / "news.jsonl").read_text(encoding="utf-8").splitlines())
    assert 0 < before < number
    started = Started(lambda line: None, sources=["news.jsonl"])
    with serving_app(open_app("runs/watch"), started=started) as url:
        assert counted(url, number) == number
        texts = httpx.get(f"{url}/v1/watch").json()["sources"]
    assert [(one["texts"], one["repeated"], one["refused"]) for one in texts] == [(number, 0, 0)]
