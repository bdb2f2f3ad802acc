"""Several tasks over one body: what each of them learns, and the folder that answers all of them."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel

from pretune.base.artifact import Artifact
from pretune.base.errors import NotSupported, PretuneError, SettingsError, WrongValue
from pretune.base.log import Log
from pretune.base.recipe import Recipe
from pretune.infer.answers import Label, Many, Tags
from pretune.infer.load import open_model
from pretune.infer.several import Several, apart
from pretune.model.generate import module_of
from pretune.model.several import body_of
from pretune.objective.labels import Labels
from pretune.objective.several import SeveralObjectives
from pretune.objective.tags import TokenTags
from pretune.testing.folders import write_model
from pretune.testing.worlds import VOCABULARY, case, labelled_rows, tagged_rows


def test_the_loss_and_gradient_are_the_weighted_sum_of_those_of_each_task_alone() -> None:
    both, objective, _ = case("several")
    rows = {"mood": labelled_rows(4), "names": tagged_rows(3)}
    assert isinstance(objective, SeveralObjectives)
    batch = objective.collate([{**row, "of": of} for of, mine in rows.items() for row in mine], VOCABULARY)
    sums, counts = objective.sums(both, batch), objective.counts(batch)
    sum(objective.weights[t] * s / counts[t] for t, s in sums.items()).backward()  # type: ignore[union-attr]
    found = {name: p.grad.clone() for name, p in both.named_parameters()}
    both.zero_grad()
    alone = {"mood": (Labels(kind="labels"), 1.0), "names": (TokenTags(kind="token-tags"), 0.5)}
    for name, (one, weight) in alone.items():
        mine = one.collate(rows[name], VOCABULARY)
        assert counts[name] == one.counts(mine)["loss"]
        (weight * one.sums(both.heads[name], mine)["loss"] / counts[name]).backward()
    for name, parameter in both.named_parameters():
        assert torch.allclose(found[name], parameter.grad, atol=1e-13), name


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rng = tmp_path_factory.mktemp("several"), random.Random(0)
    write_model(folder / "base", folder / "words", "bert-spans")
    moods = [{"text": f"a {w} film {k}", "label": name} for k in range(30) for w, name in [("good", "+"), ("bad", "-")]]
    people = [["Ann", "B-PER"], ["Paris", "B-LOC"], ["sees", "O"], ["and", "O"], ["Bob", "B-PER"]]
    drawn = [[*rng.choices(people, k=5), [str(k), "O"]] for k in range(60)]
    named = [{"tokens": [w for w, _ in one], "tags": [t for _, t in one]} for one in drawn]
    for name, rows in {"moods": moods, "people": named}.items():
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return folder


def recipe(world: Path, work: str, **settings: Any) -> Recipe:
    stages = {
        "moods": {"kind": "dataset", "read": [str(world / "moods.jsonl")]},
        "people": {"kind": "dataset", "read": [str(world / "people.jsonl")]},
        "tuned": {
            **{"kind": "finetune", "model": str(world / "base"), "data": {"mood": "$moods", "people": "$people"}},
            **{
                "task": {"mood": "classify", "people": {"kind": "tag", "crf": True}},
                "epochs": 12,
                "batch": 8,
                "precision": "float32",
            },
            **{"optim": {"kind": "adamw", "learning_rate": 5e-3}, "max_length": 48, **settings},
        },
        "report": {"kind": "evaluate", "model": "$tuned", "data": "$people"},
    }
    return Recipe.build({"work": str(world / work), "stages": stages})


@pytest.fixture(scope="module")
def made(world: Path) -> dict[str, Artifact]:
    return recipe(world, "full").run(log=Log(quiet=True))


def test_both_tasks_are_learnt_and_the_best_weights_are_those_of_the_best_mean(made: dict[str, Artifact]) -> None:
    metrics = made["tuned"].card.metrics
    assert metrics["validation_mood_accuracy"] == metrics["validation_people_f1"] == metrics["validation_mean"] == 1
    assert made["report"].card.metrics["f1"] == 1, "evaluate takes the head that gives tags"


def test_the_folder_answers_all_tasks_with_one_body_and_each_head_answers_alone(made: dict[str, Artifact]) -> None:
    folder, asked = made["tuned"].path, ["a good film", "Ann sees Paris"]
    together = open_model(folder)
    assert isinstance(together, Several)
    found = together.answer(asked)
    parts = [one.parts for one in found if isinstance(one, Many)]
    mood, people = parts[0]["mood"], parts[1]["people"]
    assert isinstance(mood, Label)
    assert isinstance(people, Tags)
    assert mood.name == "+"
    assert [(e.text, e.label) for e in people.entities] == [("Ann", "PER"), ("Paris", "LOC")]
    for name in ("mood", "people"):
        assert open_model(folder / name).answer(asked) == [one[name] for one in parts]
    bodies = [body_of(module_of(part)) for part in together.parts.values()]
    assert bodies[0] is bodies[1]
    assert apart({"m": together}).keys() == {"m/mood", "m/people"}


def test_the_body_is_an_ordinary_folder_of_transformers(made: dict[str, Artifact], world: Path) -> None:
    body = AutoModel.from_pretrained(made["tuned"].path)
    assert not hasattr(body.config, "pretune"), "the temperature of a head stands next to the head"
    opened = open_model(made["tuned"].path / "mood")
    assert all(torch.equal(p, body.state_dict()[n]) for n, p in body_of(module_of(opened)).state_dict().items())
    heads = load_file(made["tuned"].path / "people" / "adapter_model.safetensors")
    assert heads.keys() == {"classifier.weight", "classifier.bias"}


def test_with_heads_alone_the_body_stays_as_it_was(world: Path) -> None:
    both = {"mood": "classify", "people": {"kind": "tag", "crf": True}}
    tuned = recipe(world, "heads", method="head", epochs=1, task=both).run(log=Log(quiet=True))["tuned"]
    before, after = (AutoModel.from_pretrained(folder) for folder in (world / "base", tuned.path))
    same = {n: torch.equal(p, after.state_dict()[n]) for n, p in before.state_dict().items() if "pooler" not in n}
    assert all(same.values()), "(the base has no pooler: it is new)"
    head = tuned.path / "people"
    assert load_file(head / "adapter_model.safetensors").keys() == {"classifier.weight", "classifier.bias"}
    assert open_model(head).facts.more["crf"]["first"] != [0.0] * 5, "the CRF stands in head.json"


def test_what_cannot_be_is_refused_with_the_reason(world: Path, made: dict[str, Artifact]) -> None:
    with pytest.raises(SettingsError, match="method=lora adapts a model with one head"):
        recipe(world, "lora", method="lora")
    with pytest.raises(SettingsError, match="no task has the name 'moods'"):
        recipe(world, "lora", task={"kind": "several", "of": {"mood": "classify"}, "weights": {"moods": 2}})
    with pytest.raises(WrongValue, match="the tasks are mood, names, the data sets mood, people"):
        recipe(world, "names", task={"mood": "classify", "names": "tag"}).run(log=Log(quiet=True))
    with pytest.raises(NotSupported, match="answers several tasks") as refused:
        recipe_of_export = {"served": {"kind": "export", "model": str(made["tuned"].path), "to": ["onnx"]}}
        Recipe.build({"work": str(world / "onnx"), "stages": recipe_of_export}).run(log=Log(quiet=True))
    assert isinstance(refused.value, PretuneError)
    assert refused.value.hint == "name the folder of one: mood, people"
