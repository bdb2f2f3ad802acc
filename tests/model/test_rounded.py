"""A rounded base: adapters learn next to it as next to the same numbers in plain layers, in the bytes that were said."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pretune.base.errors import NotSupported
from pretune.infer.trusted import read_json
from pretune.model.build import num_parameters
from pretune.model.folder import load_labelled
from pretune.model.methods.adapter import open_adapter
from pretune.model.methods.method import METHOD
from pretune.model.rounded import Product, Rounded, floats, put_on_grid, round_base, rounded
from pretune.objective.objective import OBJECTIVE
from pretune.task.settings import FinetuneSettings
from pretune.testing.folders import write_model
from pretune.testing.worlds import ADAPTERS, packed_rows, tiny, tiny_baseline
from tests.model.test_peft import ours

PRECISIONS = ("int8", "int4")
IDS = torch.tensor([[5, 6, 7, 8, 9, 4]])


@pytest.mark.parametrize(("precision", "levels"), [("int8", 127), ("int4", 7)])
def test_no_weight_moves_by_more_than_half_a_scale_and_twice_is_once(precision: str, levels: int) -> None:
    weight = torch.from_numpy(np.random.default_rng(0).standard_normal((5, 130)).astype(np.float32))
    codes, scales = rounded(weight, precision)
    found = floats(codes, scales, 130)
    groups = [weight] if precision == "int8" else weight.split(64, dim=1)
    for k, (was, now) in enumerate(
        zip(groups, [found] if precision == "int8" else found.split(64, dim=1), strict=True)
    ):
        scale = scales if precision == "int8" else scales[:, k]
        assert bool(((was - now).abs() <= scale * (0.5 + 1e-6)).all())
        torch.testing.assert_close(scale, was.abs().amax(1, keepdim=True) / levels, rtol=2**-14, atol=0)
    assert torch.equal(floats(*rounded(found, precision), 130), found)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_gradient_is_that_of_the_product_with_the_float_matrix(precision: str) -> None:
    codes, scales = rounded(torch.randn(6, 70, generator=torch.Generator().manual_seed(0)), precision)
    x = torch.randn(3, 4, 70, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: Product.apply(x, codes, scales.double()), (x,))


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(
    ("kind", "method"),
    [*(("qwen3", m) for m in ("plain", "dora", "ia3", "adalora", "parallel")), ("gpt2", "plain"), ("gpt2", "prefix")],
)
def test_adapters_move_as_next_to_the_same_numbers_in_plain_layers(kind: str, method: str, precision: str) -> None:
    models = []
    for round_it in (round_base, put_on_grid):
        torch.manual_seed(2)
        model = round_it(tiny(kind, attention="sdpa").float(), precision)
        models.append(METHOD(ADAPTERS[method]).apply(model, heads=()).double())
    rows = packed_rows(4, 13, targets=True)
    losses = [ours(model, OBJECTIVE("causal"), rows) for model in models]
    assert losses[0] == pytest.approx(losses[1], abs=1e-12) and losses[0][2] < losses[0][0]
    plain, other = ({n: p for n, p in m.named_parameters() if p.requires_grad} for m in models)
    assert plain.keys() == other.keys()
    assert max(float((p - other[n]).abs().max().detach()) for n, p in plain.items()) < 1e-12


@pytest.mark.parametrize(("precision", "each"), [("int8", 1 + 4 / 128), ("int4", 0.5 + 4 / 64)])
def test_the_matrices_of_the_blocks_take_the_bytes_that_were_said_also_while_gradients_are_kept(
    precision: str, each: float
) -> None:
    layer = torch.nn.Linear(128, 96, bias=False)
    small = Rounded(*rounded(layer.weight, precision), None, 128)
    assert sum(b.numel() * b.element_size() for b in small.buffers()) == 128 * 96 * each
    kept: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.nbytes) or t, lambda t: t):
        small(torch.randn(2, 128, requires_grad=True))
    assert sum(kept) == 128 * 96 * each, "the float matrix is not among them"


def test_embeddings_norms_and_heads_stay_and_every_weight_is_counted() -> None:
    model = tiny("qwen3").float()
    number, plain = num_parameters(model), copy.deepcopy(model)
    round_base(model, "int4")
    assert num_parameters(model) == number
    inside = [n for n, m in model.named_modules() if isinstance(m, Rounded)]
    assert len(inside) == 2 * 7 and all(name.startswith("model.layers.") for name in inside)
    known = dict(plain.named_parameters())
    assert all(torch.equal(p, known[n]) for n, p in model.named_parameters())


@pytest.mark.parametrize("method", ["plain", "parallel"])
def test_an_opened_folder_computes_with_the_rounding_that_it_was_trained_next_to(tmp_path: Path, method: str) -> None:
    write_model(tmp_path / "base", tmp_path / "words", "bert-labels")
    model, heads = load_labelled(tmp_path / "base", "label", ["a", "b", "坏"])
    by = METHOD(ADAPTERS[method])
    found: Any = by.apply(round_base(model, "int4"), heads=heads)
    with torch.no_grad():
        for parameter in found.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter) if parameter.requires_grad else 0.0)
    (out := tmp_path / "adapter").mkdir()
    by.save(found, out, base="../base", tokenizer=tmp_path / "base", weights={})
    assert read_json(out / "base.json")["precision"] == "int4"
    wanted = found.eval()(input_ids=IDS).logits
    opened = open_adapter(out).eval()
    torch.testing.assert_close(opened(input_ids=IDS).logits, wanted, rtol=0, atol=1e-6)


def test_what_cannot_be_rounded_is_refused() -> None:
    with pytest.raises(NotSupported, match="a pretune-bag model has no linear layers in blocks"):
        round_base(tiny_baseline("bag"), "int8")
    for method in ("full", {"kind": "lora", "variant": "pissa"}):
        with pytest.raises(ValueError, match="base_precision=int8 is for a base that stays as it is"):
            FinetuneSettings(model="m", data="d", task="classify", base_precision="int8", method=method)  # type: ignore[arg-type]
