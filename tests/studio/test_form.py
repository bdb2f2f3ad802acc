"""The form of a recipe is the recipe: what it shows makes the same tree, and mistakes stand where they are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from starlette.testclient import TestClient

from pretune.base.digest import digest
from pretune.base.planning import check_tree
from pretune.base.stage import STAGE
from pretune.base.yaml import read_yaml
from pretune.studio.folder import Folder
from pretune.studio.form import Box, at_fields, boxes, tree_of, written
from pretune.studio.pages.recipes import draft_of, with_stage
from pretune.studio.words import chinese
from tests.studio.conftest import RECIPE

ROOT = Path(__file__).parents[2]
TEMPLATES = ROOT / "pretune" / "studio" / "templates"
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))


def fields(some: list[Box]) -> Iterator[tuple[str, str]]:
    """What a browser sends of these fields."""
    for box in some:
        if box.options or not box.inside:
            yield box.field, box.value
        yield from fields(list(box.inside))


def stage_fields(name: str, given: dict[str, Any]) -> dict[str, str]:
    rest = {key: value for key, value in given.items() if key != "kind"}
    return {f"{name}.kind": given["kind"], **dict(fields(boxes(STAGE.find(given["kind"]), rest, (name,))))}


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_the_form_of_every_shipped_recipe_makes_that_recipe(path: Path) -> None:
    tree, _ = read_yaml(path)
    again = {name: tree_of(stage_fields(name, one), name) for name, one in tree["stages"].items()}
    _, stages, wrong = check_tree({**tree, "stages": again})
    assert wrong == [] and stages == check_tree(tree)[1]


@pytest.mark.parametrize(
    "value",
    ["", " ", " a", "a\nb", "\t", "null", "1e3", "a: b", "a # b", "*x", "'", '"', "\u2028", "\x85x", "你好 🙂", "a\\nb",
     None, True, 0, 1e-9, [], {}, [1, "a", None, ""], {"a": {"b": [None, ""]}}, "0.1", ["a\nb\u2029"]],
)  # fmt: skip
def test_a_field_holds_every_value(value: object) -> None:
    found = tree_of({"a.b": written(value)}, "a")
    assert found == {"b": value} and type(found["b"]) is type(value)


def test_what_is_switched_off_stays_off() -> None:
    """`minutes: null` is not its default."""
    for kind in STAGE.kinds():
        cls = STAGE.find(kind)
        for name in cls.model_fields.keys() - {"kind"}:
            given = {"kind": kind, name: None}
            assert tree_of(stage_fields("a", given), "a") == given, (kind, name)


@pytest.mark.parametrize("kind", STAGE.kinds())
def test_every_stage_has_a_form_that_explains_each_of_its_settings(kind: str) -> None:
    found = boxes(STAGE.find(kind), {})
    assert {box.place[-1] for box in found} == set(STAGE.find(kind).model_fields) - {"kind"}
    assert [box.name for box in found if not box.help] == []


def test_mistakes_stand_at_their_fields_at_any_depth() -> None:
    stages: dict[str, Any] = {
        "base": {"kind": "pretrain", "tokens": "x", "steps": "soon", "optim": {"learning_rate": "fast", "decoy": 1}},
        "tuned": {"kind": "finetune", "model": "$bass", "data": "y", "task": "classify", "method": "lorra"},
    }
    _, _, wrong = check_tree({"stages": stages})
    forms = [box for name, one in stages.items() for box in boxes(STAGE.find(one["kind"]), one, (name,))]
    found = at_fields(wrong, forms)
    assert {"base.steps", "base.optim.learning_rate", "base.optim.decoy", "tuned.method"} <= set(found)
    assert "lora" in found["tuned.method"][0]


def form_of(text: str, path: str = "tiny.yaml") -> dict[str, str]:
    """The form of a recipe's text as a browser sends it, unchanged."""
    tree = parsed(text)
    sent = {k: v for name, one in tree["stages"].items() for k, v in stage_fields(name, one).items()}
    head = {f"HEAD.{name}": str(tree[name]) for name in ("name", "work")}
    return {"path": path, **head, **sent, "SEEN": digest(text)}


