"""Against forgetting: closed forms of the penalties, exactness, what is told of what was lost."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from pretune.base.artifact import Artifact
from pretune.base.log import Log
from pretune.base.recipe import Recipe
from tests.folders import write_model

RUN = {"kind": "finetune", "task": "classify", "precision": "float32", "batch": 8, "max_length": 32}
KINDS: dict[str, Any] = {
    "plain": None,
    "replay": {"kind": "replay", "data": ["$moods"], "weight": 0.4},
    "ewc": {"kind": "ewc", "data": ["$moods"], "weight": 1e4, "examples": 12},
    "l2": {"kind": "l2", "weight": 1.0},
    "lwf": {"kind": "lwf", "weight": 4.0},
    "average": {"kind": "average", "data": ["$moods"]},
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rng = tmp_path_factory.mktemp("remember"), random.Random(0)
    write_model(folder / "base", folder / "words", "bert-spans")
    moods = [("good", "+"), ("bad", "-")]
    places = [("home", "in"), ("street", "out"), ("forest", "out")]
    for name, words in {"moods": moods, "places": places}.items():
        rows = [{"text": f"a {w} {rng.randrange(99)} {k}", "label": label} for k in range(30) for w, label in words]
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def made(world: Path) -> dict[str, Artifact]:
    rate = {"kind": "adamw", "learning_rate": 3e-3}
    first = {**RUN, "model": str(world / "base"), "data": "$moods", "steps": 60, "optim": rate}
    then = {**RUN, "model": "$first", "data": "$places", "steps": 24, "optim": rate, "watch": ["$moods"]}
    stages = {
        **{name: {"kind": "dataset", "read": [str(world / f"{name}.jsonl")]} for name in ("moods", "places")},
        "first": first,
        **{kind: {**then, "remember": how} for kind, how in KINDS.items()},
    }
    return Recipe.build({"work": str(world / "out"), "stages": stages}).run(log=Log(quiet=True))


def test_every_kind_runs(made: dict[str, Artifact]) -> None:
    for kind in KINDS:
        m = made[kind].card.metrics
        print(kind, m["before"], m["after"], m["forgotten"], m["validation_accuracy"], m.get("average_curve"))
