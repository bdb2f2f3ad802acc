"""The usual learning rate of a method: by the width of the model, where all of it trains."""

from typing import Any

import pytest
import torch

from pretune.model.families.llama import TABLE_PACE
from pretune.model.methods.method import HEAD_PACE, METHOD
from pretune.model.methods.scratch import GoingOn, Scratch
from pretune.task.finetuning import outlined, usual_epochs
from pretune.task.settings import FinetuneSettings
from pretune.task.task import TASK
from pretune.testing.worlds import tiny, tiny_classifier
from pretune.tokens.rows import Vocabulary
from pretune.train.optim.settings import OPTIM


@pytest.mark.parametrize(
    ("method", "width", "rate"),
    [
        ("full", 2048, 5e-5),
        ("full", 768, 5e-5),
        ("full", 384, 1e-4),
        ("full", 32, 5e-4),  # not above what AdamW takes when all is new
        ("full", 0, 5e-5),  # not known
        ("head", 384, 1e-3),
        ("freeze", 384, 1e-4),
        ("bitfit", 384, 4e-3),
        ("lora", 384, 5e-4),
        ({"kind": "lora", "variant": "lora+"}, 384, 1.25e-4),  # and sixteen times as much for B
    ],
)
def test_narrow_models_move_faster_where_all_weights_train(method: Any, width: int, rate: float) -> None:
    assert METHOD(method).rate_for(OPTIM("adamw"), width) == pytest.approx(rate)


def test_other_optimizers_have_a_rate_of_their_own() -> None:
    assert METHOD("full").rate_for(OPTIM("muon"), 384) is None


def test_preferences_are_learnt_at_a_tenth_of_the_rate() -> None:
    config = {"model_type": "qwen3", "hidden_size": 384, "vocab_size": 40, "num_hidden_layers": 1}
    vocabulary, cpu = Vocabulary(size=40, pad=0), torch.device("cpu")
    rates = {}
    for kind in ("chat", "prefer"):
        settings = FinetuneSettings(model="m", data="d", task=TASK(kind))
        rates[kind] = outlined(settings, settings.task, config, settings.task.objective(), vocabulary, cpu).usual_rate
    assert rates == {"chat": pytest.approx(1e-4), "prefer": pytest.approx(1e-5)}


def test_little_data_is_read_until_300_steps_at_most_twenty_times_and_preferences_once() -> None:
    tag, prefer = TASK("tag"), TASK("prefer")
    assert usual_epochs(tag, 96_000, 32) == 4
    assert usual_epochs(tag, 960, 32) == 10, "30 steps an epoch"
    assert usual_epochs(tag, 32, 32) == 20
    assert usual_epochs(prefer, 32, 32) == 1


def test_a_new_t5_moves_its_table_faster_on_top_of_what_its_layers_say_and_one_that_goes_on_does_not() -> None:
    model = tiny("t5")
    tables = {name for name, _ in model.named_parameters() if name.endswith("relative_attention_bias.weight")}
    assert len(tables) == 2, "one of each stack"
    assert Scratch(kind="scratch").scales(model, 1.0) == {"shared.weight": 100.0, **dict.fromkeys(tables, 10.0)}
    layers, both = METHOD("full").scales(model, 0.5) or {}, Scratch(kind="scratch").scales(model, 0.5) or {}
    assert {name: both[name] / rate for name, rate in layers.items() if both[name] != rate} == {
        "shared.weight": 100.0,
        **dict.fromkeys(tables, 10.0),
    }
    assert {layers[name] for name in tables} == {0.5}, "the first of two blocks"
    assert GoingOn(kind="going-on").scales(model, 1.0) is None
    assert Scratch(kind="scratch").scales(tiny("qwen3"), 1.0) == {"model.embed_tokens.weight": TABLE_PACE}


@pytest.mark.parametrize("method", ["full", "freeze", "unfreeze"])
def test_a_new_head_moves_ten_times_as_fast_and_what_a_model_has_learnt_does_not(method: str) -> None:
    model = METHOD(method).apply(tiny_classifier(), heads=("classifier",))
    heads = {"classifier.weight", "classifier.bias"}
    assert METHOD(method).scales(model, 1.0) == dict.fromkeys(heads, HEAD_PACE)
    layers, both = METHOD("lora").scales(model, 0.5) or {}, METHOD(method).scales(model, 0.5) or {}
    assert {name: both[name] / rate for name, rate in layers.items() if both[name] != rate} == dict.fromkeys(
        heads, HEAD_PACE
    )
    assert METHOD(method).scales(METHOD(method).apply(tiny("gpt2"), heads=()), 1.0) is None
    learnt = METHOD(method).apply(tiny_classifier(), heads=())
    assert METHOD(method).scales(learnt, 1.0) is None, "a head that is there has learnt, too"
    assert Scratch(kind="scratch").scales(model, 1.0) is None, "with fresh weights all is new"
