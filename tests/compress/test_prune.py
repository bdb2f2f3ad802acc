"""A cut model is the whole one with zeros; what is cut adds least."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from pretune.base.errors import NotSupported
from pretune.compress.calibration import Calibration, matrix_of, moments, turns
from pretune.compress.compressor import Work
from pretune.compress.prune import Prune, _added, kept_weights, units_left
from pretune.model.cuts import (
    blocks_of,
    cuts_of,
    head_sizes,
    inside,
    num_units,
    without_blocks,
    without_heads,
    without_units,
)
from pretune.testing.folders import build

IDS = torch.tensor([[5, 90, 17, 260, 33, 8, 142, 77, 201, 64]])


def modernbert() -> Any:
    from transformers import ModernBertConfig, ModernBertForMaskedLM

    torch.manual_seed(1)
    sizes = {"vocab_size": 300, "hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4}
    special = {"pad_token_id": 0, "cls_token_id": 2, "sep_token_id": 3, "bos_token_id": 2, "eos_token_id": 3}
    return ModernBertForMaskedLM(ModernBertConfig(**sizes, **special, num_hidden_layers=3)).eval()


def made(kind: str) -> Any:
    return modernbert() if kind == "modernbert" else build(kind)


def given(model: Any) -> dict[str, Any]:
    return {"input_ids": IDS} | ({"decoder_input_ids": IDS.flip(1)} if model.config.is_encoder_decoder else {})


def said(model: Any) -> torch.Tensor:
    with torch.no_grad():
        output = model(**given(model))
    return output.logits if "logits" in output else output.start_logits


def some(total: int, number: int, blocks: int) -> list[torch.Tensor]:
    draw = torch.Generator().manual_seed(3)
    return [torch.randperm(total, generator=draw)[:number].sort().values for _ in range(blocks)]


def silenced(model: Any, names: list[str], kept: list[torch.Tensor]) -> Any:
    """The model whose layers `names` read zeros where nothing is kept."""
    copy = deepcopy(model)
    for name, inputs in zip(names, kept, strict=True):
        weight_OI = matrix_of(copy, name)
        gone = torch.ones(weight_OI.shape[1], dtype=torch.bool)
        gone[inputs] = False
        weight_OI[:, gone] = 0
    return copy


FFN = ["llama", "qwen3", "qwen2", "gemma3", "gpt2", "bert-labels", "roberta-spans", "modernbert", "t5", "bert-tags"]


@pytest.mark.parametrize("kind", FFN)
def test_fewer_units_say_what_the_others_say_with_theirs_at_zero(kind: str) -> None:
    model = made(kind)
    blocks = blocks_of(model)
    kept = some(num_units(model), 20, len(blocks))
    readers = [next(inside(at, block, cuts_of(model).hidden_out)) for at, block in blocks.items()]
    cut = without_units(model, kept)
    assert num_units(cut) == 20
    torch.testing.assert_close(said(cut), said(silenced(model, readers, kept)), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", ["llama", "qwen3", "qwen2", "gemma3", "qwen3-labels"])
def test_fewer_key_heads_say_what_the_others_say_with_theirs_at_zero(kind: str) -> None:
    model = made(kind)
    blocks, (keys, group, width) = blocks_of(model), head_sizes(model)
    assert (keys, group) == (2, 2)
    kept = [torch.tensor([1]), torch.tensor([0])]
    reads = [torch.arange(one * group * width, (one + 1) * group * width) for one in (1, 0)]
    cut = without_heads(model, kept)
    assert (cut.config.num_attention_heads, cut.config.num_key_value_heads) == (2, 1)
    readers = [f"{at}.{cuts_of(model).heads_out}" for at in blocks]
    torch.testing.assert_close(said(cut), said(silenced(model, readers, reads)), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("kind", "at"), [("llama", "model.layers"), ("gemma3", "model.layers"), ("gpt2", "transformer.h"), ("bert-labels", "bert.encoder.layer"), ("modernbert", "model.layers"), ("t5", "encoder.block decoder.block")])  # fmt: skip
def test_fewer_blocks_say_what_the_others_say_without_them(kind: str, at: str) -> None:
    model = made(kind)
    kept = [0, 2] if kind == "modernbert" else [0]
    cut, whole = without_blocks(model, kept), deepcopy(model)
    for place in at.split():
        parent, name = whole.get_submodule(place.rpartition(".")[0]), place.rpartition(".")[2]
        setattr(parent, name, nn.ModuleList(parent.get_submodule(name)[k] for k in kept))
    if getattr(whole.config, "layer_types", None):
        whole.config.layer_types = [whole.config.layer_types[k] for k in kept]
    whole.config.num_hidden_layers = len(kept)
    assert len(blocks_of(cut)) == len(kept) * len(at.split())
    torch.testing.assert_close(said(cut), said(whole), rtol=1e-6, atol=1e-6)


def test_a_part_adds_the_mean_square_of_what_its_outputs_are() -> None:
    draw = torch.Generator().manual_seed(0)
    x_NI, weight_OI = torch.randn(50, 12, generator=draw), torch.randn(7, 12, generator=draw)
    by_hand = torch.stack([(x_NI[:, p : p + 4] @ weight_OI[:, p : p + 4].T).square().sum(1).mean() for p in (0, 4, 8)])
    torch.testing.assert_close(_added(weight_OI, x_NI.T @ x_NI / 50, 4), by_hand)


def test_wanda_keeps_a_small_weight_of_a_loud_input() -> None:
    weight_OI, squares_I = torch.tensor([[1.0, -0.5, 0.1, 0.2]]), torch.tensor([1.0, 1.0, 100.0, 0.01])
    assert kept_weights(weight_OI, squares_I, 0.5, "any").tolist() == [[True, False, True, False]]
    assert kept_weights(weight_OI, torch.ones(4), 0.5, "any").tolist() == [[True, True, False, False]]


def test_two_of_every_four_weights_are_left() -> None:
    weight_OI = torch.randn(6, 16, generator=torch.Generator().manual_seed(0))
    mask = kept_weights(weight_OI, torch.ones(16), 0.9, "2:4")
    assert (mask.reshape(6, 4, 4).sum(2) == 2).all()
    assert (weight_OI.abs()[mask].reshape(6, 4, 2).amin(2) >= weight_OI.abs()[~mask].reshape(6, 4, 2).amax(2)).all()


def test_units_that_add_nothing_on_the_text_go_first() -> None:
    """Half of the units read by a matrix of zeros but in columns whose weights are tiny."""
    model = build("llama")
    text = Calibration([{"input_ids": IDS}])
    for at in blocks_of(model):
        model.get_submodule(f"{at}.mlp.up_proj").weight.data[::2] = 0
        model.get_submodule(f"{at}.mlp.up_proj").bias.data[::2] = 0
    cut = Prune(what="ffn", ratio=0.5).compress(Work(model, text=text))
    torch.testing.assert_close(said(cut.model), said(model), rtol=1e-5, atol=1e-5)
    assert cut.metrics["units_after"] == 24
    assert cut.metrics["parameters_after"] < cut.metrics["parameters_before"]


@pytest.mark.parametrize(
    ("total", "ratio", "left"),
    [(3072, 0.25, 2304), (48, 0.5, 24), (48, 0.01, 47), (64, 0.2, 32), (32, 0.5, 16), (512, 0.03, 480), (96, 0.9, 32)],
)
def test_some_units_always_go_and_some_stay(total: int, ratio: float, left: int) -> None:
    assert units_left(total, ratio) == left


def test_the_layers_that_go_are_those_that_turn_the_states_least() -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    sizes = {"vocab_size": 300, "hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4}
    model = LlamaForCausalLM(LlamaConfig(**sizes, num_hidden_layers=5, initializer_range=0.3)).eval()
    for idle in (2, 3):
        for name in ("self_attn.o_proj", "mlp.down_proj"):
            model.get_submodule(f"model.layers.{idle}.{name}").weight.data.zero_()
    text = Calibration([{"input_ids": IDS}])
    angles = turns(model, 2, text)
    assert len(angles) == 3
    assert angles[1] == pytest.approx(0, abs=1e-3)
    cut = Prune(what="layers", ratio=0.4).compress(Work(model, text=text))
    assert cut.metrics["first_gone"] == 2
    torch.testing.assert_close(said(cut.model), said(model), rtol=1e-5, atol=1e-5)


def test_moments_are_what_a_layer_reads() -> None:
    model, heard = build("gpt2"), []
    layer = model.get_submodule("transformer.h.1.mlp.c_proj")
    with layer.register_forward_pre_hook(lambda module, args: heard.append(args[0][0])), torch.no_grad():
        model(IDS)
        model(IDS[:, :4])
    x_NI = torch.cat(heard)
    text = Calibration([{"input_ids": IDS}, {"input_ids": IDS[:, :4]}])
    torch.testing.assert_close(moments(model, {"it": layer}, text)["it"], x_NI.T @ x_NI / 14, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("kind", "what", "why"), [("bert-labels", "heads", "width / heads"), ("gpt2", "heads", "width / heads")])  # fmt: skip
def test_what_no_config_can_say_is_refused(kind: str, what: Any, why: str) -> None:
    by: Any = {"heads": "magnitude", "layers": "last"}[what]
    with pytest.raises(NotSupported, match=why):
        Prune(what=what, by=by).compress(Work(build(kind)))


@pytest.mark.parametrize("what", ["ffn", "heads", "layers"])
def test_plain_transformers_opens_the_smaller_folder(
    what: str, model_folder: Callable[..., Path], run: Callable[..., Any]
) -> None:
    from transformers import AutoModelForCausalLM

    source = model_folder("llama")
    by = {"layers": "last"}.get(what, "magnitude")
    method = {"kind": "prune", "what": what, "ratio": 0.5, "by": by}
    made = run(small={"kind": "compress", "model": str(source), "method": method})["small"]
    model, facts = AutoModelForCausalLM.from_pretrained(made.path), made.card.metrics
    cut = Prune.model_validate(method).compress(Work(AutoModelForCausalLM.from_pretrained(source))).model
    torch.testing.assert_close(said(model.eval()), said(cut), rtol=0, atol=0)
    assert sum(p.numel() for p in model.parameters()) == facts["parameters_after"] < facts["parameters_before"]
    assert facts["bytes_after"] == 4 * facts["parameters_after"]
