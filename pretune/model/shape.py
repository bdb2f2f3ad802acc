"""Shapes: which architecture, how deep, how wide. Presets are shapes with numbers filled in.

    model=qwen3-mini                 the preset
    model.kind=qwen3-mini model.layers=4     the preset, shallower

Every shape becomes an ordinary Hugging Face config, so that other tools read what we train. No torch here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import Field, model_validator

from pretune.base.config import Choice, Variant
from pretune.base.json import Json

if TYPE_CHECKING:
    from pretune.model.families import Head
    from pretune.tokens.encode.tokenizer import Specials


class Shape(Variant):
    """A model to be built from scratch."""

    family: ClassVar[str]
    """transformers' model type: qwen3, bert, gpt2."""
    usual_rate: ClassVar[float | None] = None
    """Peak rate of AdamW at which it learns labels from new weights; None: AdamW's own."""

    def layout(self) -> Layout:
        """The numbers that count parameters and work."""
        raise AssertionError("a shape has a layout")

    def config(self, *, vocab_size: int, max_length: int, specials: Specials) -> Json:
        """Arguments of the transformers config."""
        raise AssertionError("a shape has a config")

    def complete(self, model: Any, head: Head) -> None:
        """Give a fresh model of transformers' class what it has only while it is pretrained; of most nothing."""


class Layout(Variant):
    """Sizes of a transformer in the words of its arithmetic."""

    layers: int
    width: int
    matrix_parameters: int
    """Parameters that a token is multiplied with, without embedding and head."""
    idle_parameters: int = 0
    """Parameters of experts that a token does not pass."""
    tied: bool = True
    learned_positions: bool = False

    def parameters(self, vocab_size: int, max_length: int) -> int:
        """All parameters, but for norms and biases (less than 1 %)."""
        tables = vocab_size * (1 if self.tied else 2) + (max_length if self.learned_positions else 0)
        return self.matrix_parameters + self.idle_parameters + tables * self.width

    def flops_per_token(self, vocab_size: int, length: int, passed: tuple[float, float] = (1.0, 1.0)) -> float:
        """Forward and backward: 6 per matrix parameter (the head counts, the embedding look-up does not) and
        12 x layers x width x length for attention, causal not halved.

        Args:
            passed: of each token of the text, how many an encoder reads and a decoder writes.
        """
        return 6.0 * (self.matrix_parameters + vocab_size * self.width) + 12.0 * self.layers * self.width * length


class Auto(Shape):
    """A size that is chosen from the amount of text and the budget: a Qwen3, or a BERT where tokens are masked."""

    family: ClassVar[str] = "qwen3"


class Decoder(Shape):
    """What the decoders share."""

    zero_init: bool = True
    """The last matrix of every branch begins at zero, so that each block begins as the identity. Far better in the
    first minutes of the quickstart, a little worse on characters, more so with AdamW (docs/LOG.md)."""


class Placed(Shape):
    """What the families share whose heads lie side by side in the width."""

    layers: int = Field(4, gt=0)
    """Number of blocks."""
    width: int = Field(256, gt=0)
    """Width of the residual stream."""
    heads: int = Field(4, gt=0)
    """Attention heads; divide `width`."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout in pretraining; 0 suits a single epoch."""

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        divides(self, "heads", "width")
        return self


def divides(shape: Shape, part: str, whole: str, *, twice: bool = False) -> None:
    """Raise ValueError, which names both settings, where one does not divide the other; `twice`: into even parts."""
    a, b = getattr(shape, part), getattr(shape, whole)
    if b % a:
        raise ValueError(f"{part}={a} does not divide {whole}={b}")
    if twice and b // a % 2:
        raise ValueError(f"{part}={a} divides {whole}={b} into parts of {b // a}, and rotary positions turn pairs")


SHAPE = Choice(
    Shape,
    {
        "auto": "pretune.model.shape:Auto",
        "qwen3": "pretune.model.families.qwen3:Qwen3",
        "qwen3-nano": "pretune.model.families.qwen3:Qwen3Nano",
        "qwen3-mini": "pretune.model.families.qwen3:Qwen3Mini",
        "qwen3-small": "pretune.model.families.qwen3:Qwen3Small",
        "qwen3-moe": "pretune.model.families.qwen3_moe:Qwen3Moe",
        "qwen3-moe-nano": "pretune.model.families.qwen3_moe:Qwen3MoeNano",
        "llama": "pretune.model.families.llama:Llama",
        "gemma3": "pretune.model.families.gemma3:Gemma3",
        "bert": "pretune.model.families.bert:Bert",
        "bert-mini": "pretune.model.families.bert:BertMini",
        "bert-small": "pretune.model.families.bert:BertSmall",
        "modernbert": "pretune.model.families.modernbert:ModernBert",
        "modernbert-mini": "pretune.model.families.modernbert:ModernBertMini",
        "electra": "pretune.model.families.electra:Electra",
        "electra-mini": "pretune.model.families.electra:ElectraMini",
        "gpt2": "pretune.model.families.gpt2:Gpt2",
        "gpt2-mini": "pretune.model.families.gpt2:Gpt2Mini",
        "bag": "pretune.model.families.small:Bag",
        "cnn": "pretune.model.families.small:Cnn",
        "lstm": "pretune.model.families.small:Lstm",
        "t5": "pretune.model.families.t5:T5Shape",
        "t5-mini": "pretune.model.families.t5:T5Mini",
    },
    group="pretune.shapes",
    default="auto",
)


USUAL = {"masked": "bert-mini", "pair": "bert-mini", "replaced": "electra-mini", "text": "t5-mini"}
"""Head -> what `auto` is for it; for the next token it is chosen by `size_for`."""


def size_for(tokens: float, seconds: float, flops: float, *, vocab_size: int, length: int) -> Shape:
    """The largest preset that sees at least 5 tokens per parameter within the time, never below the smallest.

    A quarter of the 20 tokens per parameter that are optimal for one epoch (arXiv:2203.15556): on small data, which
    is read several times, somewhat larger models still gain. A rule of thumb, not a measurement of ours.

    Args:
        tokens: tokens that may be read, epochs included.
        seconds: time for the steps; 0 if it does not matter.
        flops: floating-point operations per second that the machine reaches in training.
    """
    sizes: list[Shape] = [SHAPE(kind) for kind in ("qwen3-nano", "qwen3-mini", "qwen3-small")]
    best = sizes[0]
    for shape in sizes:
        layout = shape.layout()
        reachable = seconds * flops / layout.flops_per_token(vocab_size, length) if seconds else tokens
        if min(tokens, reachable) >= 5 * layout.parameters(vocab_size, length):
            best = shape
    return best
