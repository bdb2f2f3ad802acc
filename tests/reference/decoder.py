"""A decoder, whole: Qwen3 (arXiv:2505.09388).

    tokens ──embedding──▶ x ──▶ x + attention(norm(x)) ──▶ x + mlp(norm(x)) ──▶ ... ──norm──▶ x · embedding'  logits

What was read and what is written live in one stream x, to which every block adds. Attention is the only place where
positions meet; a position sees itself and what stands before it, so that all of a row's next tokens are learnt at once.

B rows, L positions, D width of the stream, H query heads, K key heads, W width of a head, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class RmsNorm(nn.Module):
    """x / sqrt(mean(x^2)) times a learned factor: the size goes, the direction stays."""

    def __init__(self, width: int, epsilon: float):
        super().__init__()
        self.weight, self.epsilon = nn.Parameter(torch.ones(width)), epsilon

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()  # as transformers does, whatever type the weights have
        return self.weight * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.epsilon)).to(x.dtype)


def rotated(x_BHLW: Tensor, theta: float) -> Tensor:
    """Positions, as angles: the pair (x[i], x[i + W/2]) at position p is turned by p * theta ** (-2 i / W).

    The product of a query at p with a key at q then depends on p - q alone (RoPE, arXiv:2104.09864).
    """
    length, width = x_BHLW.shape[-2:]
    pace = 1.0 / (theta ** (torch.arange(0, width, 2).float() / width))
    angles_LW = (torch.arange(length).float()[:, None] * pace).repeat(1, 2)
    low, high = x_BHLW.chunk(2, dim=-1)
    return x_BHLW * angles_LW.cos().to(x_BHLW.dtype) + torch.cat([-high, low], -1) * angles_LW.sin().to(x_BHLW.dtype)


class Attention(nn.Module):
    """Each position asks (query) what the earlier ones offer (key) and takes what they hold (value)."""

    def __init__(self, config: Any):
        super().__init__()
        self.width, self.theta = config.head_dim, config.rope_parameters["rope_theta"]
        heads, key_heads = config.num_attention_heads, config.num_key_value_heads
        self.q_proj = nn.Linear(config.hidden_size, heads * self.width, bias=False)
        self.k_proj = nn.Linear(config.hidden_size, key_heads * self.width, bias=False)
        self.v_proj = nn.Linear(config.hidden_size, key_heads * self.width, bias=False)
        self.o_proj = nn.Linear(heads * self.width, config.hidden_size, bias=False)
        self.q_norm = RmsNorm(self.width, config.rms_norm_eps)  # keeps the scores in bounds; Llama does without
        self.k_norm = RmsNorm(self.width, config.rms_norm_eps)

    def forward(self, x_BLD: Tensor) -> Tensor:
        rows, length, _ = x_BLD.shape
        by_head = (rows, length, -1, self.width)
        query = rotated(self.q_norm(self.q_proj(x_BLD).view(by_head)).transpose(1, 2), self.theta)
        key = rotated(self.k_norm(self.k_proj(x_BLD).view(by_head)).transpose(1, 2), self.theta)
        value = self.v_proj(x_BLD).view(by_head).transpose(1, 2)
        groups = query.shape[1] // key.shape[1]  # several query heads share a key head: a smaller cache
        key, value = (part.repeat_interleave(groups, dim=1) for part in (key, value))
        scores_BHLL = query @ key.mT * self.width**-0.5
        later = torch.ones(length, length, dtype=torch.bool).triu(1)
        shares = scores_BHLL.masked_fill(later, -torch.inf).softmax(-1)
        return self.o_proj((shares @ value).transpose(1, 2).reshape(rows, length, -1))


class Mlp(nn.Module):
    """SwiGLU (arXiv:2002.05202): one product opens, another is let through, a third leads back."""

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.gate_proj, self.up_proj = (nn.Linear(width, hidden, bias=False) for _ in range(2))
        self.down_proj = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Block(nn.Module):
    """What a layer adds to the stream."""

    def __init__(self, config: Any):
        super().__init__()
        self.input_layernorm = RmsNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = RmsNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = Mlp(config.hidden_size, config.intermediate_size)

    def forward(self, x_BLD: Tensor) -> Tensor:
        x_BLD = x_BLD + self.self_attn(self.input_layernorm(x_BLD))
        return x_BLD + self.mlp(self.post_attention_layernorm(x_BLD))


class Decoder(nn.Module):
    """Token ids [B, L] to logits of the next token [B, L, V]; the head is the embedding, turned round."""

    def __init__(self, config: Any):
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.num_hidden_layers))
        self.norm = RmsNorm(config.hidden_size, config.rms_norm_eps)

    def forward(self, ids_BL: Tensor) -> Tensor:
        x_BLD = self.embed_tokens(ids_BL)
        for block in self.layers:
            x_BLD = block(x_BLD)
        return self.norm(x_BLD) @ self.embed_tokens.weight.T
