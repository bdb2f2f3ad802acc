"""Integrated gradients: exact where the model is linear, complete where it is not."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers.modeling_outputs import SequenceClassifierOutput

from pretune.model.attribution import attribution, path_rule
from pretune.testing.folders import build

IDS = [2, 17, 40, 99, 41, 250, 3]


class Bag(nn.Module):
    """The sum of a row's embeddings, times a matrix."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words, self.top = nn.Embedding(300, 8), nn.Linear(8, 3)

    def get_input_embeddings(self) -> nn.Module:
        return self.words

    def forward(self, input_ids: Tensor) -> Any:
        return SequenceClassifierOutput(logits=self.top(self.words(input_ids).sum(1)))


def inputs_of(ids: list[int]) -> dict[str, Tensor]:
    return {"input_ids": torch.tensor([ids])}


def test_of_a_linear_model_every_token_has_its_own_part_exactly() -> None:
    model = Bag().double()
    direction = [1.0, -0.5, -0.5]
    found = attribution(model, inputs_of(IDS), [[1], [2, 3], [4], [5]], direction, blank=1)
    table = (model.words.weight - model.words.weight[1]) @ model.top.weight.T @ torch.tensor(direction).double()
    wanted = table[IDS].detach().numpy()
    wanted[[0, -1]] = 0  # the control tokens are in the baseline too
    assert found.added_L == pytest.approx(wanted, abs=1e-12)
    assert found.error < 1e-12
    assert found.without_W == pytest.approx([wanted[1], wanted[2] + wanted[3], wanted[4], wanted[5]], abs=1e-12)


@pytest.mark.parametrize("kind", ["bert-labels", "qwen3-labels", "roberta-labels", "gpt2-labels"])
def test_tokens_add_up_to_what_the_row_says_more_than_a_blank_one(kind: str) -> None:
    model = build(kind)
    table = model.get_input_embeddings().weight.data
    table[0] = table[1:].mean(0)  # so that the pad is as good as no token
    found, same = (
        attribution(model, inputs_of(IDS), [[k] for k in range(1, 6)], [1.0, -0.5, -0.5], blank=blank)
        for blank in (None, 0)
    )
    assert found.added_L == pytest.approx(same.added_L, abs=1e-5)
    blank = [IDS[0], *[0] * 5, IDS[-1]]
    with torch.no_grad():
        one, none = (model(**inputs_of(ids)).logits[0] @ torch.tensor([1.0, -0.5, -0.5]) for ids in (IDS, blank))
    assert abs(found.added_L.sum() - float(one - none)) < 1e-3
    assert found.error < 1e-3
    assert not found.added_L[[0, -1]].any()


def test_the_rule_has_nodes_inside_and_weights_that_add_up_to_one() -> None:
    nodes, weights = path_rule(64)
    assert float(weights.sum()) == pytest.approx(1, abs=1e-12) and nodes.min() > 0 and nodes.max() < 1
    assert float((weights * nodes**7).sum()) == pytest.approx(1 / 8, abs=1e-14)
