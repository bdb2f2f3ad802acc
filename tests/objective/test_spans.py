"""The loss of starts and ends next to transformers' own."""

from __future__ import annotations

import pytest
import torch

from pretune.model.families import plain_model
from pretune.objective.spans import Spans
from pretune.testing.worlds import VOCABULARY, span_rows, tiny_finder


@pytest.mark.parametrize("kind", ["bert", "gpt2"])
def test_the_loss_per_target_is_the_loss_of_transformers_for_rows_of_one_length(kind: str) -> None:
    model, objective = tiny_finder(kind).eval(), Spans(kind="spans")
    rows = [
        {**row, "ids": row["ids"][:6], "span": (k % 4, 4)} for k, row in enumerate(span_rows(8)) if len(row["ids"]) > 5
    ]
    batch = objective.collate(rows, VOCABULARY)  # type: ignore[arg-type]
    with torch.no_grad():
        ours = objective.sums(model, batch)["loss"] / objective.counts(batch)["loss"]
        start, end = batch["labels"].T
        theirs = plain_model(model)(input_ids=batch["input_ids"], start_positions=start, end_positions=end).loss
    assert float(ours - theirs) == pytest.approx(0, abs=1e-12)
