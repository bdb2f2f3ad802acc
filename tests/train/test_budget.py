"""How many steps a budget buys, and which rows a step sees."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from pretune.train.budget import Budget, planned_steps, steps_in
from pretune.train.loop.stream import RowStream

SIZES = {"rows": 100, "batch": 8, "tokens_per_row": 16.0}


@pytest.mark.parametrize(
    ("budget", "steps"),
    [
        (Budget(steps=7), 7),
        (Budget(epochs=1), 13),
        (Budget(epochs=2.5), 32),
        (Budget(tokens_read=12_800), 100),
        (Budget(), 13),
    ],
)
def test_a_budget_buys(budget: Budget, steps: int) -> None:
    assert planned_steps(budget, **SIZES) == steps  # type: ignore[arg-type]


def test_two_budgets_contradict_each_other() -> None:
    with pytest.raises(ValidationError, match="steps and minutes contradict"):
        Budget(steps=1, minutes=1)


@pytest.mark.parametrize("group", [True, False])
def test_every_row_is_seen_once_an_epoch_in_another_order_each(group: bool) -> None:
    lengths = np.random.default_rng(0).integers(1, 60, 41)
    stream = RowStream([{"ids": [0] * n, "number": i} for i, n in enumerate(lengths)], 4, seed=3, group=group)
    epochs = []
    for epoch in range(2):
        steps = range(epoch * stream.steps_per_epoch, (epoch + 1) * stream.steps_per_epoch)
        epochs.append([row["number"] for step in steps for row in stream.rows(step)])
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(41))
    assert epochs[0] != epochs[1]


def test_grouping_by_length_pads_less_than_five_per_cent() -> None:
    lengths = np.random.default_rng(0).integers(4, 120, 3200)
    rows = [{"ids": [0] * int(n)} for n in lengths]
    stream = RowStream(rows, 32, seed=0, group=True)
    batches = [[len(r["ids"]) for r in stream.rows(s)] for s in range(stream.steps_per_epoch)]
    padded = sum(max(b) * len(b) for b in batches)
    assert padded / lengths.sum() < 1.05


def test_minutes_buy_the_steps_that_fit_into_what_is_left_and_one_at_least() -> None:
    assert [steps_in(left, 0.5) for left in (60.0, 0.9, -3.0)] == [120, 1, 1]