def parsed(text: str) -> Any:
    return YAML(typ="safe").load(text)


def test_saving_keeps_comments_and_what_the_form_does_not_show(client: TestClient, folder: Folder) -> None:
    tree, _ = read_yaml(folder.root / "tiny.yaml")
    form = {**form_of(RECIPE), "base.steps": "12", "do": "save"}
    assert client.post("/recipe", data=form).status_code == 200
    text = (folder.root / "tiny.yaml").read_text(encoding="utf-8")
    assert text.startswith("# what it is for\n") and "# read, mend" in text
    assert read_yaml(folder.root / "tiny.yaml")[0] == {
        **tree,
        "stages": {**tree["stages"], "base": {**tree["stages"]["base"], "steps": 12}},
    }


@pytest.mark.parametrize("do", ["save", "plan", "run"])
def test_what_was_saved_elsewhere_meanwhile_is_not_overwritten_but_shown_next_to_the_form(
    client: TestClient, folder: Folder, do: str
) -> None:
    mine, path = {**form_of(RECIPE), "base.steps": "12", "do": do}, folder.root / "tiny.yaml"
    theirs = RECIPE.replace("steps: 9", "steps: 77")
    path.write_text(theirs, encoding="utf-8")
    answer = client.post("/recipe", data=mine)
    assert answer.status_code == 409 and "steps: 77" in answer.text and "steps: 12" in answer.text
    assert path.read_text(encoding="utf-8") == theirs and not (folder.own / "runs").exists()
    again = {**mine, "do": "save", "SEEN": digest(theirs)}  # as the form that was answered has it
    assert f'name="SEEN" value="{again["SEEN"]}"' in answer.text
    assert client.post("/recipe", data=again).status_code == 200 and "steps: 12" in path.read_text(encoding="utf-8")


def test_a_form_that_was_cut_short_is_not_saved(client: TestClient, folder: Folder) -> None:
    form = form_of(RECIPE)
    del form["SEEN"]  # the last field
    page = client.get("/recipe", params={"path": "tiny.yaml"}).text
    assert page.rindex(" name=") == page.index(' name="SEEN"')
    assert client.post("/recipe", data={**form, "do": "save"}).status_code == 409
    assert (folder.root / "tiny.yaml").read_text(encoding="utf-8") == RECIPE


def test_a_redrawn_form_still_knows_what_it_was_made_from(client: TestClient, folder: Folder) -> None:
    """Another kind of model redraws the form; what somebody saved before that is not seen by it."""
    (folder.root / "tiny.yaml").write_text(RECIPE.replace("steps: 9", "steps: 77"), encoding="utf-8")
    for more in ({}, {"do": "add", "ADD": "corpus"}, {"remove": "base"}):
        page = client.post("/recipe", data={**form_of(RECIPE), **more}).text
        assert f'name="SEEN" value="{digest(RECIPE)}"' in page, more


def test_nothing_is_saved_with_a_mistake_which_is_told_while_one_writes(client: TestClient, folder: Folder) -> None:
    form = {"path": "tiny.yaml", "corpus.kind": "corpus", "corpus.read": "[texts.txt]", "corpus.similarity": "very"}
    assert client.post("/recipe", data={**form, "do": "run"}).status_code == 422
    assert (folder.root / "tiny.yaml").read_text(encoding="utf-8") == RECIPE
    told = client.post("/recipe/check", data=form).json()["wrong"]
    assert told["corpus.similarity"] == ["must be a number"]
    assert not (folder.own / "runs").exists()


ODD = """\
work: runs/odd
stages:
  empty:
  corpus: {kind: corpus, read: [texts.txt]}   # read
  listed: [1, 2]   # kept
  a.b: {kind: check}
  Bare: corpus   # bare
"""


