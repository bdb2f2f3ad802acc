"""What the quickstart does follows the speed of the machine, and its time does not."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest

from pretune.base.log import Log
from pretune.base.yaml import read_yaml
from pretune.model.shape import SHAPE
from pretune.quickstart import measured_speed, planned, read_recipe
from pretune.quickstart.plan import TABLE, plan_text, row_of, seconds_of, settings_of
from pretune.train.forecast.speed import TRAINING, best_precision, remembered
from pretune.train.loop.runtime import device_of

RECIPE = Path(__file__).parents[2] / "pretune" / "recipes" / "quickstart.yaml"
BFLOAT16 = 180
"""The speed from which a machine counts as one with bfloat16 in hardware."""
INSTALLING = 90
"""Seconds that `make quickstart` takes to make the environment, from a warm cache of pip."""
ids = [f"{row.gflops:g}" for row in TABLE]


@pytest.mark.parametrize("row", TABLE, ids=ids)
def test_everything_takes_a_quarter_of_an_hour_or_ten_minutes_with_bfloat16_with_installing(row) -> None:
    minutes = (sum(seconds_of(row).values()) + INSTALLING) / 60
    assert minutes <= (10 if row.gflops >= BFLOAT16 else 15)


@pytest.mark.parametrize("row", TABLE, ids=ids)
def test_the_recipe_takes_the_settings_of_each_speed_and_trains_by_minutes_alone(row, tmp_path: Path) -> None:
    recipe = read_recipe(tmp_path.as_posix(), settings_of(row))
    base, chat, order = (recipe.stages[name] for name in ("base", "chat", "order"))
    assert (base.minutes, chat.minutes, order.minutes) == (row.base_minutes, row.chat_minutes, row.order_minutes)
    assert (base.batch, chat.batch, order.batch) == (row.base_batch, row.chat_batch, row.order_batch)
    assert recipe.stages["questions"].read == [f"python:questions?functions={row.functions}&skimmed={row.skimmed}"]
    assert {*seconds_of(row)} == {*recipe.stages}


def test_the_shipped_recipe_is_that_of_two_cores_with_bfloat16(tmp_path: Path) -> None:
    planned = read_recipe(tmp_path.as_posix(), settings_of(row_of(250e9)))
    assert planned.stages == read_recipe(tmp_path.as_posix()).stages


@pytest.mark.parametrize(("gflops", "at_least"), [(1, 0), (44.9, 0), (45, 45), (64, 45), (250, 180), (1e6, 400)])
def test_the_row_is_the_last_whose_speed_is_reached(gflops: float, at_least: float) -> None:
    assert row_of(gflops * 1e9).gflops == at_least


def test_a_faster_machine_is_asked_for_more_and_never_for_less() -> None:
    for slow, fast in pairwise(TABLE):
        assert slow.gflops < fast.gflops
        assert slow.functions <= fast.functions
        assert operations_per_token(slow) <= operations_per_token(fast)


def operations_per_token(row) -> float:
    shape = SHAPE(row_model(row))
    return shape.layout().flops_per_token(8192, 256)


def row_model(row) -> dict:
    pairs = re.findall(r"(\w+): (\w+)", row.model)
    return {name: int(value) if value.isdecimal() else value for name, value in pairs}


@pytest.mark.parametrize("row", TABLE[1:], ids=ids[1:])
def test_the_minutes_of_the_chat_hold_one_and_a_half_epochs_at_the_least_speed_of_the_row(row) -> None:
    tokens = row.functions * TOKENS_PER_FUNCTION + row.skimmed * TOKENS_PER_SKIMMED
    epochs = 60 * row.chat_minutes * row.gflops * 1e9 / (tokens * operations_per_token(row))
    assert 1.4 < epochs < 3.2


TOKENS_PER_FUNCTION = 950
TOKENS_PER_SKIMMED = 100
"""28 questions with their answers, packed (400 functions are 185 steps of 8 x 256)."""


def test_the_plan_names_every_stage_with_its_time_and_says_that_faster_machines_read_more() -> None:
    row = row_of(64e9)
    told = plan_text(row, 64e9, seconds_of(row))
    assert told.startswith("Training runs at 64 GFLOP/s here; everything takes about ")
    assert "训练速度是 64 GFLOP/s" in told
    for stage in read_yaml(RECIPE)[0]["stages"]:
        assert re.search(rf"^ +\d+:\d\d  {stage} ", told, re.MULTILINE), stage
    assert f"questions about {row.functions} functions" in told
    assert f"up to {TABLE[-1].functions} functions" in told
    assert "faster machine" not in plan_text(TABLE[-1], 500e9, seconds_of(TABLE[-1]))


def test_a_speed_that_was_measured_before_is_not_measured_again_and_the_plan_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PRETUNE_CACHE", tmp_path.as_posix())
    device = device_of()
    best = best_precision(device)
    remembered(f"{TRAINING} {device.type} {best}", lambda: 64e9)
    assert measured_speed(Log()) == 64e9
    assert planned(Log()) == row_of(64e9)
    assert "Training runs at 64 GFLOP/s here" in capsys.readouterr().err
