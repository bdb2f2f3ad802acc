"""Warm-up in any unit, a batch that grows, layer-wise rates, norms by part, budgets that are told."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from pretune.base.errors import SettingsError
from pretune.model.families import family_named
from pretune.testing.worlds import tiny
from pretune.train.budget import Budget, remarks_on
from pretune.train.loop.stream import StoreStream
from pretune.train.optim.settings import OPTIM
from pretune.train.optim.update import Update


class Numbers:
    """Rows that are their own number."""

    def at(self, positions: Any) -> Any:
        return {"ids": positions}

    def where(self, positions: Any) -> str:
        return f"{positions[0]}-{positions[-1]}"

    def __len__(self) -> int:
        return 1000


@pytest.mark.parametrize(
    ("warmup", "steps"),
    [(0.05, 0.05), (30, 30), ("2e3 tokens", 20), ("1 minutes", 30), ("7 seconds", 4), ("0.1 seconds", 1)],
)
def test_a_warm_up_is_given_in_steps_tokens_or_time(warmup: Any, steps: float) -> None:
    optim = OPTIM({"kind": "adamw", "warmup": warmup})
    found = optim.warmup_steps(tokens_per_step=100, seconds_per_step=2)
    assert found == steps
    assert optim.resolved(warmup=found).rate_factor(0, 1000) == pytest.approx(1 / (steps if steps >= 1 else 50))


def test_a_warm_up_in_no_unit_is_refused() -> None:
    for wrong in ("3 cups", "tokens", -1):
        with pytest.raises((SettingsError, ValueError), match="warmup"):
            OPTIM({"kind": "adamw", "warmup": wrong})


def test_a_growing_batch_reads_every_row_in_order_and_is_a_function_of_the_step() -> None:
    stream = StoreStream(Numbers(), 32, ramp=10)  # type: ignore[arg-type]
    sizes = [len(stream.rows(step)) for step in range(14)]
    assert sizes == [4, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 32]
    read = [int(row["ids"]) for step in range(14) for row in stream.rows(step)]
    assert read == list(range(sum(sizes)))
    assert stream.where(5) == "24-31"
    assert [stream.share(step) for step in (0, 4, 13)] == [1 / 8, 1 / 4, 1.0]
    plain = StoreStream(Numbers(), 32)  # type: ignore[arg-type]
    assert [len(plain.rows(step)) for step in (0, 5)] == [32, 32]
    assert plain.rows_before(7) == 224


@pytest.mark.parametrize("kind", ["qwen3", "gpt2", "bert"])
def test_layers_below_move_less_and_the_head_in_full(kind: str) -> None:
    names = [name for name, _ in tiny(kind).named_parameters()]
    scales = family_named(kind).layer_scales(names, 0.5)
    by_level: dict[float, set[str]] = {}
    for name, scale in scales.items():
        by_level.setdefault(scale, set()).add(name)
    assert set(by_level) == {1.0, 0.5, 0.25}
    blocks = {"qwen3": "layers", "gpt2": "h", "bert": "layer"}[kind]
    assert all(f"{blocks}.0." in name for name in by_level[0.5])
    assert all("embed" in name or "wte" in name or "wpe" in name for name in by_level[0.25])
    assert any(f"{blocks}.1." in name for name in by_level[1.0])


@pytest.mark.parametrize("optim", ["adamw", "muon"])
def test_a_weight_with_half_the_rate_moves_half_as_far(optim: str) -> None:
    moved = []
    for scale in (1.0, 0.5):
        model = tiny("qwen3")
        names = [n for n, _ in model.named_parameters()]
        update = Update(model, OPTIM({"kind": optim, "weight_decay": 0.0}), scales=dict.fromkeys(names, scale))
        before = {n: p.detach().clone() for n, p in model.named_parameters()}
        torch.manual_seed(0)
        for parameter in model.parameters():
            parameter.grad = torch.randn_like(parameter)
        update.step(1, 1.0)
        moved.append({n: p.detach() - before[n] for n, p in model.named_parameters()})
    for name, move in moved[0].items():
        assert torch.allclose(move, 2 * moved[1][name], rtol=1e-9, atol=1e-12), name


def test_norms_by_part_are_those_of_the_parts_and_add_up() -> None:
    model = tiny("gpt2")
    update = Update(model, OPTIM("adamw"))
    for number, parameter in enumerate(model.parameters()):
        parameter.grad = torch.full_like(parameter, float(number))
    whole, parts = update.gradient_norm(), update.norms_by_part()
    assert set(parts) == {"attention", "embeddings", "mlp", "norms"}
    assert math.sqrt(sum(norm**2 for norm in parts.values())) == pytest.approx(whole, rel=1e-12)
    tables = [p.grad for n, p in model.named_parameters() if "wte" in n or "wpe" in n]
    expected = math.sqrt(sum(float(g.square().sum()) for g in tables if g is not None))
    assert parts["embeddings"] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("model.layers.0.self_attn.q_norm.weight", "norms"),
        ("base_model.model.model.layers.1.self_attn.q_proj.lora_A.default.weight", "attention"),
        ("bert.encoder.layer.0.attention.output.dense.weight", "attention"),
        ("bert.encoder.layer.0.output.dense.weight", "mlp"),
        ("bert.embeddings.LayerNorm.weight", "norms"),
        ("cls.predictions.bias", "head"),
        ("transformer.h.0.attn.c_attn.weight", "attention"),
        ("classifier.weight", "head"),
    ],
)
def test_a_parameters_part_is_read_from_its_name(name: str, part: str) -> None:
    assert family_named("").part_of(name) == part


def test_a_budget_below_one_step_and_one_beyond_the_data_are_told() -> None:
    few = remarks_on(Budget(minutes=0.01), steps=1, rows=100, batch=8, seconds_per_step=2.0)
    assert few == (["minutes=0.01 is less than the 2.0 s of one step; one is taken"], [])
    many = remarks_on(Budget(steps=50), steps=50, rows=100, batch=8, seconds_per_step=2.0)
    assert many == ([], ["the 100 rows of the training split are read 4.0 times"])
    assert remarks_on(Budget(epochs=4), steps=50, rows=100, batch=8, seconds_per_step=2.0) == ([], [])
