"""GPT-2: a decoder with learned positions and biases."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pretune.base.json import Json
from pretune.model.families.family import Branches, Cuts
from pretune.model.families.llama import TABLE_PACE, HeadOnStates
from pretune.model.shape import Decoder, Layout, Placed

if TYPE_CHECKING:
    from pretune.tokens.encode.tokenizer import Specials

GPT2 = HeadOnStates(
    architecture="decoder",
    paces={"wte.weight": TABLE_PACE},
    zero_init=("attn.c_proj.weight", "mlp.c_proj.weight"),
    branches=Branches("attn.c_proj", "mlp", "mlp"),
    cuts=Cuts(("mlp.c_fc",), ("mlp.c_proj",), "n_inner"),
    keeps=True,
)


class Gpt2(Placed, Decoder):
    """GPT-2: a decoder with learned positions and biases (Radford et al. 2019)."""

    family: ClassVar[str] = "gpt2"

    def layout(self) -> Layout:
        matrices = self.layers * 12 * self.width**2
        return Layout(layers=self.layers, width=self.width, matrix_parameters=matrices, learned_positions=True)

    def config(self, *, vocab_size: int, max_length: int, specials: Specials) -> Json:
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
