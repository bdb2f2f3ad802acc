"""T5 (arXiv:1910.10683): an encoder that reads, a decoder that writes, positions by their distance alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from pretune.base.json import Json
from pretune.model.families.family import Cuts, Family, plain_model
from pretune.model.shape import Layout, Shape

if TYPE_CHECKING:
    from torch import nn

    from pretune.tokens.encode.tokenizer import Specials


class T5Family(Family):
    """Two stacks of blocks; no limit of a row (`n_positions` in old configs is that of its pretraining)."""

    def stacks(self, model: Any) -> list[list[nn.Module]]:
        core = plain_model(model)
        return [list(core.encoder.block), list(core.decoder.block)]

    def longest(self, config: Mapping[str, Any]) -> int | None:
        return None


# The table begins with a spread of 1, fifty times that of other families, and the head divides what it says by the root
# of the width: at the usual rate a new T5 learns not even how frequent words are in its first minutes (docs/LOG.md).
# The feed-forward part is the second of an encoder's block and the third of a decoder's.
FORWARD = [f"layer.{place}.DenseReluDense" for place in (1, 2)]
T5 = T5Family(
    paces={"shared.weight": 100.0, "relative_attention_bias.weight": 10.0},
    cuts=Cuts(
        tuple(f"{at}.{name}" for at in FORWARD for name in ("wi", "wi_0", "wi_1")),
        tuple(f"{at}.wo" for at in FORWARD),
        "d_ff",
    ),
)


class TwoStacks(Layout):
    """Sizes of an encoder and a decoder, which see different tokens; `layers` are those of both."""

    read_parameters: int
    """Parameters that a token is multiplied with that is read: the encoder's, and keys and values of what the decoder
    asks of it."""
    inner: int
    """Width of all heads together."""

    def flops_per_token(self, vocab_size: int, length: int, passed: tuple[float, float] = (1.0, 1.0)) -> float:
        read, written = passed
        wrote = self.matrix_parameters - self.read_parameters + vocab_size * self.width
        pairs = read * read + written * written + written * read  # encoder, decoder, and between them
        attention = 12.0 * (self.layers / 2) * self.inner * length * pairs
        return 6.0 * (read * self.read_parameters + written * wrote) + attention


class T5Shape(Shape):
    """T5 with the feed-forward part of its version 1.1, GELU times a gate (arXiv:2002.05202).

    The head is the table of the vocabulary, as in the first T5; that of 1.1 is one of its own, but transformers 5 ties
    the two of every T5, and a small model has no room for two.
    """

    family: ClassVar[str] = "t5"
    layers: int = Field(4, gt=0)
    """Number of blocks of each of the two stacks."""
    width: int = Field(256, gt=0)
    """Width of the residual stream."""
    heads: int = Field(4, gt=0)
    """Attention heads."""
    head_width: int = Field(64, gt=0)
    """Width of one head."""
    hidden: int = Field(704, gt=0)
    """Width of the gated feed-forward part."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout in pretraining; 0 as in version 1.1."""

    def layout(self) -> Layout:
        inner = self.heads * self.head_width
        half, gated = 2 * self.width * inner, 3 * self.width * self.hidden
        encoder, decoder = 2 * half + gated, 4 * half + gated
        return TwoStacks(
            layers=2 * self.layers,
            width=self.width,
            matrix_parameters=self.layers * (encoder + decoder),
            read_parameters=self.layers * (encoder + half),
            inner=inner,
        )

    def config(self, *, vocab_size: int, max_length: int, specials: Specials) -> Json:
        return {
            "vocab_size": vocab_size,
            "d_model": self.width,
            "d_kv": self.head_width,
            "d_ff": self.hidden,
            "num_layers": self.layers,
            "num_heads": self.heads,
            "feed_forward_proj": "gated-gelu",
            "dropout_rate": self.dropout,
            "tie_word_embeddings": True,
            "pad_token_id": specials.pad,
            "eos_token_id": specials.eos if specials.eos is not None else specials.sep,
            "decoder_start_token_id": specials.pad,
        }


class T5Mini(T5Shape):
    """About 10 million parameters with a vocabulary of 8,192."""
