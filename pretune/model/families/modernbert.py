"""ModernBERT (arXiv:2412.13663): an encoder with rotary positions, most of whose layers see a window only.

    full   window   window   full   window   window       global_every=3

No biases, GeGLU, a norm before each branch. It has no head for the next sentence.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import Field, model_validator

from pretune.base.json import Json
from pretune.model.families.family import SEES_ALL, SEES_WINDOW, Branches, Cuts, Family, States
from pretune.model.families.gemma3 import kinds_of
from pretune.model.shape import Layout, Placed, divides

if TYPE_CHECKING:
    from torch import Tensor

    from pretune.tokens.encode.tokenizer import Specials


class ModernBertFamily(Family):
    """The head is a layer and a matrix, as BERT's: the layer too is computed only where it is asked."""

    def states(self, model: Any, inputs: Mapping[str, Any], at: Tensor | None = None) -> States:
        hidden_ND = model.base_model(**inputs).last_hidden_state.flatten(0, 1)
        return States(model.head(hidden_ND if at is None else hidden_ND[at]), model.decoder)


MODERNBERT = ModernBertFamily(
    architecture="encoder",
    branches=Branches("attn.Wo", "mlp", "mlp"),
    cuts=Cuts(("mlp.Wi",), ("mlp.Wo",), gated=2),
    keeps=True,
)


class ModernBert(Placed):
    """ModernBERT: an encoder with rotary positions and windows (arXiv:2412.13663), for masked pretraining."""

    family: ClassVar[str] = "modernbert"
    hidden: int = Field(704, gt=0)
    """Width of the feed-forward part, which is gated: 3 matrices where BERT has 2."""
    window: int = Field(128, gt=1, multiple_of=2)
    """Tokens that a layer with a window sees, half of them on either side."""
    global_every: int = Field(3, gt=0)
    """One layer in so many sees all tokens, the first of them; 1: all layers do."""
    rope_theta: float = Field(10_000.0, gt=0)
    """Base of the rotary frequencies; 10,000 suits contexts up to a few thousand tokens."""

    @model_validator(mode="after")
    def _pairs_turn(self) -> Self:
        divides(self, "heads", "width", twice=True)
        return self

    def layout(self) -> Layout:
        block = 4 * self.width**2 + 3 * self.width * self.hidden
        return Layout(layers=self.layers, width=self.width, matrix_parameters=self.layers * block + self.width**2)

    def config(self, *, vocab_size: int, max_length: int, specials: Specials) -> Json:
        turning = {"rope_type": "default", "rope_theta": self.rope_theta}
        return {
            "vocab_size": vocab_size,
            "hidden_size": self.width,
            "intermediate_size": self.hidden,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "max_position_embeddings": max_length,
            "local_attention": self.window,
            "layer_types": kinds_of(self.layers, self.global_every, first_full=True),
            "rope_parameters": {SEES_WINDOW: turning, SEES_ALL: turning},
            "embedding_dropout": self.dropout,
            "attention_dropout": self.dropout,
            "mlp_dropout": self.dropout,
            "bos_token_id": specials.cls,
            "eos_token_id": specials.sep,
            "cls_token_id": specials.cls,
            "sep_token_id": specials.sep,
            "pad_token_id": specials.pad,
        }


class ModernBertMini(ModernBert):
    """About 5 million parameters with a vocabulary of 8,192."""
