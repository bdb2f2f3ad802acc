"""A mixture of experts: its terms by hand and by transformers, one expert as a dense model, its folder."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM
from transformers.models.qwen3_moe.modeling_qwen3_moe import load_balancing_loss_func

from pretune.model.build import build_model, num_parameters
from pretune.model.checkpointing import checkpoint_blocks
from pretune.model.families import family_of
from pretune.model.folder import load_model
from pretune.model.methods.method import METHOD
from pretune.model.shape import SHAPE
from pretune.objective.objective import OBJECTIVE
from pretune.objective.packed import packed_loads, packed_states
from pretune.objective.routing import LOADS, busiest, router_sums
from pretune.testing.folders import write_model
from pretune.testing.worlds import LENGTH, SPECIALS, VOCABULARY, packed_rows, tiny
from pretune.train.forecast.dry_run import dry_run, weightless
from pretune.train.loop.runtime import Runtime
from pretune.train.loop.state import compile_blocks
from pretune.train.loop.step import Scored, TrainState, gathered, take_step
from pretune.train.optim.settings import OPTIM
from pretune.train.optim.update import Update
from pretune.train.optim.update_rules import orthogonal

CAUSAL = OBJECTIVE("causal")


def batch_of(number: int) -> Any:
    return CAUSAL.collate(packed_rows(number, LENGTH + 1), VOCABULARY)


def test_the_terms_by_hand() -> None:
    """Two experts, k = 1, three tokens and one of padding, in two blocks; the second block sends all to expert 0."""
    routers = torch.tensor([[[2.0, 0.0], [0.0, 1.0], [3.0, 1.0], [9.0, 0.0]], [[1.0, 0.0]] * 4], dtype=torch.float64)
    found = router_sums(routers, torch.tensor([[True, True], [True, False]]), 1)
    p = torch.softmax(routers[:, :3], -1)
    first = 2 * (2 / 3 * p[0, :, 0].sum() + 1 / 3 * p[0, :, 1].sum())
    assert found["balance"].item() == pytest.approx((first + 2 * p[1, :, 0].sum()).item() / 2, rel=1e-12)
    z = torch.log(torch.exp(routers[:, :3]).sum(-1)) ** 2
    assert found["router_z"].item() == pytest.approx(z.sum().item() / 2, rel=1e-12)
    assert found[LOADS].tolist() == [[2, 1], [3, 0]]
    assert busiest([3, 0]) == 2.0 and busiest([2, 1]) == pytest.approx(4 / 3)


def test_the_balance_of_one_block_is_what_transformers_gives() -> None:
    routers = torch.randn(1, 24, 4, generator=torch.Generator().manual_seed(0))
    there = torch.arange(24).reshape(2, 12) % 5 > 0
    theirs = load_balancing_loss_func((routers[0],), 4, 2, there)
    ours = router_sums(routers, there, 2)["balance"] / there.sum()
    assert ours.item() == pytest.approx(float(theirs), rel=1e-6)


def test_equal_loads_give_a_balance_of_k() -> None:
    routers = torch.eye(4, dtype=torch.float64)[None] + torch.eye(4, dtype=torch.float64).roll(1, 1)[None]
    assert router_sums(routers, torch.ones(1, 4, dtype=torch.bool), 2)["balance"].item() / 4 == pytest.approx(2.0)


def test_loads_sum_to_k_times_the_tokens_in_every_block_and_padding_changes_nothing() -> None:
    model, rows = tiny("qwen3-moe").eval(), packed_rows(4, LENGTH + 1)
    batch = CAUSAL.collate(rows, VOCABULARY)
    sums, tokens = CAUSAL.sums(model, batch), int((batch["segments"] >= 0).sum())
    assert 0 < tokens < batch["segments"].numel()
    assert sums[LOADS].sum(-1).tolist() == [2 * tokens] * 2
    assert packed_loads(model, batch, causal=True)[LOADS].sum((0, 2)).tolist() == [2 * tokens] * 2
    other = {**batch, "input_ids": torch.where(batch["segments"] < 0, 7, batch["input_ids"])}
    again = CAUSAL.sums(model, other)
    assert all(torch.equal(sums[name], again[name]) for name in ("balance", "router_z", LOADS))


def gradient(*, checkpointed: bool, micro: int) -> tuple[dict[str, float], dict[str, torch.Tensor]]:
    model = tiny("qwen3-moe").train()
    if checkpointed:
        checkpoint_blocks(model)
    rows = packed_rows(8, LENGTH + 1)
    batches = [CAUSAL.collate(rows[i : i + micro], VOCABULARY) for i in range(0, 8, micro)]
    update = Update(model, OPTIM({"kind": "sgd", "learning_rate": 1.0, "clip": 1e9}))
    state = TrainState(model, Scored(model, CAUSAL), update, total=1)
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    report = take_step(state, CAUSAL, batches, Runtime())
    moved = {n: p.detach() - before[n] for n, p in model.named_parameters()}
    return report.loss | {"busiest": busiest(report.loads[0])}, moved


@pytest.mark.parametrize(("checkpointed", "micro"), [(True, 8), (False, 1), (True, 2)])
def test_loss_terms_loads_and_gradient_are_the_same_however_it_is_cut_and_computed_again(
    checkpointed: bool, micro: int
) -> None:
    told, moved = gradient(checkpointed=False, micro=8)
    again, other = gradient(checkpointed=checkpointed, micro=micro)
    assert set(told) == {"loss", "balance", "router_z", "busiest"}
    assert again == pytest.approx(told, rel=1e-12)
    assert max(float((moved[n] - other[n]).abs().max()) for n in moved) < 1e-12
    assert float(moved["model.layers.0.mlp.gate.weight"].abs().max()) > 1e-4


def test_one_micro_batch_in_one_process_needs_no_first_pass() -> None:
    model = tiny("qwen3-moe")
    assert gathered(model, CAUSAL, [batch_of(4)], Runtime()) == [None]
    two = gathered(model, CAUSAL, [batch_of(4), batch_of(3)], Runtime())
    assert [one.first for one in two if one] == [0, 4]
    assert gathered(tiny("qwen3"), CAUSAL, [batch_of(4), batch_of(3)], Runtime()) == [None, None]


def one_expert_of(dense: Any) -> Any:
    """The mixture of one expert with the weights of a dense model of its width."""
    sizes = {"layers": 2, "width": 32, "heads": 2, "kv_heads": 1, "head_width": 16, "hidden": 48}
    alone = {"experts": 1, "experts_per_token": 1, "balance": 0.0, "router_z": 0.0}
    shape = SHAPE({"kind": "qwen3-moe", **sizes, **alone})
    one: Any = build_model(shape, "next", vocab_size=40, max_length=32, specials=SPECIALS, seed=0).double()
    weights = {**one.state_dict(), **dense.state_dict()}
    for at in [f"model.layers.{i}.mlp" for i in range(2)]:
        gate, up, down = (weights.pop(f"{at}.{name}_proj.weight") for name in ("gate", "up", "down"))
        weights[f"{at}.experts.gate_up_proj"], weights[f"{at}.experts.down_proj"] = torch.cat([gate, up])[None], down[None]  # fmt: skip
    one.load_state_dict(weights)
    return one


@pytest.mark.parametrize("optim", ["adamw", "muon"])
def test_one_expert_is_the_dense_model_of_its_width_and_learns_the_same(optim: str) -> None:
    dense = tiny("qwen3")
    models = [dense, one_expert_of(dense)]
    for model in models:
        update = Update(model.train(), OPTIM({"kind": optim, "learning_rate": 1e-2}))
        state = TrainState(model, Scored(model, CAUSAL), update, total=3)
        losses = [take_step(state, CAUSAL, [batch_of(4)], Runtime()).loss["loss"] for _ in range(2)]
        model.losses = losses
    assert models[0].losses == pytest.approx(models[1].losses, rel=1e-12)
    assert models[0].losses[0] > models[0].losses[1]
    wanted = one_expert_of(models[0]).state_dict()
    for name, found in models[1].state_dict().items():
        if not name.endswith("mlp.gate.weight"):
            assert torch.allclose(found, wanted[name], rtol=1e-12, atol=1e-12), name


def test_its_folder_is_one_that_transformers_reads_expert_by_expert(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    model = tiny("qwen3-moe").float().eval()
    out = write_model(tmp_path / "model", tmp_path / "words", "", model=model)
    names = load_file(out / "model.safetensors").keys()
    assert "model.layers.1.mlp.experts.3.up_proj.weight" in names
    ids = torch.arange(4, 16)[None]
    plain = AutoModelForCausalLM.from_pretrained(out).eval()
    assert type(plain).__name__ == "Qwen3MoeForCausalLM"
    assert plain.config.router_z_loss_coef == 0.2, "going on weighs the terms as before"
    states = packed_states(model.train(), CAUSAL.collate([{"ids": [*range(4, 17)], "segments": [0] * 13}], VOCABULARY), causal=True)  # fmt: skip
    assert states.last is not None
    whole = plain(ids).logits[0]
    torch.testing.assert_close(states.last(states.hidden_ND), whole, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(load_model(out, "next").eval()(ids).logits[0], whole, rtol=1e-6, atol=1e-6)
    first = plain(ids[:, :5], use_cache=True)
    rest = plain(ids[:, 5:], past_key_values=first.past_key_values)
    torch.testing.assert_close(torch.cat([first.logits, rest.logits], 1)[0], whole, rtol=1e-5, atol=1e-5)


def test_muon_moves_every_expert_by_itself() -> None:
    stack = torch.randn(2, 3, 8, 16, generator=torch.Generator().manual_seed(1))
    alone = orthogonal(stack[1, 2], torch.float32)
    torch.testing.assert_close(orthogonal(stack, torch.float32)[1, 2], alone, rtol=1e-4, atol=1e-5)


def test_in_bfloat16_routers_keep_their_weights_and_choose_in_float32() -> None:
    model = tiny("qwen3-moe").float()
    exact = model.model.layers[0].mlp.gate.weight.detach().clone()
    Update(model, OPTIM("muon"), compute_dtype=torch.bfloat16)
    assert model.model.layers[0].mlp.experts.down_proj.dtype == torch.bfloat16
    assert torch.equal(model.model.layers[0].mlp.gate.weight, exact)
    states = packed_states(model, batch_of(2), causal=True)
    assert states.routers_SNE is not None
    assert (states.hidden_ND.dtype, states.routers_SNE.dtype) == (torch.bfloat16, torch.float32)


def test_an_adapter_changes_routers_and_experts_and_merged_it_says_what_it_said(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model", tmp_path / "words", "", model=tiny("qwen3-moe").float())
    method, ids = METHOD("lora"), torch.arange(4, 16)[None]
    model: Any = method.apply(load_model(folder, "next"), heads=())
    torch.manual_seed(3)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    assert {"gate", "experts"} <= {name.split(".mlp.")[1].split(".")[0] for name, _ in model.named_parameters() if ".mlp." in name}  # fmt: skip
    said = model.eval()(ids).logits
    (tmp_path / "adapter").mkdir()
    method.save(model, tmp_path / "adapter", base=str(folder), tokenizer=folder, weights={})
    opened = method.load(load_model(folder, "next"), tmp_path / "adapter").eval()
    assert torch.equal(opened(ids).logits, said)
    torch.testing.assert_close(method.merge(model).eval()(ids).logits, said, rtol=1e-5, atol=1e-5)


def test_a_dry_run_counts_the_products_of_the_experts_that_a_token_passes() -> None:
    """6 operations for each active weight and token; 8 blocks' worth of experts live, 2 are multiplied."""
    shape = SHAPE({"kind": "qwen3-moe", "layers": 1, "width": 64, "heads": 2, "kv_heads": 1, "head_width": 16})

    def build() -> TrainState:
        make = partial(build_model, shape, "next", vocab_size=40, max_length=128, specials=SPECIALS, seed=0)
        model = weightless(make, torch.device("cpu"))
        return TrainState(model, Scored(model, CAUSAL), Update(model, OPTIM("sgd")), total=9)

    rows = packed_rows(4, 129)
    one = [CAUSAL.collate(rows, VOCABULARY)]
    two = [CAUSAL.collate(rows[i : i + 2], VOCABULARY) for i in (0, 2)]
    whole, halves = dry_run(build, CAUSAL, [one, two])
    layout = shape.layout()
    assert whole.flops == pytest.approx(4 * 128 * layout.flops_per_token(40, 128), rel=0.05)
    assert halves.flops == pytest.approx(whole.flops * 4 / 3, rel=0.05), "a third more for the first pass"
    assert whole.peak_bytes > 4 * layout.parameters(40, 128)


