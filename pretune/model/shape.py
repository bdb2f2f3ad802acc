"""Shapes: which architecture, how deep, how wide. Presets are shapes with numbers filled in.

    model=qwen3-mini                 the preset
    model.kind=qwen3-mini model.layers=4     the preset, shallower

Every shape becomes an ordinary Hugging Face config, so that other tools read what we train. No torch here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from pretune.base.config import Choice, Variant

if TYPE_CHECKING:
    from pretune.tokens.encode.tokenizer import Specials


class Shape(Variant):
    """A model to be built from scratch."""

    family: ClassVar[str]
    """Name of the transformers config: qwen3, bert, gpt2."""
    causal: ClassVar[bool]

    def layout(self) -> Layout:
        """The numbers that count parameters and work."""
        raise AssertionError("a shape has a layout")

    def config(self, *, vocab_size: int, max_length: int, specials: Specials) -> dict[str, Any]:
        """Arguments of the transformers config."""
        raise AssertionError("a shape has a config")


class Layout(Variant):
    """Sizes of a transformer in the words of its arithmetic."""

    layers: int
    width: int
    matrix_parameters: int
    """Parameters that take part in matrix products, without embedding and head."""
    tied: bool = True
    learned_positions: bool = False

    def parameters(self, vocab_size: int, max_length: int) -> int:
        """All parameters, but for norms and biases (less than 1 %)."""
        tables = vocab_size * (1 if self.tied else 2) + (max_length if self.learned_positions else 0)
        return self.matrix_parameters + tables * self.width

    def flops_per_token(self, vocab_size: int, length: int) -> float:
        """Forward and backward: 6 per matrix parameter (the head counts, the embedding look-up does not) and
        12 x layers x width x length for attention, causal not halved."""
        return 6.0 * (self.matrix_parameters + vocab_size * self.width) + 12.0 * self.layers * self.width * length


class Auto(Shape):
    """A Qwen3 whose size is chosen from the amount of text and the budget."""

    family: ClassVar[str] = "qwen3"
    causal: ClassVar[bool] = True


class Decoder(Shape):
    """What the decoders share."""

    causal: ClassVar[bool] = True

    zero_init: bool = True
    """The last matrix of every branch begins at zero, so that each block begins as the identity. Far better in the
    first minutes of the quickstart, a little worse on characters, more so with AdamW (docs/LOG.md)."""


class Rotary(Decoder):
    """What the decoders with rotary positions share: RMSNorm, SwiGLU, grouped heads, no biases."""

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

    def layout(self) -> Layout:
        heads = self.width * self.head_width * (2 * self.heads + 2 * self.kv_heads)
        block = heads + 3 * self.width * self.hidden
        return Layout(layers=self.layers, width=self.width, matrix_parameters=self.layers * block)

    def config(self, *, vocab_size: int, max_length: int, specials: Specials) -> dict[str, Any]:
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


class Qwen3(Rotary):
    """Qwen3: a Llama whose queries and keys are normalised (QK-norm; arXiv:2505.09388)."""

    family: ClassVar[str] = "qwen3"


class Llama(Rotary):
    """Llama: RMSNorm, rotary positions, SwiGLU, grouped heads, no biases (arXiv:2302.13971)."""

    family: ClassVar[str] = "llama"


class Qwen3Nano(Qwen3):
    """About 5 million parameters with a vocabulary of 8,192."""

    layers: int = Field(4, gt=0)
    hidden: int = Field(704, gt=0)


class Qwen3Mini(Qwen3):
    """About 15 million parameters with a vocabulary of 8,192."""

    layers: int = Field(7, gt=0)
    width: int = Field(384, gt=0)
    heads: int = Field(6, gt=0)
    kv_heads: int = Field(3, gt=0)
    hidden: int = Field(1024, gt=0)


class Qwen3Small(Qwen3):
    """About 60 million parameters with a vocabulary of 16,000."""

    layers: int = Field(12, gt=0)
    width: int = Field(640, gt=0)
    heads: int = Field(10, gt=0)
    kv_heads: int = Field(5, gt=0)
    hidden: int = Field(1728, gt=0)


class Placed(Shape):
    """What the families with learned positions share."""

    layers: int = Field(4, gt=0)
    """Number of blocks."""
    width: int = Field(256, gt=0)
    """Width of the residual stream."""
    heads: int = Field(4, gt=0)
    """Attention heads; divide `width`."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout in pretraining; 0 suits a single epoch."""


