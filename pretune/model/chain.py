"""A linear-chain CRF over the words of a row: how likely a tag is next to the tag before it.

Source: Lafferty, McCallum & Pereira 2001; on top of a network: Huang, Xu & Yu 2015, arXiv:1508.01991.

*B rows, W words of the longest row, K tags.*
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pretune.base.json import Json

NAME = "classifier_crf"
"""The module of a model that bears it."""
SMOOTHING = 0.1
"""Added to every count of two tags in a row."""


class Chain(nn.Module):
    """Scores of first tags [K], of tags behind tags [K, K] (row: the one before), and of last tags [K]."""

    def __init__(self, first_K: Tensor, pairs_KK: Tensor, last_K: Tensor):
        super().__init__()
        self.first, self.pairs, self.last = (nn.Parameter(t.clone()) for t in (first_K, pairs_KK, last_K))

    def forward(self, scores_BWK: Tensor, tags_BW: Tensor, there_BW: Tensor) -> Tensor:
        """Negative log-likelihood of the tags in nats, summed over rows; a row without a word adds nothing."""
        surplus_B = self.log_partition(scores_BWK, there_BW) - self.score(scores_BWK, tags_BW, there_BW)
        return torch.where(there_BW[:, 0], surplus_B, 0.0).sum()

    def score(self, scores_BWK: Tensor, tags_BW: Tensor, there_BW: Tensor) -> Tensor:
        """[B]: of the words' tags and of each two in a row."""
        pairs_BV = self.pairs[tags_BW[:, :-1], tags_BW[:, 1:]].to(scores_BWK.dtype)
        words_BW = scores_BWK.gather(2, tags_BW[..., None])[..., 0]
        ends_B = tags_BW.gather(1, (there_BW.sum(1) - 1).clamp(min=0)[:, None])[:, 0]
        inside_B = (words_BW * there_BW).sum(1) + (pairs_BV * there_BW[:, 1:]).sum(1)
        return inside_B + self.first[tags_BW[:, 0]] + self.last[ends_B]

    def log_partition(self, scores_BWK: Tensor, there_BW: Tensor) -> Tensor:
        """[B]: the logarithm of the sum over all sequences of tags, by the forward algorithm."""
        pairs_KK = self.pairs.to(scores_BWK.dtype)
        paths_BK = self.first + scores_BWK[:, 0]
        for at in range(1, scores_BWK.shape[1]):
            longer_BK = torch.logsumexp(paths_BK[:, :, None] + pairs_KK, dim=1) + scores_BWK[:, at]
            paths_BK = torch.where(there_BW[:, at, None], longer_BK, paths_BK)
        return torch.logsumexp(paths_BK + self.last, dim=1)


def chain_of(sequences: Sequence[Sequence[int]], tags: int) -> Chain:
    """A chain that begins with what the training data say: how likely a tag is as the first, and behind another."""
    first_K, pairs_KK = np.full(tags, SMOOTHING), np.full((tags, tags), SMOOTHING)
    for sequence in filter(len, sequences):
        first_K[sequence[0]] += 1
        np.add.at(pairs_KK, (sequence[:-1], sequence[1:]), 1)
    found = np.log(first_K / first_K.sum()), np.log(pairs_KK / pairs_KK.sum(1, keepdims=True)), np.zeros(tags)
    return Chain(*(torch.from_numpy(one).float() for one in found))


def chain_in(model: Any) -> Chain | None:
    """The chain of a plain transformers model, in PEFT's wrapper or not; None: it has none."""
    found = getattr(model, NAME, None)
    kept = getattr(found, "modules_to_save", None)
    return kept["default"] if kept is not None else found


def facts_of(chain: Chain) -> Json:
    """The chain as JSON, exact in float32, as `infer.tag` reads it."""
    return {name: getattr(chain, name).detach().float().cpu().tolist() for name in ("first", "pairs", "last")}
