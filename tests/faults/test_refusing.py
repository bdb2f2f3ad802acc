"""Outliers and what is no number never reach the weights; a run goes back, passes their rows over, and says so."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from pretune.base.errors import NotFinite, Stopped
from pretune.tokens.rows import Row
from pretune.train.loop.refusing import Refuse, complaint, portion, remember
from tests.faults.small import Portions, alike, finished, session


def test_six_deviations_of_the_window_by_hand() -> None:
    refuse = Refuse(window=8)
    windows = {"loss": [3.0, 5.0] * 4}  # mean 4, deviation 1
    assert complaint(refuse, windows, {"loss": 10.0}) is None
    told = complaint(refuse, windows, {"loss": 10.01})
    assert told == "loss is 10.01, 6 deviations up: the last 8 have 4 and deviate by 1"
    assert complaint(refuse, windows, {"loss": -99.0}) is None, "lower is no fault"
    assert complaint(refuse, {"loss": [3.0, 5.0] * 3}, {"loss": 1e9}) is None, (
        "a window that is not full judges nothing"
    )
    assert complaint(Refuse(window=8, sigmas=None), windows, {"loss": 1e9}) is None
    assert complaint(Refuse(window=8, sigmas=None), windows, {"loss": math.inf}) == "loss is inf"
    assert complaint(refuse, {"loss": [4.0] * 8}, {"loss": 4.2}) is None, (
        "a hundredth of the mean is the least deviation"
    )


def test_a_window_holds_the_last_values_only() -> None:
    windows: dict[str, list[float]] = {}
    for value in range(11):
        remember(Refuse(window=8), windows, {"loss": float(value)})
    assert windows == {"loss": [3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0]}


def test_steps_read_the_portions_that_are_not_passed_over_in_their_order() -> None:
    passed = [5, 2, 3]
    assert [portion(step, passed) for step in range(6)] == [0, 1, 4, 6, 7, 8]


def spoilt(score: float) -> Callable[[list[Row]], list[Row]]:
    """The same rows, one of them with another score to learn."""
    return lambda rows: [{**rows[0], "score": score}, *rows[1:]]


def test_a_run_goes_back_and_ends_as_one_that_never_had_the_rows(tmp_path: Path) -> None:
    bad = {6: spoilt(math.nan), 7: spoilt(math.inf)}
    refuse = {"goes_back_after": 2}
    one = session(tmp_path / "bad", stream=lambda plain: Portions(plain, changed=bad), refuse=refuse)
    found = finished(one)
    other = session(tmp_path / "good", stream=lambda plain: Portions(plain, without=(6, 7)), refuse=refuse)
    assert alike(found, finished(other))
    first, second, back = one.context.log.warnings
    assert first.startswith("step 7 is refused: the loss 'loss' is nan") and "training rows" in first
    assert second.startswith("step 8 is refused: the loss 'loss' is inf")
    assert back.endswith("back to step 4, passing over the rows of 2 steps")
    points = [json.loads(line) for line in (tmp_path / "bad/metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {"step": 5, "went_back_from": 8, "passed_over": [6, 7]} in points
    assert [p["step"] for p in points if "loss" in p] == list(range(1, 13)), "the steps that were undone are cut back"


@pytest.mark.parametrize("stops_after", [7, 8, 10])
def test_stopped_before_or_after_going_back_it_ends_with_the_same_bits(tmp_path: Path, stops_after: int) -> None:
    def run(folder: Path, *, stops: int = 0) -> dict[str, torch.Tensor]:
        at: list[int] = []
        changed = {6: spoilt(math.nan), 7: spoilt(math.nan)}
        one = session(
            folder,
            stream=lambda plain: Portions(plain, changed=changed),
            refuse={"goes_back_after": 2, "window": 8},
            stopping=lambda: bool(at) and at[-1] == stops,
        )
        return finished(one, lambda report: bool(at.append(report.step)))

    whole = run(tmp_path / "whole")
    with pytest.raises(Stopped):
        run(tmp_path / "cut", stops=stops_after)
    assert alike(run(tmp_path / "cut"), whole)


def test_weights_that_were_spoilt_in_memory_come_back_from_the_checkpoint(tmp_path: Path) -> None:
    whole = finished(session(tmp_path / "whole"))
    done: list[int] = []
    one = session(tmp_path / "spoilt", refuse={"goes_back_after": 2})

    def after(report: object) -> bool:
        if one.state.step == 6 and not done:
            done.append(next(iter(one.state.update.weights.values())).data.view(-1)[:1].fill_(math.nan).numel())
        return False

    found = finished(one, after)
    assert all(torch.isfinite(weight).all() for weight in found.values())
    name = next(iter(one.state.update.weights))
    assert f"since the weight {name} holds what is no number" in one.context.log.warnings[0]
    assert not alike(found, whole), "the rows of two steps were passed over"


def test_without_a_checkpoint_to_go_back_to_it_ends_naming_step_term_and_rows(tmp_path: Path) -> None:
    bad = dict.fromkeys(range(99), spoilt(math.nan))
    one = session(tmp_path, stream=lambda plain: Portions(plain, changed=bad))
    with pytest.raises(NotFinite, match=r"step 3: 3 steps .* loss 'loss' is nan.* \(training rows .* no checkpoint"):
        finished(one)


def test_numbers_that_stay_far_outside_are_the_new_level_and_end_nothing(tmp_path: Path) -> None:
    high = dict.fromkeys(range(10, 99), lambda rows: [{**row, "score": 1000.0} for row in rows])
    refuse = {"window": 8, "goes_back_after": 2}
    one = session(tmp_path, steps=16, stream=lambda plain: Portions(plain, changed=high), refuse=refuse)
    finished(one)
    assert sum("back to step" in told for told in one.context.log.warnings) == 2
    assert "taken for the new level" in one.context.log.warnings[-1]
    assert one.state.updates > 10
