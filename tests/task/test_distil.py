"""Learning a task, or text, from a teacher, as whole runs: what is kept of the teacher, and who is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

import pretune
from pretune.api import Loaded
from pretune.base.errors import NotSupported, Stopped
from pretune.base.log import Log
from pretune.base.recipe import Recipe
from pretune.base.stage import Context
from pretune.infer.answers import Text, shown_given
from pretune.task.settings import FinetuneSettings
from pretune.testing.bench import has_saved
from pretune.testing.folders import write_model
from pretune.testing.roundtrips import WORLDS, write_base
from pretune.text.dataset.example import read_split
from pretune.train.run.settings import PretrainSettings

SIZES = {"width": 32, "heads": 2, "hidden": 48}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("distil")


def tuned(world: Path, name: str, task: str, base: str, **more: Any) -> Loaded:
    data = world / f"{task}.jsonl"
    data.write_text("\n".join(json.dumps(row) for row in WORLDS[task].rows), encoding="utf-8")
    usual: dict[str, Any] = {"task": task, "steps": 4, "batch": 8, "max_length": 48, "precision": "float32"}
    usual |= {"optim": {"kind": "adamw", "learning_rate": 3e-3}, "quiet": True, **WORLDS[task].settings}
    return pretune.fine_tune(write_base(world, base), data, out=world / name, **usual | more)


def taught(teacher: Loaded, **settings: Any) -> dict[str, Any]:
    return {"kind": "distil", "teacher": str(teacher.path), **settings}


def weights(found: Loaded) -> dict[str, torch.Tensor]:
    return load_file(found.path / "model.safetensors")


def apart(one: Loaded, other: Loaded) -> float:
    a, b = weights(one), weights(other)
    assert a.keys() == b.keys()
    return max(float((a[n] - b[n]).abs().max()) for n in a)


def test_a_teacher_whose_answers_are_kept_teaches_as_one_that_is_asked_each_time(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = tuned(world, "teacher", "classify", "bert-labels")
    kept = tuned(world, "kept", "classify", "bert-labels", objective=taught(teacher))
    monkeypatch.setattr("pretune.train.run.teaching.MOST_KEPT", 0)
    asked = tuned(world, "asked", "classify", "bert-labels", objective=taught(teacher))
    assert apart(kept, asked) < 1e-5


def test_a_stopped_run_has_the_same_bits_and_does_not_ask_the_teacher_again(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = world / "teacher"
    settings: dict[str, Any] = {"objective": {"kind": "distil", "teacher": str(teacher)}, "save_every": 2, "steps": 6}
    whole = tuned(world, "whole", "classify", "bert-labels", **settings)
    with monkeypatch.context() as at_once:
        at_once.setattr(Context, "stop", property(lambda self: has_saved(self.scratch)))
        with pytest.raises(Stopped):
            tuned(world, "stopped", "classify", "bert-labels", **settings)
    monkeypatch.setattr("pretune.train.run.teaching.told_of", None)
    again = tuned(world, "stopped", "classify", "bert-labels", **settings)
    assert (again.path / "model.safetensors").read_bytes() == (whole.path / "model.safetensors").read_bytes()


def test_a_narrow_shallow_student_learns_states_and_is_a_plain_folder(world: Path) -> None:
    """What made its states as wide as the teacher's is not saved, and the folder gives what the run measured."""
    told = {"kind": "distil", "teacher": str(world / "teacher"), "hidden": 1.0, "attention": 1.0}
    fresh = {"kind": "bert", "layers": 1, "width": 16, "heads": 4, "hidden": 24}
    small = tuned(world, "narrow", "classify", "bert-labels", objective=told, fresh=fresh)
    assert not [name for name in weights(small) if "distil" in name]
    lines = [json.loads(line) for line in (small.path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    first = next(line for line in lines if "hidden" in line)
    assert {"hard", "distil", "hidden", "attention", "loss"} <= first.keys()
    wanted = 0.5 * first["hard"] + 0.5 * first["distil"] + first["hidden"] + first["attention"]
    assert first["loss"] == pytest.approx(wanted, rel=1e-6)
    assert pretune.load(small.path).predict([WORLDS["classify"].asked[0]])


def test_some_blocks_of_a_model_begin_as_they_are(world: Path) -> None:
    made = tuned(world, "taken", "classify", "bert-labels", take_layers=1, steps=1, method="head")
    deep = load_file(write_base(world, "bert-labels") / "model.safetensors")
    for name, tensor in weights(made).items():
        if ".encoder." in name:
            assert torch.equal(tensor, deep[name]), name


def other_words(world: Path) -> str:
    """A model with the same vocabulary but for two tokens that have changed places."""
    folder = write_model(world / "others", world / "others-words", "bert-labels")
    tree = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    ids = tree["model"]["vocab"]
    ids["a"], ids["b"] = ids["b"], ids["a"]
    (folder / "tokenizer.json").write_text(json.dumps(tree), encoding="utf-8")
    return str(folder)


REFUSED = ("another vocabulary", "the outputs of the teacher", "no weights of a head", "nothing says how")


@pytest.mark.parametrize("why", REFUSED)
def test_a_teacher_who_means_something_else_is_refused(world: Path, why: str) -> None:
    base = {"no weights of a head": "qwen3"}.get(why, "bert-labels")
    teacher = other_words(world) if why == "another vocabulary" else str(write_base(world, base))
    told, task = {"kind": "distil", "teacher": teacher}, "embed" if why == "nothing says how" else "classify"
    with pytest.raises(NotSupported, match=why) as refused:
        tuned(world, f"refused {why}", task, "bert-labels", objective=told)
    assert teacher in refused.value.problem


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"folds": 2}, "plain ones"),
        ({"task": {"kind": "classify", "r_drop": 1.0}}, "not one loss of one reading"),
        ({"task": "prefer"}, "not one loss of one reading"),
        ({"take_layers": 1, "method": "lora"}, "shallower"),
        ({"method": "prompt", "objective": {"kind": "distil", "teacher": "t", "hidden": 1.0}}, "virtual tokens"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings: dict[str, Any], why: str) -> None:
    given = {"model": "m", "data": "d", "task": "classify", "objective": {"kind": "distil", "teacher": "t"}, **settings}
    with pytest.raises(ValidationError, match=why):
        FinetuneSettings.model_validate(given)


