"""A model that learns on: it begins as what it was, what it forgets is measured, other tokenizers are refused."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from pretune.base.artifact import Artifact
from pretune.base.config import check
from pretune.base.errors import NotSupported, WrongValue
from pretune.base.log import Log
from pretune.base.oneline import stage_recipe
from pretune.base.recipe import Recipe
from pretune.model.folder import load_model
from pretune.tokens.encode.tokenizer import encode_text, load_tokenizer
from pretune.train.run.settings import PretrainSettings
from tests.train.foxes import write_foxes

SHAPE = {"kind": "qwen3", "layers": 1, "width": 32, "heads": 2, "kv_heads": 1, "head_width": 16, "hidden": 48}
RUN = {"kind": "pretrain", "length": 32, "batch": 4, "micro_batch": 2, "precision": "float32", "compile": "no"}
CORPUS = {"kind": "corpus", "filters": [], "dedup": "none", "max_overlap": None, "validation": 0.25, "test": 0}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    """A base of English that went on with Chinese, by its own tokenizer and by one with more words."""
    root = tmp_path_factory.mktemp("going-on")
    texts = write_foxes(root, chinese=60)
    on = {**RUN, "tokens": "$zh", "base": "$base", "steps": 12}
    stages = {
        **{f"{name}_text": {**CORPUS, "read": [str(root / f"{name}.jsonl")]} for name in texts},
        "words": {"kind": "tokenizer", "corpus": "$en_text", "vocab_size": 320},
        "more": {
            "kind": "tokenizer",
            "corpus": "$zh_text",
            "algorithm": {"kind": "extend", "base": "$words", "words": 4},
        },
        "other": {"kind": "tokenizer", "corpus": "$zh_text", "vocab_size": 300},
        "fewer": {"kind": "tokenizer", "corpus": "$en_text", "vocab_size": 300},
        **{name: {"kind": "tokens", "corpus": f"${name}_text", "tokenizer": "$words"} for name in texts},
        "zh_more": {"kind": "tokens", "corpus": "$zh_text", "tokenizer": "$more"},
        "zh_other": {"kind": "tokens", "corpus": "$zh_text", "tokenizer": "$other"},
        "en_fewer": {"kind": "tokens", "corpus": "$en_text", "tokenizer": "$fewer"},
        "base": {**RUN, "tokens": "$en", "model": SHAPE, "steps": 20},
        "on": {**on, "watch": "$en"},
        "replayed": {**on, "tokens": {"zh": "$zh", "en": "$en"}, "watch": "$en"},
        "longer": {**on, "tokens": "$zh_more", "objective": {"kind": "infill", "rate": 1.0}},
    }
    return Recipe.build({"work": str(root / "out"), "stages": stages}).run(log=Log(quiet=True))


def test_it_begins_as_what_it_was_and_learns_the_new_text(made: dict[str, Artifact]) -> None:
    base, on = made["base"].card.metrics, made["on"].card.metrics
    assert on["before"]["en"]["loss"] == pytest.approx(base["validation_loss"], abs=1e-6)
    assert on["before"]["en"]["bits_per_byte"] == pytest.approx(base["validation_bits_per_byte"], abs=1e-6)
    assert on["after"]["domain"]["loss"] == pytest.approx(on["validation_loss"], abs=1e-6)
    assert on["after"]["domain"]["loss"] < on["before"]["domain"]["loss"] - 0.05
    assert on["learning_rate"] == 2e-4


def test_the_rows_of_a_replayed_store_are_read_and_what_is_forgotten_is_told(made: dict[str, Artifact]) -> None:
    found = made["replayed"].card.metrics
    assert set(found["validation_loss_by_source"]) == {"zh", "en"}
    assert found["after"]["en"].keys() == {"loss", "bits_per_byte"}


def test_new_words_begin_as_the_mean_of_their_pieces_and_control_tokens_are_saved(made: dict[str, Artifact]) -> None:
    base, longer = made["base"].path, made["longer"].path
    old, new = load_tokenizer(base), load_tokenizer(longer)
    more = load_tokenizer(made["more"].path).get_vocab_size()
    assert new.get_vocab_size() == more + 3 > old.get_vocab_size() + 3
    ids = encode_text(old, "The fox jumps.")
    assert encode_text(new, "The fox jumps.") == ids
    model = load_model(longer, "next")
    assert model.config.vocab_size == new.get_vocab_size()
    with torch.no_grad():
        assert model(torch.tensor([ids])).logits.isfinite().all()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"base": "b", "model": "qwen3-nano"}, "give one of them"),
        ({"watch": "general"}, "name the model as base=MODEL"),
    ],
)
def test_what_contradicts_itself_is_refused_before_anything_runs(settings: dict[str, Any], told: str) -> None:
    _, mistakes = check(PretrainSettings, {"tokens": "t", **settings})
    assert told in str(mistakes)


@pytest.mark.parametrize(
    ("store", "settings", "error", "told"),
    [
        ("zh_other", {}, NotSupported, "another tokenizer"),
        ("en_fewer", {}, NotSupported, "another tokenizer"),
        ("zh", {"length": 1024}, WrongValue, "longer than the 512"),
        ("zh", {"objective": "infill", "new_words": False}, NotSupported, r"needs <\|fim_prefix\|>"),
    ],
)
def test_what_the_base_cannot_learn_on_is_refused(
    made: dict[str, Artifact], tmp_path: Path, store: str, settings: dict[str, Any], error: type[Exception], told: str
) -> None:
    paths = {"tokens": str(made[store].path), "base": str(made["base"].path)}
    recipe = Recipe.build({"work": str(tmp_path), "stages": {"on": {**RUN, **paths, "steps": 2, **settings}}})
    with pytest.raises(error, match=told):
        recipe.run(log=Log(quiet=True))


def test_an_adapter_is_no_model_to_begin_with(made: dict[str, Artifact], tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    shutil.copytree(made["base"].path, adapter)
    (adapter / "artifact.json").unlink()
    (adapter / "config.json").rename(adapter / "adapter_config.json")
    stages = {"on": {**RUN, "tokens": str(made["zh"].path), "base": str(adapter), "steps": 2}}
    with pytest.raises(NotSupported, match=r"is an adapter(?s:.*)begin with its base"):
        Recipe.build({"work": str(tmp_path / "out"), "stages": stages}).run(log=Log(quiet=True))


def test_words_of_a_tokenizer_that_stopped_earlier_are_among_those_of_the_base(made: dict[str, Artifact]) -> None:
    """So that its refusal above is one by more than the ids of its words."""
    fewer, base = (load_tokenizer(made[name].path).get_vocab().items() for name in ("fewer", "base"))
    assert fewer < base


def test_raw_text_is_tokenised_by_the_models_own_tokenizer(made: dict[str, Artifact], tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Some text.", encoding="utf-8")
    base = str(made["base"].path)
    for arguments in ([str(tmp_path / "a.txt"), base], [str(tmp_path / "a.txt"), f"base={base}"]):
        recipe, _ = stage_recipe("pretrain", arguments, str(tmp_path / "out"))
        stages = recipe.stages
        assert set(stages) == {"corpus", "tokens", "pretrain"}
        assert stages["tokens"].tokenizer == base
