"""Pretraining reads any packing, and several stores as one mixture; through the real stages."""

from pathlib import Path

import numpy as np
import pytest

from pretune.base.artifact import Artifact
from pretune.base.config import check
from pretune.base.errors import EmptyInput, NotSupported
from pretune.base.log import Log
from pretune.base.oneline import stage_recipe
from pretune.base.recipe import Recipe
from pretune.tokens.rows import IGNORE, Vocabulary, vocabulary_of
from pretune.train.loop.feed import Feed, one_tokenizer, open_feed
from pretune.train.loop.stream import MicroBatches, StoreStream
from pretune.train.run.settings import PretrainSettings
from pretune.train.run.stage import PretrainStage
from tests.train.foxes import write_foxes

TINY = {"model": {"kind": "qwen3", "layers": 1, "width": 32, "heads": 2, "kv_heads": 1, "head_width": 16, "hidden": 48}}
SMALL = {"length": 32, "batch": 4, "steps": 2, "micro_batch": 2, "compile": "no", "precision": "float32"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    """Tokens of English and of Chinese by one tokenizer, and tokens by another one."""
    root = tmp_path_factory.mktemp("feed")
    texts = write_foxes(root, chinese=40)
    corpus = {"kind": "corpus", "filters": [], "dedup": "none", "max_overlap": None, "validation": 0.2, "test": 0}
    stages = {
        "both": {**corpus, "read": [str(root / "*.jsonl")]},
        "words": {"kind": "tokenizer", "corpus": "$both", "vocab_size": 400},
        "other_words": {"kind": "tokenizer", "corpus": "$both", "vocab_size": 320},
        **{f"{name}_text": {**corpus, "read": [str(root / f"{name}.jsonl")]} for name in texts},
        **{name: {"kind": "tokens", "corpus": f"${name}_text", "tokenizer": "$words"} for name in texts},
        "other": {"kind": "tokens", "corpus": "$en_text", "tokenizer": "$other_words"},
    }
    return Recipe.build({"work": str(root / "out"), "stages": stages}).run(log=Log(quiet=True))


def stage(**settings: object) -> PretrainSettings:
    return PretrainSettings.model_validate({"tokens": "t", "length": 32, "batch": 4, **settings})


def feed_of(settings: PretrainSettings, stores: dict[str, Artifact], vocabulary: Vocabulary, seed: int) -> Feed:
    form = settings.objective.form(settings.length, vocabulary)
    return open_feed(stores, form, settings.packing, settings.mixture, seed=seed)


@pytest.mark.parametrize("packing", ["blocks", "best-fit", "document"])
@pytest.mark.parametrize("objective", ["causal", "masked"])
def test_a_batch_of_every_packing_has_targets_and_the_cut_changes_none(
    made: dict[str, Artifact], packing: str, objective: str
) -> None:
    settings = stage(packing=packing, objective=objective)
    vocabulary = vocabulary_of(made["words"].path)
    feed = feed_of(settings, {"tokens": made["en"]}, vocabulary, 7)
    stream = StoreStream(feed.rows, 4)
    whole = MicroBatches(stream, settings.objective, vocabulary, 7, 4).batches(3)[0]["labels"]
    ranks = [MicroBatches(stream, settings.objective, vocabulary, 7, 1, rank, 2).batches(3) for rank in range(2)]
    cut = [ranks[slot % 2][slot // 2]["labels"][0].tolist() for slot in range(4)]
    assert whole.tolist() == cut
    assert all((np.array(labels) != IGNORE).any() for labels in cut)


def test_pairs_come_with_parts_and_whether_b_follows(made: dict[str, Artifact]) -> None:
    settings, vocabulary = stage(packing="pairs", objective="masked"), vocabulary_of(made["words"].path)
    feed = feed_of(settings, {"tokens": made["en"]}, vocabulary, 7)
    row = StoreStream(feed.rows, 4).rows(0)[0]
    assert row.keys() == {"ids", "segments", "parts", "is_next"}
    assert {bool(r["is_next"]) for r in feed.validation} == {True, False}


@pytest.mark.parametrize("packing", ["best-fit", "document"])
def test_pretrain_learns_from_a_mixture_of_stores_by_their_names(
    made: dict[str, Artifact], tmp_path: Path, packing: str
) -> None:
    tree = {
        "kind": "pretrain",
        "tokens": {name: str(made[name].path) for name in ("en", "zh")},
        "mixture": {"weights": {"en": 1, "zh": 3}},
        "packing": packing,
        **TINY,
        **SMALL,
    }
    model = Recipe.build({"work": str(tmp_path), "stages": {"base": tree}}).run(log=Log(quiet=True))["base"]
    assert sorted(model.card.inputs) == ["tokens.en", "tokens.zh"]
    assert model.card.metrics["steps"] == 2 and model.card.metrics["validation_bits_per_byte"] > 0


def test_the_command_line_names_stores_like_a_recipe(made: dict[str, Artifact]) -> None:
    words = [f"tokens.en={made['en'].path}", f"tokens.zh={made['zh'].path}", "mixture.weights.en=1"]
    recipe, text = stage_recipe("pretrain", [*words, "mixture.weights.zh=3", "packing=best-fit"], "x")
    found = recipe.stages["pretrain"]
    assert isinstance(found, PretrainStage) and text is None
    assert found.tokens == {"en": str(made["en"].path), "zh": str(made["zh"].path)}
    assert found.packing.kind == "best-fit" and found.mixture.weights == {"en": 1, "zh": 3}


@pytest.mark.parametrize(
    ("tokens", "weights", "told"),
    [
        ({"en": "a", "zh": "b"}, {"en": 1, "hz": 1}, "choose one of: en, zh"),
        ({"en": "a", "zh": "b"}, {"en": 1}, "says nothing of 'zh'"),
        ("a", {"en": 1}, "name the stores"),
    ],
)
def test_weights_must_name_the_stores(tokens: object, weights: dict[str, float], told: str) -> None:
    tree = {"kind": "pretrain", "tokens": tokens, "mixture": {"weights": weights}}
    _, mistakes = check(PretrainStage, tree)
    assert len(mistakes) == 1 and told in mistakes[0].problem


def test_two_stores_by_two_tokenizers_are_refused_by_name(made: dict[str, Artifact]) -> None:
    assert one_tokenizer({"en": made["en"], "zh": made["zh"]}) == made["words"].path
    with pytest.raises(NotSupported, match="of en and of other were made by two tokenizers"):
        one_tokenizer({"en": made["en"], "other": made["other"]})


def test_a_length_that_no_document_reaches_still_trains_and_an_empty_store_is_told(
    made: dict[str, Artifact], tmp_path: Path
) -> None:
    vocabulary = vocabulary_of(made["words"].path)
    feed = feed_of(stage(length=4096), {"tokens": made["zh"]}, vocabulary, 0)
    assert len(feed.rows) == 1
    from pretune.tokens.store.store import write_manifest

    write_manifest(tmp_path, vocab_size=vocabulary.size, end_id=0, splits={})
    empty = Artifact(tmp_path, made["en"].card)
    with pytest.raises(EmptyInput, match="holds no tokens"):
        feed_of(stage(), {"tokens": empty}, vocabulary, 0)
