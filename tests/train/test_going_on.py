"""A model that learns on: it begins as what it was, what it forgets is measured, other tokenizers are refused."""

from __future__ import annotations

import json
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

SHAPE = {"kind": "qwen3", "layers": 1, "width": 32, "heads": 2, "kv_heads": 1, "head_width": 16, "hidden": 48}
RUN = {"kind": "pretrain", "length": 32, "batch": 4, "micro_batch": 2, "precision": "float32", "compile": "no"}
CORPUS = {"kind": "corpus", "filters": [], "dedup": "none", "max_overlap": None, "validation": 0.25, "test": 0}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    """A base of English that went on with Chinese, by its own tokenizer and by one with more words."""
    root = tmp_path_factory.mktemp("going-on")
    texts = {
        "en": [f"The fox {k} jumps over {k * k} lazy dogs. It sleeps. Then it runs {k} miles!" for k in range(60)],
        "zh": [f"第{k}只狐狸跳过了懒狗。它睡了{k * k}天。🙂 然后跑了！" for k in range(60)],
    }
    for name, lines in texts.items():
        rows = (json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in lines)
        (root / f"{name}.jsonl").write_text("".join(rows), encoding="utf-8")
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
        **{name: {"kind": "tokens", "corpus": f"${name}_text", "tokenizer": "$words"} for name in texts},
        "zh_more": {"kind": "tokens", "corpus": "$zh_text", "tokenizer": "$more"},
        "zh_other": {"kind": "tokens", "corpus": "$zh_text", "tokenizer": "$other"},
        "base": {**RUN, "tokens": "$en", "model": SHAPE, "steps": 20},
        "on": {**on, "watch": "$en"},
        "replayed": {**on, "tokens": {"zh": "$zh", "en": "$en"}, "watch": "$en"},
        "longer": {**on, "tokens": "$zh_more", "objective": {"kind": "infill", "rate": 1.0}},
    }
    return Recipe.build({"work": str(root / "out"), "stages": stages}).run(log=Log(quiet=True))


def test_it_begins_as_what_it_was_and_learns_the_new_text(made: dict[str, Artifact]) -> None:
    base, on = made["base"].card.metrics, made["on"].card.metrics
    assert on["before"]["general"]["loss"] == pytest.approx(base["validation_loss"], abs=1e-6)
    assert on["before"]["general"]["bits_per_byte"] == pytest.approx(base["validation_bits_per_byte"], abs=1e-6)
    assert on["after"]["domain"]["loss"] == pytest.approx(on["validation_loss"], abs=1e-6)
    assert on["after"]["domain"]["loss"] < on["before"]["domain"]["loss"] - 0.05
    assert on["learning_rate"] == 2e-4


def test_the_rows_of_a_replayed_store_are_read_and_what_is_forgotten_is_told(made: dict[str, Artifact]) -> None:
    found = made["replayed"].card.metrics
    assert set(found["validation_loss_by_source"]) == {"zh", "en"}
    assert found["after"]["general"].keys() == {"loss", "bits_per_byte"}


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


def test_tokens_of_another_tokenizer_and_rows_too_long_are_refused(made: dict[str, Artifact], tmp_path: Path) -> None:
    for store, length, error, told in (
        ("zh_other", 32, NotSupported, "another tokenizer"),
        ("zh", 1024, WrongValue, "longer than the 512"),
    ):
        recipe = Recipe.build(
            {
                "work": str(tmp_path / store),
                "stages": {
                    "on": {
                        **RUN,
                        "tokens": str(made[store].path),
                        "base": str(made["base"].path),
                        "length": length,
                        "steps": 2,
                    }
                },
            }
        )
        with pytest.raises(error, match=told):
            recipe.run(log=Log(quiet=True))


def test_raw_text_is_tokenised_by_the_models_own_tokenizer(made: dict[str, Artifact], tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Some text.", encoding="utf-8")
    base = str(made["base"].path)
    for arguments in ([str(tmp_path / "a.txt"), base], [str(tmp_path / "a.txt"), f"base={base}"]):
        recipe, _ = stage_recipe("pretrain", arguments, str(tmp_path / "out"))
        stages = recipe.stages
        assert set(stages) == {"corpus", "tokens", "pretrain"}
        assert stages["tokens"].tokenizer == base
