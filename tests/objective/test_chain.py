"""The CRF against the sum over all sequences of tags, one by one."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest
import torch

from pretune.infer.chain import best_path
from pretune.model.chain import Chain, chain_of, facts_of
from pretune.objective.chain import ChainTags
from pretune.testing.worlds import VOCABULARY, case, tagged_rows

TAGS, WORDS = 3, 4


def drawn(seed: int) -> tuple[Chain, torch.Tensor]:
    torch.manual_seed(seed)
    shapes = [(TAGS,), (TAGS, TAGS), (TAGS,), (1, WORDS, TAGS)]
    first, pairs, last, scores = (torch.randn(shape, dtype=torch.float64) for shape in shapes)
    return Chain(first, pairs, last), scores


def by_hand(chain: Chain, scores_WK: torch.Tensor, tags: tuple[int, ...]) -> float:
    found = chain.first[tags[0]] + chain.last[tags[-1]] + sum(scores_WK[k, tag] for k, tag in enumerate(tags))
    return float((found + sum(chain.pairs[a, b] for a, b in pairwise(tags))).detach())


@pytest.mark.parametrize("seed", range(3))
def test_the_partition_is_the_sum_over_all_sequences_and_the_best_path_the_best_of_them(seed: int) -> None:
    chain, scores = drawn(seed)
    every = {tags: by_hand(chain, scores[0], tags) for tags in product(range(TAGS), repeat=WORDS)}
    there = torch.ones(1, WORDS, dtype=torch.bool)
    assert chain.log_partition(scores, there).item() == pytest.approx(
        np.logaddexp.reduce(list(every.values())), abs=1e-12
    )
    best = max(every, key=lambda tags: every[tags])
    found = [t.detach().numpy() for t in (chain.first, chain.pairs, chain.last)]
    assert tuple(best_path(scores[0].numpy(), first=found[0], pairs=found[1], last=found[2])) == best
    loss = chain(scores, torch.tensor([best]), there).item()
    assert loss == pytest.approx(np.logaddexp.reduce(list(every.values())) - every[best], abs=1e-12)


def test_padded_rows_and_rows_without_words_add_what_they_add_alone() -> None:
    chain, scores = drawn(7)
    several = torch.cat([scores, scores + 1, scores])
    tags = torch.tensor([[0, 1, 2, 1], [2, 2, 0, 0], [0, 0, 0, 0]])
    there = torch.tensor([[True] * 4, [True, True, False, False], [False] * 4])
    short = chain(several[1:2, :2], tags[1:2, :2], there[1:2, :2])
    alone = chain(scores, tags[:1], there[:1]) + short
    assert chain(several, tags, there).item() == pytest.approx(alone.item(), abs=1e-12)


def test_without_scores_of_neighbours_the_loss_is_that_of_each_tag_by_itself() -> None:
    model, _, _ = case("crf")
    for parameter in model.classifier_crf.parameters():
        torch.nn.init.zeros_(parameter)
    chained = ChainTags(kind="chain-tags")
    batch = chained.collate(tagged_rows(4), VOCABULARY)
    alone = super(ChainTags, chained).sums(model, batch)["loss"]
    assert chained.sums(model, batch)["loss"].item() == pytest.approx(alone.item(), abs=1e-10)
    assert chained.counts(batch) == {"loss": float((batch["labels"] >= 0).sum())}


def test_it_begins_with_how_likely_a_tag_is_behind_another_in_the_training_split() -> None:
    chain = chain_of([[0, 1, 0, 1], [0, 1]], 2)
    found = facts_of(chain)
    assert found["pairs"][0] == pytest.approx([np.log(0.1 / 3.2), np.log(3.1 / 3.2)], abs=1e-6)
    assert found["first"] == pytest.approx([np.log(2.1 / 2.2), np.log(0.1 / 2.2)], abs=1e-6)
    nothing, there = torch.zeros(1, 5, 2), torch.ones(1, 5, dtype=torch.bool)
    assert chain.log_partition(nothing, there).item() == pytest.approx(0, abs=1e-6), "probabilities add up to 1"
