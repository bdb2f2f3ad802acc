"""Llama and what is built like it (Qwen2, Mistral): RMSNorm, rotary positions, SwiGLU, grouped heads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import Field, model_validator

from pretune.base.json import Json
from pretune.model.families.family import AS_LLAMA, CUTS_AS_LLAMA, Family, States
from pretune.model.shape import Decoder, Layout, Shape, divides

if TYPE_CHECKING:
    from torch import Tensor

    from pretune.tokens.encode.tokenizer import Specials


class HeadOnStates(Family):
    """A decoder whose logits are exactly `lm_head(last hidden state)`: made only where they are asked."""

    def states(self, model: Any, inputs: Mapping[str, Any], at: Tensor | None = None) -> States:
        hidden_ND = model.base_model(**inputs, use_cache=False).last_hidden_state.flatten(0, 1)
        return States(hidden_ND if at is None else hidden_ND[at], model.lm_head)


TABLE_PACE = 3.0
"""How much faster than its norms a new decoder's table learns: most of its rows have a gradient in few steps only.
Small Qwen3 end .02 to .44 nats lower than at 1, a GPT-2 .10 where norms are as fast (docs/LOG.md, 2026-11-30)."""

LLAMA = HeadOnStates(
    architecture="decoder",
    paces={"embed_tokens.weight": TABLE_PACE},
    zero_init=("o_proj.weight", "down_proj.weight"),
    dropped=("embed_tokens", "o_proj", "down_proj"),
    branches=AS_LLAMA,
    cuts=CUTS_AS_LLAMA,
    keeps=True,
)


class Grouped(Shape):
    """What the decoders with rotary positions share: RMSNorm, a gated feed-forward part, grouped heads, no biases."""

    layers: int = Field(6, gt=0)
    """Number of blocks."""
    width: int = Field(256, gt=0)
    """Width of the residual stream."""
    heads: int = Field(4, gt=0)
    """Query heads."""
    kv_heads: int = Field(2, gt=0)
    """Key and value heads; divides `heads`."""
    head_width: int = Field(64, gt=0)
    """Width of one head."""
    hidden: int = Field(768, gt=0)
    """Width of the feed-forward part."""
    rope_theta: float = Field(10_000.0, gt=0)
    """Base of the rotary frequencies; 10,000 suits contexts up to a few thousand tokens."""

    dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout of embeddings and branches in pretraining; helps only where a text is read many times."""

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        divides(self, "kv_heads", "heads")
        if self.head_width % 2:
            raise ValueError(f"head_width={self.head_width} is odd, and rotary positions turn pairs")
        return self

    def layout(self) -> Layout:
        heads = self.width * self.head_width * (2 * self.heads + 2 * self.kv_heads)
        block = heads + 3 * self.width * self.hidden
        return Layout(layers=self.layers, width=self.width, matrix_parameters=self.layers * block)

    def config(self, *, vocab_size: int, max_length: int, specials: Specials) -> Json:
        return {
            "vocab_size": vocab_size,
            "hidden_size": self.width,
            "intermediate_size": self.hidden,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.head_width,
            "max_position_embeddings": max_length,
            "rope_parameters": {"rope_type": "default", "rope_theta": self.rope_theta},
            "tie_word_embeddings": True,
            "attention_dropout": 0.0,
            "bos_token_id": specials.bos,
            "eos_token_id": specials.eos,
            "pad_token_id": specials.pad,
        }


class Rotary(Grouped, Decoder):
    """Those whose branches end with a matrix, which may begin at zero."""


class Llama(Rotary):
    """Llama: RMSNorm, rotary positions, SwiGLU, grouped heads, no biases (arXiv:2302.13971)."""

    family: ClassVar[str] = "llama"
