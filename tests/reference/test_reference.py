"""The readable models are the field's: equal logits with equal weights, in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import BertConfig, BertForMaskedLM, Qwen3Config, Qwen3ForCausalLM, Qwen3MoeConfig, Qwen3MoeForCausalLM

from tests.reference.decoder import Decoder
from tests.reference.encoder import Encoder, renamed
from tests.reference.experts import Experts

SIZES: dict[str, Any] = {
    "vocab_size": 40,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 32,
}
GROUPED: dict[str, Any] = {**SIZES, "num_key_value_heads": 2, "head_dim": 16}
IDS_BL = torch.arange(4, 28).reshape(2, 12)


def random(make: Any, config: Any) -> Any:
    """A model whose every weight matters, norms and biases too; torch's attention, in float64."""
    torch.manual_seed(0)
    model = make._from_config(config, attn_implementation="sdpa").double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def test_the_decoder_gives_the_logits_of_qwen3() -> None:
    theirs = random(Qwen3ForCausalLM, Qwen3Config(**GROUPED, tie_word_embeddings=True))
    ours = Decoder(theirs.config).double()
    ours.load_state_dict(theirs.model.state_dict())
    expected = theirs(IDS_BL).logits
    assert (ours(IDS_BL) - expected).abs().max() < 1e-10
    assert expected.std() > 0.1


def test_the_encoder_gives_the_logits_of_bert_beside_padding_too() -> None:
    theirs = random(BertForMaskedLM, BertConfig(**SIZES))
    ours = Encoder(theirs.config).double()
    tied = "cls.predictions.decoder"
    ours.load_state_dict({renamed(n): t for n, t in theirs.state_dict().items() if not n.startswith(tied)})
    mask, types = torch.ones_like(IDS_BL), torch.arange(12).ge(5).long().expand(2, 12)
    mask[1, 9:] = 0
    expected = theirs(IDS_BL, attention_mask=mask, token_type_ids=types).logits
    assert (ours(IDS_BL, mask, types) - expected)[mask == 1].abs().max() < 1e-10


@pytest.mark.parametrize(("chosen", "sum_to_one"), [(2, True), (2, False), (1, False)])
def test_the_experts_give_what_a_block_of_qwen3_moe_gives(chosen: int, sum_to_one: bool) -> None:
    sizes = {"num_experts": 5, "num_experts_per_tok": chosen, "moe_intermediate_size": 12}
    config = Qwen3MoeConfig(**GROUPED, **sizes, norm_topk_prob=sum_to_one)
    whole = random(Qwen3MoeForCausalLM, config)
    whole.set_experts_implementation("eager")  # the grouped product knows no float64
    theirs = whole.model.layers[1].mlp
    ours = Experts(config).double()
    names = {"router": "gate.weight", "gate_up": "experts.gate_up_proj", "down": "experts.down_proj"}
    ours.load_state_dict({mine: theirs.state_dict()[name] for mine, name in names.items()})
    x_BLD = torch.randn(2, 12, 32, dtype=torch.float64)
    assert (ours(x_BLD) - theirs(x_BLD)).abs().max() < 1e-10
    assert ours.routed(x_BLD.flatten(0, 1))[1].unique().numel() == 5, "every expert must be asked"
