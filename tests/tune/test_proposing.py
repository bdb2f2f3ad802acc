"""Ranges as they are written, and what is proposed of them."""

from __future__ import annotations

import statistics

import pytest

from pretune.tune.proposing import Sampler, grid, importance, propose
from pretune.tune.space import Axis
from pretune.tune.study import Trial
from tests.tune.functions import FUNCTIONS, lowest, tried


@pytest.mark.parametrize("name", ["sphere", "fine-tuning", "ridge"])
def test_sixteen_trials_of_tpe_find_what_thirty_two_random_ones_find_in_the_median_of_twenty_seeds(name: str) -> None:
    tpe = statistics.median(lowest(tried(name, "tpe", 16, seed)) for seed in range(20))
    assert tpe <= statistics.median(lowest(tried(name, "random", 32, seed)) for seed in range(20))


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_a_proposal_is_a_function_of_the_seed_and_the_trials_so_far(sampler: Sampler) -> None:
    axes, _ = FUNCTIONS["fine-tuning"]
    trials = tried("fine-tuning", sampler, 9, seed=3)
    for number, trial in enumerate(trials):
        assert propose(axes, trials[:number], sampler=sampler, seed=3, lower=True) == trial.values
    assert tried("fine-tuning", sampler, 9, seed=4) != trials


def test_proposals_lie_in_their_ranges_with_three_digits_and_whole_numbers_stay_whole() -> None:
    for trial in tried("fine-tuning", "tpe", 30, seed=0):
        rate, epochs = trial.values["rate"], trial.values["epochs"]
        assert 1e-5 <= rate <= 1e-2
        assert float(f"{rate:.3g}") == rate
        assert type(epochs) is int
        assert 1 <= epochs <= 8
    narrow = (Axis("x", low=0.12345, high=0.12346),)
    assert {propose(narrow, [], sampler="random", seed=s)["x"] for s in range(9)} <= {0.12345, 0.12346}  # type: ignore[index]


def test_a_grid_has_every_combination_once_and_then_ends() -> None:
    axes = (Axis("a", (1, 2, 3)), Axis("b", ("x", {"kind": "lora", "rank": 4})))
    trials: list[Trial] = []
    while (values := propose(axes, trials, sampler="grid", seed=1)) is not None:
        trials.append(Trial(values, 0.0))
    assert len(trials) == 6
    assert all(trial.values in grid(axes, seed=2) for trial in trials)
    assert [t.values for t in trials] == grid(axes, seed=1) != grid(axes, seed=2)


def test_a_grid_passes_over_what_another_seed_or_sampler_has_tried() -> None:
    axes = (Axis("a", (1, 2, 3)), Axis("b", ("x", "y")))
    trials = [Trial(values, 0.0) for values in (*grid(axes, seed=2)[:3], grid(axes, seed=2)[0])]
    while (values := propose(axes, trials, sampler="grid", seed=1)) is not None:
        trials.append(Trial(values, 0.0))
    assert len(trials) == 7, "one was tried twice before"
    assert all(any(trial.values == values for trial in trials) for values in grid(axes, seed=1))


def test_what_failed_is_not_proposed_again_and_again() -> None:
    axes = (Axis("x", low=0.0, high=1.0),)
    trials: list[Trial] = []
    for _ in range(24):
        values = propose(axes, trials, sampler="tpe", seed=0)
        assert values is not None
        fails = values["x"] > 0.5
        trials.append(Trial(values, None, "failed") if fails else Trial(values, values["x"]))
    assert sum(trial.state == "failed" for trial in trials[12:]) < sum(trial.state == "failed" for trial in trials[:12])


def test_the_setting_that_decides_the_score_is_the_important_one() -> None:
    axes, _ = FUNCTIONS["sphere"]
    trials = [Trial(t.values, 10 * t.values["x"] + 0.1 * t.values["y"]) for t in tried("sphere", "random", 30, seed=0)]
    found = importance(axes, trials, lower=False, seed=0)
    assert list(found) == ["x", "y"]
    assert found["x"] > 0.9
    assert sum(found.values()) == pytest.approx(1)
    assert importance(axes, [Trial(t.values, 1.0) for t in trials], lower=False, seed=0) == {}
