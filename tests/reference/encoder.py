"""An encoder, whole: BERT (arXiv:1810.04805) with the head that tells hidden tokens.

    tokens + positions + types ──norm──▶ x ──▶ norm(x + attention(x)) ──▶ norm(x + mlp(x)) ──▶ ... ──head──▶ logits

Unlike a decoder it sees both sides, and the norm stands behind the sum (2018) instead of before the branch.

B rows, L positions, D width, H heads, W width of a head, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Block(nn.Module):
    """Attention to both sides, and two products with a bend between them."""

    def __init__(self, config: Any):
        super().__init__()
        width, hidden = config.hidden_size, config.intermediate_size
        self.heads = config.num_attention_heads
        self.query, self.key, self.value, self.mixed = (nn.Linear(width, width) for _ in range(4))
        self.wide, self.narrow = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.norm_1, self.norm_2 = (nn.LayerNorm(width, eps=config.layer_norm_eps) for _ in range(2))

    def forward(self, x_BLD: Tensor, hidden_B11L: Tensor) -> Tensor:
        x_BLD = self.norm_1(x_BLD + self.attention(x_BLD, hidden_B11L))
        return self.norm_2(x_BLD + self.narrow(F.gelu(self.wide(x_BLD))))

    def attention(self, x_BLD: Tensor, hidden_B11L: Tensor) -> Tensor:
        rows, length, width = x_BLD.shape
        query, key, value = (
            part(x_BLD).view(rows, length, self.heads, -1).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        scores_BHLL = (query @ key.mT) * (width // self.heads) ** -0.5
        shares = scores_BHLL.masked_fill(hidden_B11L, -torch.inf).softmax(-1)
        return self.mixed((shares @ value).transpose(1, 2).reshape(rows, length, width))


class Encoder(nn.Module):
    """Token ids [B, L], and a mask with 0 at padding, to logits of each token [B, L, V]."""

    def __init__(self, config: Any):
        super().__init__()
        width = config.hidden_size
        self.words = nn.Embedding(config.vocab_size, width)
        self.positions = nn.Embedding(config.max_position_embeddings, width)
        self.types = nn.Embedding(config.type_vocab_size, width)  # which of two texts
        self.norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_hidden_layers))
        self.dense, self.head_norm = nn.Linear(width, width), nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))

    def forward(self, ids_BL: Tensor, mask_BL: Tensor, types_BL: Tensor) -> Tensor:
        places_L = torch.arange(ids_BL.shape[1])
        x_BLD = self.norm(self.words(ids_BL) + self.positions(places_L) + self.types(types_BL))
        for block in self.blocks:
            x_BLD = block(x_BLD, (mask_BL == 0)[:, None, None])
        x_BLD = self.head_norm(F.gelu(self.dense(x_BLD)))
        return x_BLD @ self.words.weight.T + self.bias


NAMES = {
    "bert.embeddings.word_embeddings": "words",
    "bert.embeddings.position_embeddings": "positions",
    "bert.embeddings.token_type_embeddings": "types",
    "bert.embeddings.LayerNorm": "norm",
    "bert.encoder.layer": "blocks",
    "attention.self.": "",
    "attention.output.dense": "mixed",
    "attention.output.LayerNorm": "norm_1",
    "intermediate.dense": "wide",
    "output.dense": "narrow",
    "output.LayerNorm": "norm_2",
    "cls.predictions.transform.dense": "dense",
    "cls.predictions.transform.LayerNorm": "head_norm",
    "cls.predictions.bias": "bias",
}
"""Parts of transformers' names -> ours, in the order in which they are looked for."""


def renamed(name: str) -> str:
    """Our name of a weight of BertForMaskedLM."""
    for theirs, ours in NAMES.items():
        name = name.replace(theirs, ours)
    return name
