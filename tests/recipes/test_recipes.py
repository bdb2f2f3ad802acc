"""Every shipped recipe is checked, runs at smoke size, and a second run does nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pretune.base.log import Log
from pretune.base.recipe import Recipe

RECIPES = sorted((Path(__file__).parents[2] / "pretune" / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_a_shipped_recipe_runs_at_smoke_size_and_then_has_nothing_to_do(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    first = Recipe.read(path, size="smoke").run(log=Log(quiet=True))
    assert {p.status for p in Recipe.read(path, size="smoke").plan()} == {"current"}
    again = Recipe.read(path, size="smoke").run()
    told = capsys.readouterr().err
    assert all(f"{name}: current, nothing to do" in told for name in first)
    assert {n: a.card.id for n, a in again.items()} == {n: a.card.id for n, a in first.items()}


def test_one_changed_setting_reruns_that_stage_and_its_descendants_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (path,) = [p for p in RECIPES if p.stem == "quickstart"]
    before = {
        n: a.card.made["time"] + a.card.id for n, a in Recipe.read(path, size="smoke").run(log=Log(quiet=True)).items()
    }
    changed = Recipe.read(path, ("area.max_length=24",), size="smoke")
    planned = {p.name: p.status for p in changed.plan()}
    assert {n for n, status in planned.items() if status != "current"} == {"area", "area_report", "report"}
    assert planned["area"] == "will run"
    after = {n: a.card.made["time"] + a.card.id for n, a in changed.run(log=Log(quiet=True)).items()}
    assert {n for n in after if after[n] != before[n]} == {"area", "area_report", "report"}


def test_the_quickstart_asks_its_own_server_and_its_report_has_the_cards_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pretune.quickstart import quickstart

    monkeypatch.chdir(tmp_path)
    result = quickstart(
        "q", (), size="smoke", log=Log(quiet=True), command="test", stopping=lambda gentle: lambda: False
    )
    assert isinstance(result["answer"], str)
    page = Path("q/report.html").read_text(encoding="utf-8")
    assert "<script" not in page.lower() or "http" not in page.split("<script")[1][:200]
    report = json.loads(Path("q/report/report.json").read_text(encoding="utf-8"))
    card = json.loads(Path("q/area_report/artifact.json").read_text(encoding="utf-8"))
    assert report["metrics"]["area_report.accuracy"] == card["metrics"]["accuracy"]