def test_text_is_learnt_from_a_teacher_and_bits_per_byte_are_those_of_the_own_loss(world: Path) -> None:
    """The teacher is the whole model, of which two blocks of three were taken."""
    texts = [json.dumps({"text": row["text"]}) for row in WORLDS["classify"].rows * 4]
    (world / "text.jsonl").write_text("\n".join(texts), encoding="utf-8")
    corpus = {"kind": "corpus", "read": [str(world / "text.jsonl")], "filters": [], "dedup": "none"}
    run = {"kind": "pretrain", "tokens": "$tokens", "length": 32, "batch": 4, "steps": 3, "precision": "float32"}
    told = {"kind": "distil", "teacher": "$deep"}
    stages = {
        "corpus": {**corpus, "max_overlap": None, "validation": 0.25, "test": 0},
        "words": {"kind": "tokenizer", "corpus": "$corpus", "vocab_size": 300},
        "tokens": {"kind": "tokens", "corpus": "$corpus", "tokenizer": "$words"},
        "deep": {**run, "model": {"kind": "qwen3", "layers": 3, **SIZES, "kv_heads": 1, "head_width": 16}},
        "taken": {**run, "base": "$deep", "take_layers": [0, 2], "objective": {**told, "top_k": 5, "hidden": 1.0}},
    }
    made = Recipe.build({"work": str(world / "out"), "stages": stages}).run(log=Log(quiet=True))
    found = made["taken"].card.metrics
    parts = found["validation_hard"] + found["validation_distil"]
    assert found["validation_loss"] == pytest.approx(parts / 2 + found["validation_hidden"], rel=1e-6)
    rate = found["validation_bits_per_byte"] / found["validation_hard"]
    deep = made["deep"].card.metrics
    assert rate == pytest.approx(deep["validation_bits_per_byte"] / deep["validation_loss"], rel=1e-6)


def test_a_teacher_teaches_no_part_of_several_objectives_and_no_two() -> None:
    told = {"kind": "distil", "teacher": "t"}
    for objective in ({"a": "causal", "b": told}, {**told, "of": {"a": "causal", "b": "masked-next"}}):
        with pytest.raises(ValidationError, match=r"one of several|not one loss"):
            PretrainSettings.model_validate({"tokens": "t", "objective": objective})


def test_what_a_teacher_wrote_is_read_as_examples_for_a_student(tmp_path: Path) -> None:
    """Lines of `predict --output` become dialogues with its words as replies."""
    said = {f"say {word} {k}": f"{word}, {k}!" for k, word in enumerate(("cat", "hat", "你好", "🙂"))}
    lines = [json.dumps({**shown_given(asked), **Text(text).to_json()}) for asked, text in said.items()]
    (tmp_path / "said.jsonl").write_text("\n".join(lines), encoding="utf-8")
    stage = {"kind": "dataset", "read": [str(tmp_path / "said.jsonl")], "validation": 0, "test": 0}
    stages = {"data": {**stage, "columns": {"prompt": "text", "reply": "answer"}}}
    data = Recipe.build({"work": str(tmp_path / "out"), "stages": stages}).run(log=Log(quiet=True))["data"]
    found = [[(m.role, m.content) for m in one.messages] for one in read_split(data.path, "train")]
    assert sorted(found) == sorted([("user", asked), ("assistant", text)] for asked, text in said.items())
