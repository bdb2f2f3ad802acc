"""Gemma 3 (arXiv:2503.19786): a decoder most of whose layers see a window only.

    sliding   sliding   sliding   full        pattern=4: three layers that see the last 128 tokens, one that sees all

Queries and keys are normalised, and what each branch gives is too, before it is added. A window makes long rows cheap
to read and their cache small; in rows of 256 tokens it changes little.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import Field, model_validator

from pretune.base.json import Json
from pretune.model.families.family import AS_LLAMA, CUTS_AS_LLAMA, SEES_ALL, SEES_WINDOW, Family, States
from pretune.model.families.llama import Grouped, HeadOnStates
from pretune.model.shape import divides

if TYPE_CHECKING:
    from torch import Tensor

    from pretune.tokens.encode.tokenizer import Specials


class Gemma3Family(HeadOnStates):
    def states(self, model: Any, inputs: Mapping[str, Any], at: Tensor | None = None) -> States:
        if model.config.final_logit_softcapping is None:
            return super().states(model, inputs, at)
        return Family.states(self, model, inputs, at)  # its logits are bent behind the last matrix


# No matrix begins at zero: each branch ends with a norm, which makes even the smallest output large.
GEMMA3 = Gemma3Family(
    architecture="decoder",
    dropped=("embed_tokens", "post_attention_layernorm", "post_feedforward_layernorm"),
    branches=AS_LLAMA,
    cuts=CUTS_AS_LLAMA,
)


class Gemma3(Grouped):
    """Gemma 3: most layers see a window only; GeGLU, norms before and behind each branch (arXiv:2503.19786)."""

    family: ClassVar[str] = "gemma3_text"
    window: int = Field(128, gt=0)
    """Tokens that a layer with a window sees: each itself and those before it."""
    pattern: int = Field(6, gt=0)
    """One layer in so many sees all tokens, the last of them; 1: all layers do."""

    @model_validator(mode="after")
    def _width_too(self) -> Self:
        divides(self, "heads", "width")  # transformers asks for it, though heads have a width of their own
        return self

    def config(self, *, vocab_size: int, max_length: int, specials: Specials) -> Json:
        plain = super().config(vocab_size=vocab_size, max_length=max_length, specials=specials)
        turning = plain["rope_parameters"]
        return plain | {
            "query_pre_attn_scalar": self.head_width,
            "sliding_window": self.window,
            "layer_types": kinds_of(self.layers, self.pattern, first_full=False),
            "rope_parameters": {SEES_WINDOW: turning, SEES_ALL: turning},
        }


def kinds_of(layers: int, every: int, *, first_full: bool) -> list[str]:
    """transformers' kinds of layers: one in `every` sees all tokens, the first of them or the last."""
    full = 0 if first_full else every - 1
    return [SEES_ALL if i % every == full else SEES_WINDOW for i in range(layers)]
