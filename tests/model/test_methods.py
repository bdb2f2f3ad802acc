"""Methods that train some of a model's own weights: the rest stays bit-equal, and the cut of a step changes nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pretune.base.errors import NotSupported, WrongValue
from pretune.model.families import family_named, family_of
from pretune.model.methods.method import METHOD
from pretune.model.methods.own import frozen_blocks
from pretune.objective.labels import Labels
from pretune.testing.worlds import (
    BY_METHOD,
    VOCABULARY,
    begun,
    case,
    labelled_rows,
    largest_difference,
    tiny_classifier,
    trained,
)
from pretune.train.loop.runtime import Runtime
from pretune.train.loop.step import TrainState, take_step
from pretune.train.loop.stream import MicroBatches, RowStream
from pretune.train.optim.settings import OPTIM
from pretune.train.optim.update import Update

FREEZE_ALL = {"kind": "freeze", "blocks": 2}
BERT, QWEN3 = ({"model_type": kind, "num_hidden_layers": 2} for kind in ("bert", "qwen3"))
BAG = {"model_type": "pretune-bag"}


@pytest.mark.parametrize("name", BY_METHOD)
def test_eight_micro_batches_of_one_move_the_weights_like_one_of_eight(name: str) -> None:
    one, eight = (trained(name, micro=micro, optim="muon" if "several" in name else "adamw") for micro in (8, 1))
    assert largest_difference(one, eight) <= 1e-12
    assert largest_difference(one, start_of(name.partition(" by ")[0])) > 1e-3, "the steps must do something"


def start_of(name: str) -> dict[str, torch.Tensor]:
    return {n: p.detach() for n, p in case(name)[0].named_parameters()}


@pytest.mark.parametrize(
    ("method", "moves"),
    [
        ("head", lambda n: n.startswith("classifier")),
        ("freeze", lambda n: "embeddings" not in n and "layer.0." not in n),
        ({"kind": "freeze", "blocks": 0}, lambda n: "embeddings" not in n),
        (FREEZE_ALL, lambda n: "pooler" in n or "classifier" in n),
        ("bitfit", lambda n: n.endswith(".bias") or "classifier" in n),
        ("layernorm", lambda n: "LayerNorm" in n or "classifier" in n),
    ],
)
def test_what_moves_is_what_was_asked_and_the_rest_is_bit_equal(method: Any, moves: Any) -> None:
    start, end = start_of("classify"), trained("classify", micro=4, method=method)
    assert {n for n in start if not torch.equal(start[n], end[n])} == {n for n in start if moves(n)}


@pytest.mark.parametrize("method", ["freeze", "head"])
def test_frozen_blocks_have_no_dropout_and_what_trains_has(method: str) -> None:
    model = tiny_classifier()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.5
    state = begun(model, Labels(kind="labels"), method, steps=1)
    state.train()
    still = {name for name, module in model.named_modules() if not module.training}
    on = {name for name, m in model.named_modules() if isinstance(m, torch.nn.Dropout) and m.training}
    frozen = frozen_blocks(model)
    assert frozen == {"freeze": 1, "head": 2}[method]
    assert {"bert.embeddings.dropout", "bert.encoder.layer.0.output.dropout"} <= still
    assert on == {"dropout"} | {n for n, m in model.named_modules() if "layer.1" in n and isinstance(m, torch.nn.Dropout) and frozen == 1}  # fmt: skip
    ids = torch.arange(4, 16).reshape(2, 6)
    one, other = (model.bert(ids, output_hidden_states=True).hidden_states[frozen] for _ in range(2))
    assert torch.equal(one, other), "a frozen block gives the same for the same row"


def test_weights_are_set_free_from_the_top_down_and_until_then_bit_equal_to_the_start() -> None:
    """8 steps, two blocks: the head alone for one step and a third, then a block more; the embeddings from step 4 on."""
    model, start = tiny_classifier(), dict(start_of("classify"))
    state = begun(model, Labels(kind="labels"), "unfreeze", steps=8)
    family, freed = family_of(model), {}
    for step, batches in enumerate(steps_of(8)):
        take_step(state, Labels(kind="labels"), batches, Runtime())
        for name, weight in model.named_parameters():
            if name not in freed and not torch.equal(weight, start[name]):
                freed[name] = step
    at = {level: {freed[n] for n in freed if family.level_of(n) == level} for level in (None, 2, 1, 0)}
    assert at == {None: {0}, 2: {2}, 1: {3}, 0: {4}}
    assert freed.keys() == start.keys()


def steps_of(number: int) -> list[Any]:
    cut = MicroBatches(RowStream(labelled_rows(8), 8, seed=5), Labels(kind="labels"), VOCABULARY, 5, 8)
    return [cut.batches(step) for step in range(number)]


@pytest.mark.parametrize(
    ("every", "total", "freed"),
    [(None, 60, [0, 10, 20, 30]), (0.25, 60, [0, 15, 30, 45]), (7, 60, [0, 7, 14, 21]), (None, 2, [0, 1, 2, 3])],
)
def test_a_block_is_freed_every_share_of_the_run_or_every_few_steps(every: Any, total: int, freed: list[int]) -> None:
    names = ["score.weight", "model.layers.1.mlp.weight", "model.layers.0.mlp.weight", "model.embed_tokens.weight"]
    method = METHOD({"kind": "unfreeze", "every": every})
    moving = [len(method.trained_at(names, step, total)) for step in range(max(freed) + 1)]
    assert [moving.index(number) for number in range(1, 5)] == freed


def test_a_weight_that_is_set_free_later_takes_the_steps_that_torch_gives_it() -> None:
    """torch's AdamW counts the steps of each weight; one count for all would make its first steps three times as
    large."""
    torch.manual_seed(0)
    ours, theirs = torch.nn.Linear(3, 2).double(), torch.nn.Linear(3, 2).double()
    theirs.load_state_dict(ours.state_dict())
    settings = {"kind": "adamw", "learning_rate": 1e-2, "weight_decay": 0.0, "betas": [0.9, 0.999]}
    update = Update(ours, OPTIM(settings))
    oracle = torch.optim.AdamW(theirs.parameters(), lr=1e-2, weight_decay=0.0, betas=(0.9, 0.999), eps=update.settings.eps)  # type: ignore[attr-defined]  # fmt: skip
    for step in range(6):
        for model in (ours, theirs):
            (model(torch.arange(3.0).double()) ** 2).sum().backward()
        if step < 3:
            theirs.weight.grad = None
        update.keep_gradients(["bias"] if step < 3 else ["bias", "weight"])
        if step == 4:  # as a resumed run
            again = Update(ours, OPTIM(settings))
            again.load(update.state())
            update = again
            update.keep_gradients(["bias", "weight"])
        update.step(step + 1, 1.0)
        oracle.step()
        oracle.zero_grad()
    assert torch.allclose(ours.weight, theirs.weight, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("method", "config", "told"),
    [
        ({"kind": "freeze", "blocks": 3}, BERT, "method.blocks=3, and a bert model of this size has 2 blocks"),
        ("freeze", BAG, "a pretune-bag model has no blocks"),
        ("bitfit", QWEN3, "a qwen3 model has no biases"),
    ],
)
def test_what_an_architecture_cannot_do_is_said_by_its_config(method: Any, config: Any, told: str) -> None:
    with pytest.raises((NotSupported, WrongValue), match=told):
        METHOD(method).check(family_named(config["model_type"]).config(config))


def test_a_method_that_leaves_nothing_to_train_is_refused() -> None:
    with pytest.raises(NotSupported, match="nothing of a BertModel would train"):
        METHOD(FREEZE_ALL).apply(case("embed")[0], heads=())


def test_half_of_the_blocks_is_frozen_when_nothing_is_said_and_every_architecture_can_be_frozen() -> None:
    for name in ("classify-decoder", "seq2seq", "windows-masked", "replaced"):
        model = case(name)[0]
        METHOD("freeze").apply(model, heads=())
        assert frozen_blocks(model) == 1
        assert not model.get_input_embeddings().weight.requires_grad
        METHOD("freeze").check(model.config)


def test_state_is_eval_only_where_a_method_says_so() -> None:
    """LoRA's frozen embeddings keep the dropout that the base was made with."""
    state = begun(tiny_classifier(), Labels(kind="labels"), "bitfit", steps=1)
    assert isinstance(state, TrainState) and not state.still