def test_a_stage_that_the_form_cannot_hold_is_said_to_be_wrong_and_stays(client: TestClient, folder: Folder) -> None:
    path = folder.root / "odd.yaml"
    path.write_text(ODD, encoding="utf-8")
    page = client.get("/recipe", params={"path": "odd.yaml"}).text
    assert "empty: a stage needs" in page and "stage-empty" not in page and "a.b.kind" not in page
    form = {"path": "odd.yaml", "corpus.kind": "corpus", "corpus.read": "[texts.txt]", "corpus.test": "0.5"}
    form |= {"Bare.kind": "corpus", "HEAD.work": "runs/odd", "SEEN": digest(ODD)}
    told = client.post("/recipe/check", data=form).json()
    assert any(one.startswith("listed: ") for one in told["wrong"][""])
    assert told["yaml"] == ODD.replace("texts.txt]}", "texts.txt], test: 0.5}").replace("}   #", "} #"), (
        "all others stand as they stood"
    )
    for do in ("save", "run"):
        assert client.post("/recipe", data={**form, "do": do}).status_code == 422
    assert client.post("/recipe", data={**form, "do": "add", "ADD": "tokenizer"}).status_code == 200
    assert path.read_text(encoding="utf-8") == ODD


@pytest.mark.parametrize("stages", ["[corpus]", "corpus"])
def test_stages_that_are_no_block_are_not_overwritten(client: TestClient, folder: Folder, stages: str) -> None:
    text = f"work: runs/odd\nstages: {stages}\n"
    (folder.root / "odd.yaml").write_text(text, encoding="utf-8")
    assert client.get("/recipe", params={"path": "odd.yaml"}).status_code == 200
    form = {"path": "odd.yaml", "corpus.kind": "corpus", "corpus.read": "[texts.txt]", "SEEN": digest(text)}
    answer = client.post("/recipe", data={**form, "do": "save"})
    assert answer.status_code == 400 and "no block of stages" in answer.text


def test_a_form_that_would_change_what_is_shared_is_not_saved(client: TestClient, folder: Folder) -> None:
    text = RECIPE.replace("base: {", "base: &b {").replace("sizes:", "  more: *b\nsizes:")
    (folder.root / "tiny.yaml").write_text(text, encoding="utf-8")
    form = {**form_of(text), "base.steps": "12"}
    told = client.post("/recipe/check", data=form).json()
    assert "shared by & and *" in told["wrong"][""][0] and told["yaml"] == text
    assert client.post("/recipe", data={**form, "do": "save"}).status_code == 422
    assert (folder.root / "tiny.yaml").read_text(encoding="utf-8") == text
    both = {**form, "more.steps": "12", "do": "save"}
    assert client.post("/recipe", data=both).status_code == 200
    saved = (folder.root / "tiny.yaml").read_text(encoding="utf-8")
    assert "steps: 12" in saved and "more: *b" in saved


@pytest.mark.parametrize("kind", ["os:path", "os:getcwd", "os:nothing", "pathlib:Path", "a:", ":", "a..b:C"])
def test_a_kind_that_is_no_stage_is_a_mistake(client: TestClient, folder: Folder, kind: str) -> None:
    (folder.root / "odd.yaml").write_text(f"stages:\n  a: {{kind: '{kind}'}}\n", encoding="utf-8")
    answer = client.get("/recipe", params={"path": "odd.yaml"})
    assert answer.status_code == 200 and re.search("is not a Stage|cannot be imported", answer.text)


def test_a_stage_more_takes_what_the_stages_above_it_make(folder: Folder) -> None:
    draft = draft_of(folder, {"path": "tiny.yaml", "corpus.kind": "corpus", "corpus.read": "[texts.txt]"})
    found = with_stage(with_stage(draft, "tokenizer"), "tokenizer").stages
    assert found["tokenizer"] == {"kind": "tokenizer", "corpus": "$corpus"} and "tokenizer2" in found


def test_everything_the_pages_say_is_there_in_chinese() -> None:
    texts = [path.read_text(encoding="utf-8") for path in sorted(TEMPLATES.glob("*.jinja"))]
    said = {text for page in texts for text in re.findall(r'_\("([^"]+)"\)', page)}
    assert said - set(chinese()) == set()
    assert all(re.search(r"[\u4e00-\u9fff]", text) for text in chinese().values())