class Bert(Placed):
    """BERT: an encoder with learned positions (arXiv:1810.04805), for masked pretraining."""

    family: ClassVar[str] = "bert"
    causal: ClassVar[bool] = False

    hidden: int = Field(1024, gt=0)
    """Width of the feed-forward part."""

    def layout(self) -> Layout:
        block = 4 * self.width**2 + 2 * self.width * self.hidden
        matrices = self.layers * block + self.width**2
        return Layout(layers=self.layers, width=self.width, matrix_parameters=matrices, learned_positions=True)

    def config(self, *, vocab_size: int, max_length: int, specials: Specials) -> dict[str, Any]:
        return {
            "vocab_size": vocab_size,
            "hidden_size": self.width,
            "intermediate_size": self.hidden,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "max_position_embeddings": max_length,
            "hidden_dropout_prob": self.dropout,
            "attention_probs_dropout_prob": self.dropout,
            "bos_token_id": specials.cls,
            "eos_token_id": specials.sep,
            "pad_token_id": specials.pad,
        }


class BertMini(Bert):
    """About 5 million parameters with a vocabulary of 8,192."""


class BertSmall(Bert):
    """About 29 million parameters with a vocabulary of 16,000: 6 blocks of 512."""

    layers: int = Field(6, gt=0)
    width: int = Field(512, gt=0)
    heads: int = Field(8, gt=0)
    hidden: int = Field(2048, gt=0)


class Gpt2(Placed, Decoder):
    """GPT-2: a decoder with learned positions and biases (Radford et al. 2019)."""

    family: ClassVar[str] = "gpt2"

    def layout(self) -> Layout:
        matrices = self.layers * 12 * self.width**2
        return Layout(layers=self.layers, width=self.width, matrix_parameters=matrices, learned_positions=True)

    def config(self, *, vocab_size: int, max_length: int, specials: Specials) -> dict[str, Any]:
        return {
            "vocab_size": vocab_size,
            "n_embd": self.width,
            "n_layer": self.layers,
            "n_head": self.heads,
            "n_positions": max_length,
            "resid_pdrop": self.dropout,
            "embd_pdrop": self.dropout,
            "attn_pdrop": self.dropout,
            "bos_token_id": specials.bos,
            "eos_token_id": specials.eos,
            "pad_token_id": specials.pad,
        }


class Gpt2Mini(Gpt2):
    """About 5 million parameters with a vocabulary of 8,192."""


SHAPE = Choice(
    Shape,
    {
        "auto": "pretune.model.shape:Auto",
        "qwen3": "pretune.model.shape:Qwen3",
        "qwen3-nano": "pretune.model.shape:Qwen3Nano",
        "qwen3-mini": "pretune.model.shape:Qwen3Mini",
        "qwen3-small": "pretune.model.shape:Qwen3Small",
        "llama": "pretune.model.shape:Llama",
        "bert": "pretune.model.shape:Bert",
        "bert-mini": "pretune.model.shape:BertMini",
        "bert-small": "pretune.model.shape:BertSmall",
        "gpt2": "pretune.model.shape:Gpt2",
        "gpt2-mini": "pretune.model.shape:Gpt2Mini",
    },
    group="pretune.shapes",
    default="auto",
)


def size_for(tokens: float, seconds: float, flops: float, *, vocab_size: int, length: int) -> Shape:
    """The largest preset that sees at least 5 tokens per parameter within the time, never below the smallest.

    A quarter of the 20 tokens per parameter that are optimal for one epoch (arXiv:2203.15556): on small data, which
    is read several times, somewhat larger models still gain. A rule of thumb, not a measurement of ours.

    Args:
        tokens: tokens that may be read, epochs included.
        seconds: time for the steps; 0 if it does not matter.
        flops: floating-point operations per second that the machine reaches in training.
    """
    best: Shape = Qwen3Nano(kind="qwen3-nano")
    for shape in (best, Qwen3Mini(kind="qwen3-mini"), Qwen3Small(kind="qwen3-small")):
        layout = shape.layout()
        reachable = seconds * flops / layout.flops_per_token(vocab_size, length) if seconds else tokens
        if min(tokens, reachable) >= 5 * layout.parameters(vocab_size, length):
            best = shape
    return best
