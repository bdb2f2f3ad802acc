"""Losses of rows of several texts: by hand, and next to the whole batch at once."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from pretune.objective.contrast import NOBODY, Contrast, told_apart
from pretune.objective.rankings import listwise, pairwise
from pretune.testing.worlds import VOCABULARY, case
from pretune.train.loop.runtime import Runtime
from pretune.train.loop.step import Scored, TrainState, take_step
from pretune.train.optim.settings import OPTIM
from pretune.train.optim.update import Update


def vectors(*rows: list[list[float]]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def test_a_right_text_is_told_from_those_of_all_other_rows_and_from_hard_negatives_by_hand() -> None:
    """cosines of row 0: its own 1, its negative 0, the other row's right text 0.6, whose negative is not there."""
    found = told_apart(
        vectors([[1, 0], [1, 0], [0, 1]], [[0, 1], [0.6, 0.8], [0, 0]]),
        torch.tensor([[1, 2, 3], [4, 5, NOBODY]]),
        0.5,
    )
    first = math.log(math.exp(2) + math.exp(0) + math.exp(1.2)) - 2
    second = math.log(math.exp(1.6) + math.exp(0) + math.exp(2)) - 1.6
    assert found.tolist() == pytest.approx([first, second], abs=1e-12)


@pytest.mark.parametrize(
    ("names", "left"),
    [
        ([[1, 2], [3, 2], [5, 6]], [(0, 2), (1, 2), (0, 1, 2)]),  # the same right text twice
        ([[1, 2], [1, 4], [5, 6]], [(0, 2), (1, 2), (0, 1, 2)]),  # the same query twice, another right text
        ([[1, 2], [3, 4], [NOBODY, NOBODY]], [(0, 1), (0, 1), ()]),  # a row that is not there
    ],
)
def test_what_is_right_for_a_query_is_never_its_own_negative(names: Any, left: list[tuple[int, ...]]) -> None:
    given = torch.nn.functional.normalize(torch.randn(3, 2, 4, dtype=torch.float64), dim=-1)
    found = told_apart(given, torch.tensor(names), 0.1)
    cosines = given[:, 0] @ given[:, 1].T / 0.1
    wanted = [
        float(cosines[i, list(some)].logsumexp(0) - cosines[i, i]) if some else 0.0 for i, some in enumerate(left)
    ]
    assert found.tolist() == pytest.approx(wanted, abs=1e-12)


def test_the_loss_is_that_of_cross_entropy_over_scaled_cosines() -> None:
    """As MultipleNegativesRankingLoss of sentence-transformers has it: scale 20, labels on the diagonal."""
    given = torch.nn.functional.normalize(torch.randn(5, 2, 8, dtype=torch.float64), dim=-1)
    names = torch.arange(1, 11).view(5, 2)
    theirs = torch.nn.functional.cross_entropy(20 * given[:, 0] @ given[:, 1].T, torch.arange(5))
    assert float(told_apart(given, names, 0.05).mean()) == pytest.approx(float(theirs), abs=1e-12)


def test_cached_gradients_are_those_of_the_whole_batch() -> None:
    """To 1e-10, next to one backward pass over all rows at once, with dropout off."""

    def whole() -> dict[str, torch.Tensor]:
        model, objective, rows = case("embed")
        batch = objective.collate(rows, VOCABULARY)
        (objective.sums(model.eval(), batch)["loss"] / 8).backward()
        return {n: p.grad for n, p in model.named_parameters() if p.grad is not None}

    def cut() -> dict[str, torch.Tensor]:
        model, objective, rows = case("embed")
        update, found = Update(model.eval(), OPTIM("adamw")), {}
        update.gradient_norm = lambda: found.update({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}) or 1.0  # type: ignore[method-assign,func-returns-value] # fmt: skip
        state = TrainState(model, Scored(model, objective), update, total=1)
        take_step(state, objective, [objective.collate(rows[i : i + 3], VOCABULARY) for i in (0, 3, 6)], Runtime())
        return found

    one, other = whole(), cut()
    assert one.keys() == other.keys() and len(one) > 20
    assert max(float((one[n] - other[n]).abs().max()) for n in one) < 1e-10


def test_a_list_and_its_pairs_by_hand() -> None:
    scores = torch.tensor([[1.0, 0.0, 2.0], [3.0, 1.0, 0.0]], dtype=torch.float64)
    gains = torch.tensor([[0.75, 0.0, 0.25], [0.0, 1.0, -100.0]], dtype=torch.float64)
    there = gains != -100
    total = math.log(math.exp(1) + math.exp(0) + math.exp(2))
    wanted = [total - 0.75 * 1 - 0.25 * 2, math.log(math.exp(3) + math.exp(1)) - 1]
    assert listwise(scores, gains, there).tolist() == pytest.approx(wanted, abs=1e-12)
    behind = [math.log1p(math.exp(-gap)) for gap in (1 - 0, 1 - 2, 2 - 0)]
    assert pairwise(scores, gains, there).tolist() == pytest.approx(
        [sum(behind) / 3, math.log1p(math.exp(2))], abs=1e-12
    )


def test_a_row_that_waits_has_no_loss_and_is_nobodys_negative() -> None:
    model, objective, rows = case("embed")
    idle, full = objective.idle(rows[2], VOCABULARY), objective.collate(rows[2:3], VOCABULARY)
    assert objective.counts(idle) == {"loss": 0.0}
    loss = objective.sums(model.eval(), idle)["loss"]
    loss.backward()
    assert loss.item() == 0 and all(p.grad is None or not p.grad.any() for p in model.parameters())
    assert objective.sums(model, full)["loss"].item() > 0, "its hard negatives are told from"


def test_a_loss_of_rows_that_depend_on_each_other_is_validated_alike_however_much_memory_there_is() -> None:
    from pretune.train.watch.validate import loss_over

    model, objective, rows = case("embed")
    inputs = model, objective, rows, VOCABULARY, Runtime()
    one, three = (loss_over(*inputs, batch=batch).per_target for batch in (8, 3))
    assert one == pytest.approx(three, abs=1e-12)
    assert one == pytest.approx(float(objective.sums(model.eval(), objective.collate(rows, VOCABULARY))["loss"].detach()) / 8, abs=1e-12)  # fmt: skip


def test_a_blank_row_is_as_long_as_it_shall_be_and_no_text_is_longer_than_its_share() -> None:
    row = Contrast(kind="contrast", negatives=1).blank(32, VOCABULARY, np.random.default_rng(0))
    assert len(row["ids"]) == 32 and max(row["lengths"]) == 11 and len(set(row["names"].tolist())) == 3
