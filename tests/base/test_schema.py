"""The JSON schema of recipes takes what the recipe takes, and marks what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from pretune.base.checking import check_stage
from pretune.base.config import Config, facts
from pretune.base.recipe import Recipe
from pretune.base.schema import recipe_schema
from pretune.base.stage import STAGE
from pretune.base.yaml import read_yaml
from tests.docs.test_docs import PAGES, fences, tree_of

RECIPES = sorted((Path(__file__).parents[2] / "pretune" / "recipes").glob("*.yaml"))


@pytest.fixture(scope="module")
def schema() -> Any:
    found = recipe_schema()
    Draft7Validator.check_schema(found)
    return found


def problems(schema: Any, tree: Any) -> list[str]:
    """Each mistake with its place."""
    found = []
    for error in Draft7Validator(schema).iter_errors(tree):
        found += [f"{'.'.join(map(str, one.absolute_path))}: {one.message}" for one in ([*error.context] or [error])]
    return found


def recipe(**stage: Any) -> Any:
    return {"stages": {"one": stage}}


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_shipped_recipe_fits(schema: Any, path: Path) -> None:
    tree, _ = read_yaml(path)
    assert problems(schema, tree) == []


@pytest.mark.parametrize("page", [page for page in PAGES if "guide" in page])
def test_every_recipe_of_the_guide_fits(schema: Any, page: str) -> None:
    trees = [tree_of(text) for text in fences(page, "yaml")]
    for tree in trees:
        if "stages" in tree:
            assert problems(schema, tree) == []


GOOD = [
    {"kind": "corpus", "read": "docs", "clean": "nfc,mask-pii"},
    {"kind": "corpus", "read": {"a": "docs", "b": ["x", "y"]}, "filters": [{"kind": "debris"}, "gopher"]},
    {"kind": "dataset", "read": ["a.csv#500"], "text": "review", "label": "stars"},
    {"kind": "finetune", "model": "$base", "data": "$data", "task": "chat", "method": {"kind": "lora", "rank": 4}},
    {
        "kind": "finetune",
        "model": "m",
        "data": {"a": "$x", "b": "$y"},
        "task": {"a": "classify", "b": "tag"},
        "optim": {"learning_rate": 5e-4},
    },
    {"kind": "pretrain", "tokens": "$t", "minutes": 3, "model": {"kind": "qwen3", "layers": 1}, "optim": "adamw"},
    {"kind": "pretrain", "tokens": {"en": "$a", "zh": "$b"}, "objective": {"a": "causal", "b": "infill"}},
    {"kind": "compress", "model": "$m", "method": [{"kind": "prune"}, "int4"]},
    {"kind": "export", "model": "$m", "to": ["onnx", {"kind": "gguf", "type": "q8_0"}]},
    {"kind": "my_package.my_module:MyStage", "anything": 1},
]


@pytest.mark.parametrize("stage", GOOD, ids=lambda stage: str(stage)[:60])
def test_what_a_recipe_may_say_fits(schema: Any, stage: Any) -> None:
    assert problems(schema, recipe(**stage)) == []
    if ":" not in stage["kind"]:
        assert check_stage("one", stage, prefix=())[1] == []


BAD = [
    ({"kind": "corpus", "raed": ["docs"]}, "stages.one: Additional properties are not allowed ('raed' was unexpected)"),
    ({"kind": "corpsu", "read": "docs"}, "'corpsu' is not one of"),
    ({"kind": "corpus"}, "'read' is a required property"),
    ({"kind": "corpus", "read": "x", "similarity": 2}, "2 is greater than the maximum of 1"),
    ({"kind": "corpus", "read": "x", "dedup": "fuzzy"}, "'fuzzy' is not one of"),
    (
        {"kind": "finetune", "model": "m", "data": "d", "task": "chat", "method": {"kind": "lora", "rnk": 4}},
        "'rnk' was unexpected",
    ),
    (
        {"kind": "finetune", "model": "m", "data": "d", "task": "chat", "method": {"kind": "lora", "rank": "four"}},
        "'four'",
    ),
    ({"kind": "compress", "model": "m", "method": ["int5"]}, "'int5'"),
    ({"kind": "pretrain", "tokens": "t", "optim": {"learning_rat": 1}}, "'learning_rat' was unexpected"),
    ({"kind": "dataset", "read": "x", "columns": {"txt": "a"}}, "'txt' was unexpected"),
    ({"kind": "recommend", "events": "x", "colunms": {}}, "'colunms' was unexpected"),
]


@pytest.mark.parametrize(("stage", "problem"), BAD, ids=lambda value: str(value)[:60])
def test_what_a_recipe_refuses_is_marked_at_its_place(schema: Any, stage: Any, problem: str) -> None:
    assert any(problem in one for one in problems(schema, recipe(**stage))), problems(schema, recipe(**stage))
    assert check_stage("one", stage, prefix=())[1]


def test_a_misspelt_head_a_strange_name_of_a_stage_and_a_recipe_without_stages_are_marked(schema: Any) -> None:
    assert sorted(problems(schema, {"stags": {}})) == [
        ": 'stages' is a required property",
        ": Additional properties are not allowed ('stags' was unexpected)",
    ]
    assert problems(schema, {"stages": {"One": "corpus"}})


def test_every_setting_of_every_kind_is_there_with_its_help(schema: Any) -> None:
    for kind in STAGE.kinds():
        cls: type[Config] = STAGE.find(kind)
        there = schema["$defs"][f"stage.{kind}"]["properties"]
        assert there.keys() >= set(cls.model_fields)
        for name in cls.model_fields:
            if name != "kind":
                assert there[name]["description"] == " ".join((cls.model_fields[name].description or "").split())
                if found := facts(cls, name).choice:
                    assert there[name]["x-kinds"].keys() == set(found.kinds())
                    assert all(
                        place.removeprefix("#/$defs/") in schema["$defs"] for place in there[name]["x-kinds"].values()
                    )
    assert schema["$defs"]["stage.finetune"]["properties"]["model"]["x-input"].startswith("model")
    assert Recipe.read(RECIPES[0]).stages
