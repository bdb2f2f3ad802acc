"""A GPT as nanoGPT trains it, written for benchmarks/pretrain_cpu.py: the parts and the defaults of its model.

Layer norm before each branch and without bias, GELU of four times the width, learned positions, head tied to the
embedding, scaled_dot_product_attention with is_causal. B rows, L positions, D width, H heads.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Norm(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x_BLD: Tensor) -> Tensor:
        return F.layer_norm(x_BLD, self.weight.shape, self.weight, None, 1e-5)


class Block(nn.Module):
    def __init__(self, heads: int, width: int):
        super().__init__()
        self.heads = heads
        self.norm_1, self.norm_2 = Norm(width), Norm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.up, self.down = nn.Linear(width, 4 * width, bias=False), nn.Linear(4 * width, width, bias=False)

    def forward(self, x_BLD: Tensor) -> Tensor:
        x_BLD = x_BLD + self.out(self._attended(self.norm_1(x_BLD)))
        return x_BLD + self.down(F.gelu(self.up(self.norm_2(x_BLD))))

    def _attended(self, x_BLD: Tensor) -> Tensor:
        rows, length, width = x_BLD.shape
        split = self.qkv(x_BLD).view(rows, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        found = F.scaled_dot_product_attention(*split, is_causal=True)
        return found.transpose(1, 2).reshape(rows, length, width)


class GPT(nn.Module):
    def __init__(self, vocabulary: int, length: int, layers: int, heads: int, width: int):
        super().__init__()
        self.tokens, self.places = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
        self.blocks = nn.ModuleList(Block(heads, width) for _ in range(layers))
        self.norm = Norm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        for name, parameter in self.named_parameters():
            if parameter.dim() > 1:
                last = name.endswith(("out.weight", "down.weight"))
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * layers) if last else 0.02)
        self.head.weight = self.tokens.weight

    def forward(self, ids_BL: Tensor, targets_BL: Tensor) -> Any:
        x_BLD = self.tokens(ids_BL) + self.places(torch.arange(ids_BL.shape[1]))
        for block in self.blocks:
            x_BLD = block(x_BLD)
        logits = self.head(self.norm(x_BLD))
        return F.cross_entropy(logits.flatten(0, 1), targets_BL.flatten())
