"""Folds and self-training: what is learnt from, what is kept, and what goes on after a kill."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import pretune
from pretune.api import Loaded
from pretune.base.errors import PretuneError
from pretune.base.log import Log
from pretune.base.recipe import Recipe
from pretune.infer.answers import Label
from pretune.task.labelled_data import LabelledData
from pretune.task.rehearsal import Rehearsal, cross_validated, fold_numbers, own_origin, self_trained, sure_of
from pretune.task.task import TASK
from pretune.testing.folders import write_model
from pretune.text.dataset.example import Labelled

WORDS = {"colour": ("red", "green"), "animal": ("cat", "hat")}
ROWS = [
    {"text": f"the {word} {k}", "label": label} for label, words in WORDS.items() for word in words for k in "12345"
]


def test_copies_and_augmentations_are_in_the_fold_of_their_own_example() -> None:
    assert own_origin("a#b.csv#7/eda 1/copy 2") == "a#b.csv#7" == own_origin("a#b.csv#7")
    origins = [f"d.csv#{k}{more}" for more in ("", "/copy 2", "/eda 1") for k in range(23)]
    examples = [Labelled(o, "rare" if int(o[6:].partition("/")[0]) < 6 else "often", origin=o) for o in origins]
    of = fold_numbers(examples, 5, seed=3)
    assert of == of[:23] * 3, "no copy of a held-out example is learnt from"
    assert sorted(Counter(of[:23]).values()) == [4, 4, 5, 5, 5]
    assert min(Counter(of[:6]).values()) >= 1 and len(set(of[:6])) == 5, "each fold has the rare label"


def test_the_model_of_a_fold_learns_from_no_copy_of_what_it_is_asked_about(tmp_path: Path) -> None:
    examples = [Labelled(f"{k}{more}", "ab"[k % 2], origin=f"d#{k}{more}") for more in ("", "/eda 1") for k in range(8)]
    data = LabelledData(TASK("classify"), ["a", "b"], None, examples, [], [], [])
    learnt: list[set[str]] = []
    held: list[set[str]] = []

    def found(name: str, part: LabelledData, ask: Any) -> Any:
        learnt.append({own_origin(e.origin) for e in part.examples})
        assert part.rows == [e.text for e in part.examples], "the rows are those of the examples"
        held.append({e.origin for e in ask.args[1]})
        assert len(ask.args[1]) == len(held[-1])
        return {"scores": {"accuracy": 1.0}, "lines": []}

    context = SimpleNamespace(seed=0, log=Log(quiet=True), notes=set())
    rehearsal: Any = SimpleNamespace(context=context, found=found, rows=lambda some: [e.text for e in some])
    cross_validated(rehearsal, data, 3, tmp_path)
    every = {f"d#{k}" for k in range(8)}
    assert [one | other for one, other in zip(learnt, held, strict=True)] == [every] * 3
    assert not any(one & other for one, other in zip(learnt, held, strict=True))
    assert sorted(len(one) for one in held) == [2, 3, 3] and set().union(*held) == every, "each once, and no copy"


def test_more_folds_than_examples_are_refused_before_any_is_trained(tmp_path: Path) -> None:
    examples = [Labelled("a", "ab"[k % 2], origin=f"d#{k // 2}") for k in range(8)]
    data = LabelledData(TASK("classify"), ["a", "b"], None, examples, [], [], [])
    rehearsal: Any = SimpleNamespace(context=SimpleNamespace(seed=0))
    with pytest.raises(PretuneError, match="folds=5 are more than the 4 training examples"):
        cross_validated(rehearsal, data, 5, tmp_path)


class Sure:
    """Answers as it was told."""

    def __init__(self, said: list[tuple[str, float]]):
        self.said = said

    def answer(self, inputs: Any, **how: Any) -> list[Label]:
        return [Label(name, score, {name: score}) for name, score in self.said]


def test_the_surest_texts_of_each_label_are_taken_in_and_no_more() -> None:
    said = [("a", 0.99), ("b", 0.95), ("a", 0.97), ("a", 0.98), ("b", 0.5)]
    texts = [(f"c#{k}", f"text {k}") for k in range(5)]
    taken = sure_of(Sure(said), texts, least=0.9, most=2)  # type: ignore[arg-type]
    assert [(one["origin"], one["label"]) for one in taken] == [("c#0", "a"), ("c#3", "a"), ("c#1", "b")]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rehearsal")
    write_model(folder / "model", folder / "words", "bert-labels")
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, ROWS)), encoding="utf-8")
    lines = [json.dumps({"text": f"{word} is the {k}"}) for words in WORDS.values() for word in words for k in "789"]
    (folder / "more.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return folder


def tuned(world: Path, name: str, **settings: Any) -> Loaded:
    usual = {"optim": {"kind": "adamw", "learning_rate": 3e-3}, "precision": "float32", "steps": 16, "max_length": 16}
    data = world / "rows.jsonl"
    return pretune.fine_tune(world / "model", data, out=world / name, task="classify", quiet=True, **usual | settings)


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_every_training_example_is_answered_once_out_of_its_fold(world: Path) -> None:
    found = tuned(world, "folded", folds=2)
    lines = lines_of(found.path / "out_of_fold.jsonl")
    card = json.loads((found.path / "artifact.json").read_text(encoding="utf-8"))
    assert len({line["origin"] for line in lines}) == len(lines) == card["metrics"]["examples"]
    told = card["metrics"]["folds"]["accuracy"]
    each = [np.mean([line["wanted"] == line["label"] for line in lines if line["fold"] == k]) for k in (0, 1)]
    assert told["each"] == pytest.approx(each) and told["mean"] == pytest.approx(np.mean(each))


def test_texts_without_labels_are_taken_in_and_told(world: Path) -> None:
    how = {"rounds": 1, "confidence": 0.5, "per_label": 3}
    corpus = {"kind": "corpus", "read": {"text": [str(world / "more.jsonl")]}, "filters": [], "validation": 0}
    tree = {"work": str(world / "made"), "stages": {"corpus": corpus}}
    texts = Recipe.build(tree).run(log=Log(quiet=True))["corpus"].path
    found = tuned(world, "grown", unlabelled=str(texts), self_training=how)
    metrics = json.loads((found.path / "artifact.json").read_text(encoding="utf-8"))["metrics"]
    taken = lines_of(found.path / "self_training.jsonl")
    assert taken and all(one["score"] >= 0.5 and " is the " in one["text"] for one in taken)
    (told,) = metrics["self_training"]
    assert told["taken"] == dict(sorted(Counter(one["label"] for one in taken).items()))
    assert max(told["taken"].values()) <= 3
    assert metrics["examples"] == len(taken) + 16, "a fifth of 20 is held out"


def test_what_cannot_be_rehearsed_is_refused_before_a_model_is_loaded(world: Path) -> None:
    for settings, why in (
        ({"folds": 1}, "nothing to learn from"),
        ({"unlabelled": "rows.jsonl", "task": "tag"}, "one label"),
    ):
        with pytest.raises(PretuneError, match=why):
            pretune.fine_tune(
                world / "model", world / "rows.jsonl", out=world / "no", **{"task": "classify", **settings}
            )


def test_a_round_that_is_over_is_not_trained_again(tmp_path: Path) -> None:
    def never(*given: Any) -> Any:
        raise AssertionError("it is trained again")

    (tmp_path / "round-1").mkdir()
    (tmp_path / "round-1" / "found.json").write_text('[{"label": "好"}]', encoding="utf-8")
    context: Any = SimpleNamespace(scratch=tmp_path)
    rehearsal = Rehearsal(*[None] * 3, context, never, never, never)  # type: ignore[arg-type]
    assert rehearsal.found("round-1", None, never) == [{"label": "好"}]  # type: ignore[arg-type]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Rehearsal, "_trained", lambda *given: [{"label": "坏"}])
        first = rehearsal.found("round-2", None, never)  # type: ignore[arg-type]
    assert rehearsal.found("round-2", None, never) == first == [{"label": "坏"}]  # type: ignore[arg-type]


def test_texts_that_are_examples_are_not_asked_and_each_round_labels_all_others_anew(tmp_path: Path) -> None:
    examples = [Labelled("red", "a", origin="d#0"), Labelled("cat", "b", origin="d#1")]
    data = LabelledData(TASK("classify"), ["a", "b"], None, examples, [], [Labelled("hat", "b", origin="v#0")], [])
    texts = [("c#0", "red"), ("c#1", "green"), ("c#2", "hat"), ("c#3", "dog")]
    taken = [[("c#1", "green", "b"), ("c#3", "dog", "b")], [("c#1", "green", "a")]]
    begun: list[list[tuple[str, str]]] = []

    def found(name: str, part: LabelledData, ask: Any) -> Any:
        begun.append([(e.text, e.label) for e in part.examples])
        assert ask.keywords == {"texts": [texts[1], texts[3]], "least": 0.8, "most": 7}
        return [{"origin": o, "text": t, "label": label, "score": 0.9} for o, t, label in taken[len(begun) - 1]]

    how = SimpleNamespace(rounds=2, confidence=0.8, per_label=7)
    context = SimpleNamespace(log=Log(quiet=True), notes=set())
    rehearsal: Any = SimpleNamespace(
        settings=SimpleNamespace(self_training=how), context=context, found=found, rows=list
    )
    grown, told = self_trained(rehearsal, data, texts, tmp_path)
    own = [("red", "a"), ("cat", "b")]
    assert begun == [own, [*own, ("green", "b"), ("dog", "b")]]
    assert [(e.text, e.label) for e in grown.examples] == [*own, ("green", "a")], "the first round's labels are gone"
    assert grown.rows == grown.examples
    assert [one["taken"] for one in told["self_training"]] == [{"b": 2}, {"a": 1}]
