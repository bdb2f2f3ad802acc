"""BERT: an encoder with learned positions, for masked pretraining."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from pretune.base.json import Json
from pretune.model.families.family import AS_BERT, CUTS_AS_BERT, PLAN_AS_BERT, Family, States
from pretune.model.shape import Layout, Placed

if TYPE_CHECKING:
    from torch import Tensor

    from pretune.tokens.encode.tokenizer import Specials


class BertFamily(Family):
    """The head is a layer and a matrix: the layer too is computed only where it is asked."""

    def states(self, model: Any, inputs: Mapping[str, Any], at: Tensor | None = None) -> States:
        body, head = model.base_model(**inputs), model.cls.predictions
        hidden_ND = body.last_hidden_state.flatten(0, 1)
        pooled_BD = body.pooler_output  # None of a model for masked tokens alone
        rows_BC = None if pooled_BD is None else model.cls.seq_relationship(pooled_BD)
        return States(head.transform(hidden_ND if at is None else hidden_ND[at]), head.decoder, rows_BC)


BERT = BertFamily(
    classes={"pair": "AutoModelForPreTraining"},
    architecture="encoder",
    branches=AS_BERT,
    cuts=CUTS_AS_BERT,
    tensor_plan=PLAN_AS_BERT,
    keeps=True,
)


class Bert(Placed):
    """BERT: an encoder with learned positions (arXiv:1810.04805), for masked pretraining."""

    family: ClassVar[str] = "bert"
    hidden: int = Field(1024, gt=0)
    """Width of the feed-forward part."""

    def layout(self) -> Layout:
        block = 4 * self.width**2 + 2 * self.width * self.hidden
        matrices = self.layers * block + self.width**2
        return Layout(layers=self.layers, width=self.width, matrix_parameters=matrices, learned_positions=True)

    def config(self, *, vocab_size: int, max_length: int, specials: Specials) -> Json:
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
