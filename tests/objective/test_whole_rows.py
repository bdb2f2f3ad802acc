"""Losses of whole rows are those that transformers gives for the same rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from pretune.objective.label_sets import LabelSets
from pretune.objective.objective import Objective
from pretune.objective.scores import Scores
from pretune.testing.worlds import VOCABULARY, case, tiny_classifier
from pretune.tokens.rows import IGNORE

PROBLEMS: list[tuple[str, Objective]] = [
    ("regression", Scores(kind="scores")),
    ("multi_label_classification", LabelSets(kind="label-sets")),
]


@pytest.mark.parametrize(("problem", "objective"), PROBLEMS)
def test_the_mean_loss_is_that_of_transformers_for_this_problem_type(problem: str, objective: Objective) -> None:
    name = "regress" if problem == "regression" else "multilabel"
    model, _, rows = case(name)
    model.eval()
    batch = objective.collate(rows, VOCABULARY)
    model.config.problem_type = problem
    theirs = model(**{n: t for n, t in batch.items() if n != "labels"}, labels=batch["labels"]).loss
    ours = objective.sums(model, batch)["loss"] / objective.counts(batch)["loss"]
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-12)


def test_rows_that_only_fill_up_a_rank_add_nothing_and_leave_the_loss_finite() -> None:
    row: Any = {"ids": [5, 6], "holds": np.array([1.0, 0.0, 1.0])}
    objective = LabelSets(kind="label-sets", class_weights=(1.0, 2.0, 3.0))
    idle = objective.idle(row, VOCABULARY)
    assert (idle["labels"] == IGNORE).all() and objective.counts(idle) == {"loss": 0.0}
    assert objective.sums(tiny_classifier(), idle)["loss"].item() == 0.0
    both = {n: torch.cat([idle[n], t]) for n, t in objective.collate([row], VOCABULARY).items()}
    assert objective.counts(both) == {"loss": 6.0}
