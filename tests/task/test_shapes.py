"""Every shape is learnt from; a model is judged by examples of what it answers, and by no others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pretune.base.errors import NotSupported, WrongKind
from pretune.task.task import tasks
from pretune.text.dataset.example import SHAPES

RANKED = "user_id,item_id,rating\n" + "".join(f"u{k % 10},film {k % 7},{k % 5}\n" for k in range(60))
PAIRS = "source,target\n" + "".join(f"text number {k} 你好,says {k * k}\n" for k in range(30))


@pytest.fixture
def data(tmp_path: Path) -> Callable[[str], dict[str, Any]]:
    def stage(text: str) -> dict[str, Any]:
        (tmp_path / "rows.csv").write_text(text, encoding="utf-8")
        return {"kind": "dataset", "read": [str(tmp_path / "rows.csv")]}

    return stage


def test_every_shape_has_a_task() -> None:
    assert {task.shape for task in tasks()} == SHAPES.keys()


@pytest.mark.parametrize("stage", ["evaluate", "compress"])
def test_a_model_is_not_judged_by_what_it_does_not_answer(
    run: Callable[..., Any], data: Callable[[str], Any], model_folder: Callable[..., Path], stage: str
) -> None:
    model = str(model_folder("llama", chat=True))
    with pytest.raises(NotSupported, match="gives text, the data holds queries with candidates"):
        run(data=data(RANKED), it={"kind": stage, "model": model, "data": "$data"})


def test_classify_does_not_learn_from_pairs_and_the_error_names_the_task_that_does(
    run: Callable[..., Any], data: Callable[[str], Any], model_folder: Callable[..., Path]
) -> None:
    model = str(model_folder("llama"))
    with pytest.raises(WrongKind, match="these are pair") as error:
        run(data=data(PAIRS), it={"kind": "finetune", "model": model, "data": "$data", "task": "classify"})
    assert error.value.hint == "task=seq2seq"
