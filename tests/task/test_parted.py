"""Train and validation part ways: when that is said, and which setting is named."""

from __future__ import annotations

from typing import Any

import pytest

from pretune.base.artifact import Card
from pretune.train.watch.diagnosis.reading import Run
from pretune.train.watch.diagnosis.rules import diagnosed, parted


def run(validation: list[float], task: dict[str, Any], method: str = "full", examples: int = 500) -> Run:
    """100 steps whose training loss falls from 1 to 0, validated every 25."""
    points: list[Any] = [{"step": k, "loss": 1 - k / 100} for k in range(1, 101)]
    points += [{"step": 25 * k, "validation_loss": loss} for k, loss in enumerate(validation, 1)]
    settings = {"task": task, "method": {"kind": method}}
    metrics = {"examples": examples, "steps_taken": 100}
    return Run("run", Card("model", "", "", stage="finetune", settings=settings, metrics=metrics), points, None)


CLASSIFY = {"kind": "classify"}


def test_losses_that_part_are_told_with_the_step_and_the_figures() -> None:
    _, (found,) = diagnosed(run([0.6, 0.5, 0.55, 0.7], CLASSIFY))
    # Up to step 50 the last ten losses are 0.59 ... 0.50, at the end 0.09 ... 0.00.
    assert found.evidence == pytest.approx(
        {"step": 50, "train_before": 0.545, "train": 0.045, "validation_before": 0.5, "validation": 0.7}
    )
    assert "from step 50" in found.says and "0.545 to 0.045" in found.says and "0.500 to 0.700" in found.says


def test_a_validation_loss_that_falls_or_rises_by_chance_is_not_over_fit() -> None:
    for losses in ([0.6, 0.5, 0.4, 0.3], [0.6, 0.5, 0.52, 0.54]):
        assert not [one for one in diagnosed(run(losses, CLASSIFY))[1] if one.name == "over-fit"]


@pytest.mark.parametrize(
    ("task", "method", "examples", "remedy"),
    [
        (CLASSIFY, "full", 64, "task.few_shot"),
        (CLASSIFY, "full", 500, "task.r_drop"),
        ({"kind": "multilabel"}, "full", 64, "task.r_drop"),
        ({"kind": "classify", "r_drop": 1.0}, "full", 500, "method=lora"),
        ({"kind": "tag"}, "lora", 500, "fewer epochs"),
    ],
)
def test_the_remedy_is_the_nearest_that_is_not_taken_yet(
    task: dict[str, Any], method: str, examples: int, remedy: str
) -> None:
    from pretune.train.watch.diagnosis.rules import Case

    found = parted(Case.of(run([0.5, 0.5, 0.6, 0.9], task, method, examples)))
    assert found is not None and found.do.startswith(remedy)
