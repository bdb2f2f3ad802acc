"""A family: which heads it has, how its logits are made where they are asked, what lies where."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM

from pretune.base.errors import NotSupported
from pretune.model.build import build_model
from pretune.model.families import FAMILIES, family_named, family_of
from pretune.model.families.family import PLAIN
from pretune.model.shape import SHAPE
from pretune.testing.worlds import SPECIALS, tiny

AT = torch.tensor([1, 5, 6, 22])


@pytest.mark.parametrize("kind", ["qwen3", "gpt2", "bert"])
def test_states_where_they_are_asked_are_the_logits_of_the_class_itself(kind: str) -> None:
    model = tiny(kind).eval()
    ids = torch.arange(4, 28).reshape(2, 12)
    whole = model(input_ids=ids).logits.flatten(0, 1)[AT]
    own, plain = family_of(model).states(model, {"input_ids": ids}, AT), PLAIN.states(model, {"input_ids": ids}, AT)
    assert own.last is not None and plain.last is None
    assert torch.allclose(own.last(own.hidden_ND), whole, rtol=1e-12, atol=1e-12)
    assert torch.equal(plain.hidden_ND, whole)


def test_a_family_without_a_file_trains_by_its_own_forward_pass() -> None:
    """Phi's head has a bias and its blocks are parallel; nobody wrote a file for it."""
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    torch.manual_seed(0)
    model: Any = AutoModelForCausalLM.from_config(AutoConfig.for_model("phi", vocab_size=40, **sizes))
    family = family_of(model)
    assert family is PLAIN and "phi" not in FAMILIES
    assert [len(stack) for stack in family.stacks(model)] == [2]
    assert family.architecture_of("phi") == "decoder"
    assert not {n for n in family.matrices(model) if "embed" in n or "lm_head" in n}


@pytest.mark.parametrize(
    ("model_type", "head", "there"),
    [
        ("qwen3", "next", True),
        ("qwen3", "masked", False),
        ("bert", "masked", True),
        ("bert", "next", False),
        ("bert", "pair", True),
        ("gpt2", "pair", False),
        ("roberta", "label", True),
        ("modernbert", "tags", True),
        ("t5", "text", True),
        ("qwen3", "text", False),
    ],
)
def test_a_head_that_a_family_has_not_is_refused_by_name(model_type: str, head: Any, there: bool) -> None:
    family = family_named(model_type)
    if there:
        assert family.class_for(head, model_type).__name__.startswith(("Auto", "Bert"))
        return
    with pytest.raises(NotSupported, match=f"(?s)a {model_type} model has no head for .*hint: it has heads for"):
        family.class_for(head, model_type)


def test_stacked_experts_are_matrices_that_muon_moves_and_tables_are_not() -> None:
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1}
    experts = {"moe_intermediate_size": 16, "num_experts": 4, "num_experts_per_tok": 2, "intermediate_size": 48}
    model: Any = AutoModelForCausalLM.from_config(AutoConfig.for_model("qwen3_moe", vocab_size=40, **sizes, **experts))
    found = family_of(model).matrices(model)
    stacked = {name for name, p in model.named_parameters() if p.dim() == 3}
    assert stacked and stacked <= found
    assert "model.embed_tokens.weight" not in found and "lm_head.weight" not in found


def test_a_masked_model_of_no_family_has_its_own_loss_too() -> None:
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = AutoConfig.for_model("ernie", vocab_size=40, **sizes)
    model: Any = AutoModelForMaskedLM.from_config(config).eval()
    ids = torch.arange(4, 16)[None]
    states = family_of(model).states(model, {"input_ids": ids}, torch.tensor([3]))
    assert torch.equal(states.hidden_ND, model(input_ids=ids).logits[0, 3:4])


def test_a_bert_with_a_pair_head_gives_the_logits_of_tokens_and_of_rows_that_transformers_gives() -> None:
    sizes = {"layers": 2, "width": 32, "heads": 2, "hidden": 48}
    model: Any = build_model(
        SHAPE({"kind": "bert", **sizes}), "pair", vocab_size=40, max_length=32, specials=SPECIALS, seed=0
    ).eval()
    ids = torch.arange(4, 28).reshape(2, 12)
    whole = model(input_ids=ids)
    found = family_of(model).states(model, {"input_ids": ids}, AT)
    assert type(model).__name__ == "BertForPreTraining"
    assert found.last is not None and found.rows_BC is not None
    assert torch.allclose(found.last(found.hidden_ND), whole.prediction_logits.flatten(0, 1)[AT], atol=1e-6)
    assert torch.equal(found.rows_BC, whole.seq_relationship_logits)