@pytest.mark.parametrize(("dtype", "bar"), [(torch.float64, 1e-12), (torch.float32, 1e-5), (torch.bfloat16, 3e-2)])
def test_our_way_through_the_experts_gives_what_transformers_gives_and_its_gradient(dtype: Any, bar: float) -> None:
    """Expert 3 gets nothing, and no piece has a round number of tokens."""
    experts = tiny("qwen3-moe").model.layers[0].mlp.experts.to(dtype)
    drawn = torch.Generator().manual_seed(2)
    states = torch.randn(37, 32, generator=drawn).to(dtype).requires_grad_()
    chosen = torch.stack([torch.randperm(3, generator=drawn)[:2] for _ in range(37)])
    weights = torch.rand(37, 2, generator=drawn).to(dtype).requires_grad_()
    found = []
    for kind in ("eager", "pretune-sorted"):
        experts.config._experts_implementation = kind
        given = experts(states, chosen, weights)
        inputs = [states, weights, experts.gate_up_proj, experts.down_proj]
        found.append([given.detach(), *torch.autograd.grad(given.square().sum(), inputs)])
    for theirs, ours in zip(*found, strict=True):
        assert (theirs - ours).abs().max().item() < bar * max(1.0, theirs.abs().max().item())


def test_compiled_attention_leaves_the_sums_as_they_are() -> None:
    model, batch = tiny("qwen3-moe").train(), batch_of(3)
    plain = CAUSAL.sums(model, batch)
    compile_blocks(model, backend="eager")
    again = CAUSAL.sums(model, batch)
    assert plain.keys() == again.keys()
    assert all(torch.allclose(plain[name], again[name], rtol=1e-12) for name in plain)


def test_the_layout_counts_what_there_is_and_what_a_token_passes() -> None:
    shape = SHAPE({"kind": "qwen3-moe-nano", "layers": 2})
    with torch.device("meta"):
        model: Any = build_model(shape, "next", vocab_size=500, max_length=64, specials=SPECIALS, seed=0)
    assert shape.layout().parameters(500, 64) == pytest.approx(num_parameters(model), rel=0.01)
    experts = sum(p.numel() for n, p in model.named_parameters() if "experts" in n)
    assert shape.layout().idle_parameters == experts * 6 // 8


def test_more_experts_per_token_than_there_are_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="experts_per_token is 2, and experts is 1"):
        SHAPE({"kind": "qwen3-moe", "experts": 1})


def test_its_terms_have_the_weights_of_the_config_and_none_at_zero() -> None:
    model = tiny("qwen3-moe")
    assert family_of(model).extras(model) == {"balance": 0.5, "router_z": 0.2}
    model.config.router_aux_loss_coef = 0.0
    assert family_of(model).extras(model) == {"router_z": 0.2}
