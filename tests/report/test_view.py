"""What a command ends with: next steps that would not be refused."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from pretune.base.artifact import Card
from pretune.report.view import next_steps


@pytest.mark.parametrize(
    ("kind", "facts", "expected"),
    [
        ("dataset", {"metrics": {"shape": "label"}}, ["pretune finetune MODEL models/mine --out NAME task=classify"]),
        ("dataset", {"metrics": {"shape": "span"}}, ["pretune finetune MODEL models/mine --out NAME task=answer"]),
        ("dataset", {"metrics": {"shape": "dialogue"}}, ["pretune finetune MODEL models/mine --out NAME task=chat"]),
        ("dataset", {"metrics": {"shape": "tags"}}, ["pretune check models/mine"]),
        ("bundle", {"inputs": {"model": {"kind": "model"}}}, ["pretune serve models/mine"]),
        ("bundle", {"inputs": {"model": {"kind": "tokens"}}}, []),
    ],
)
def test_the_next_step_is_one_that_this_artifact_can_take(
    kind: str, facts: dict[str, Any], expected: list[str]
) -> None:
    assert list(next_steps(Card(kind, key="", id="", stage="", **facts), "models/mine")) == expected


def test_a_folder_with_a_telling_name_is_one_word_of_the_command() -> None:
    (step,) = next_steps(Card("tokenizer", key="", id="", stage=""), "a; rm -rf x")
    assert shlex.split(step) == ["pretune", "tokens", "CORPUS", "a; rm -rf x", "--out", "NAME"]
