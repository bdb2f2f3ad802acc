"""Bottleneck adapters: the formulas of their papers, the base at a zero start, the same answers from their folder."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from pretune.base.errors import NotSupported
from pretune.model.methods.adapter import check_merges, open_adapter
from pretune.model.methods.method import METHOD
from pretune.testing.folders import write_model
from pretune.testing.worlds import ADAPTERS, adapted, tiny, tiny_classifier

VARIANTS = ("houlsby", "pfeiffer", "parallel")
FAMILIES = ("bert", "modernbert", "qwen3", "gpt2", "gemma3")
IDS = torch.tensor([[5, 6, 7, 8, 9, 4]])


def weights_of(model: Any, at: str) -> list[Tensor]:
    where = model.get_submodule(f"{at}.bottleneck")
    return [where.down.weight, where.down.bias, where.up.weight, where.up.bias]


def bottle(x: Tensor, down: Tensor, down_bias: Tensor, up: Tensor, up_bias: Tensor) -> Tensor:
    return torch.relu(x @ down.T + down_bias) @ up.T + up_bias


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("kind", FAMILIES)
def test_at_its_start_the_model_is_its_base_bit_for_bit(kind: str, variant: str) -> None:
    model = tiny(kind, attention="sdpa").float().eval()
    before = model(input_ids=IDS)[0]
    found: Any = METHOD(ADAPTERS[variant]).apply(model, heads=())
    assert torch.equal(found(input_ids=IDS)[0], before)
    trained = [n for n, p in found.named_parameters() if p.requires_grad]
    assert len(trained) == 4 * 2 * (2 if variant == "houlsby" else 1)
    assert all(".bottleneck." in name for name in trained)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_block_of_bert_gives_what_its_formula_gives(variant: str) -> None:
    model = adapted(tiny("bert"), variant).eval()
    block, at = model.bert.encoder.layer[0], "bert.encoder.layer.0"
    x = torch.randn(1, 6, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    attention, output = block.attention, block.output
    inner = attention.self(x)[0] @ attention.output.dense.weight.T + attention.output.dense.bias
    if variant == "houlsby":
        inner = inner + bottle(inner, *weights_of(model, f"{at}.attention.output.dense"))
    y = attention.output.LayerNorm(x + inner)
    branch = block.intermediate(y) @ output.dense.weight.T + output.dense.bias
    if variant == "parallel":
        branch = branch + 4 * bottle(y, *weights_of(model, f"{at}.output"))
    else:
        branch = branch + bottle(branch, *weights_of(model, f"{at}.output.dense"))
    found = block(x)
    found = found[0] if isinstance(found, tuple) else found
    torch.testing.assert_close(found, output.LayerNorm(y + branch), rtol=0, atol=1e-12)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_feed_forward_part_of_qwen3_gives_what_its_formula_gives(variant: str) -> None:
    model = adapted(tiny("qwen3"), variant).eval()
    mlp, at = model.model.layers[1].mlp, "model.layers.1.mlp"
    x = torch.randn(1, 6, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    plain = (torch.nn.functional.silu(x @ mlp.gate_proj.weight.T) * (x @ mlp.up_proj.weight.T)) @ mlp.down_proj.weight.T
    own = weights_of(model, at)
    expected = plain + (4 * bottle(x, *own) if variant == "parallel" else bottle(plain, *own))
    torch.testing.assert_close(mlp(x), expected, rtol=0, atol=1e-12)


def test_a_copy_has_adapters_of_its_own() -> None:
    model = adapted(tiny("qwen3", attention="sdpa"), "parallel").eval()
    other = copy.deepcopy(model)
    before = model(input_ids=IDS).logits
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.5 if parameter.requires_grad else 0.0)
    assert torch.equal(other(input_ids=IDS).logits, before)
    assert not torch.allclose(model(input_ids=IDS).logits, before)


@pytest.mark.parametrize("variant", VARIANTS)
def test_an_opened_folder_gives_what_was_trained_and_is_not_merged(tmp_path: Path, variant: str) -> None:
    from pretune.model.folder import load_labelled

    write_model(tmp_path / "base", tmp_path / "words", "bert-labels")
    model, heads = load_labelled(tmp_path / "base", "label", ["a", "b", "坏"])
    by = METHOD({**ADAPTERS[variant], "activation": "gelu"})
    found: Any = by.apply(model, heads=heads)
    with torch.no_grad():
        for parameter in found.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter) if parameter.requires_grad else 0.0)
    (out := tmp_path / "adapter").mkdir()
    by.save(found, out, base="../base", tokenizer=tmp_path / "base", weights={})
    opened = open_adapter(out).eval()
    assert torch.equal(opened(input_ids=IDS).logits, found.eval()(input_ids=IDS).logits)
    assert opened.config.id2label == {0: "a", 1: "b", 2: "坏"}
    with pytest.raises(NotSupported, match="method=bottleneck, which cannot be merged"):
        check_merges(out)


def test_an_architecture_whose_branches_are_not_known_is_refused_by_name() -> None:
    with pytest.raises(NotSupported, match="the branches of a t5 model end"):
        METHOD("bottleneck").apply(tiny("t5"), heads=())


def test_a_head_that_is_new_trains_with_the_adapters_and_nothing_else_does() -> None:
    model: Any = METHOD("bottleneck").apply(tiny_classifier("bert"), heads=("classifier",))
    trained = {n for n, p in model.named_parameters() if p.requires_grad and ".bottleneck." not in n}
    assert trained == {"classifier.weight", "classifier.bias"}
