"""What a task is: how labelled examples become rows, which model answers, how answers are scored.

A task module is named in a table, so it imports no torch at its top.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pretune.base.config import Choice, Variant
from pretune.base.errors import NotSupported
from pretune.objective.objective import Objective
from pretune.tokens.rows import Row

if TYPE_CHECKING:
    from pretune.infer.classify import TextClassifier
    from pretune.infer.language import LanguageModel


class Task(Variant):
    """Settings of what is asked of a model."""

    shape: ClassVar[str]
    """Shape of the examples, of text/dataset/example.py: label, dialogue ..."""
    grouped: ClassVar[bool] = False
    """Rows of like length share a step, since each batch is padded to its longest row."""
    epochs: ClassVar[float] = 3.0
    """Epochs when no budget is given."""
    better: ClassVar[str] = "accuracy"
    """The score of the validation split that chooses the best model; higher is better."""

    def load(self, folder: Path, labels: Sequence[str] | None, *, seed: int) -> tuple[Any, tuple[str, ...]]:
        """The pretrained model with what the task puts on top, in float32; and the names of its new modules."""
        raise AssertionError("a task has load()")

    def outline(self, config: Any) -> tuple[Any, tuple[str, ...]]:
        """The same of a transformers config alone, with random weights: what memory and time it takes can be told."""
        raise AssertionError("a task has outline()")

    def rows(
        self,
        examples: Sequence[Any],
        folder: Path,
        labels: Sequence[str] | None,
        *,
        max_length: int,
        warn: Callable[[str], None] = lambda told: None,
    ) -> list[Row]:
        """Examples as rows; `folder` holds the tokenizer; `warn` is told of those that are cut or left out."""
        raise AssertionError("a task has rows()")

    def objective(self, class_weights: Sequence[float] | None = None) -> Objective:
        """What is predicted; `class_weights`: of each label, in their order, as the dataset gives them."""
        raise AssertionError("a task has objective()")

    def ready(self, model: Any, folder: Path, labels: Sequence[str] | None, *, max_length: int) -> Any:
        """The model as the thing that answers, the same code that serves."""
        raise AssertionError("a task has ready()")

    def score(self, ready: TextClassifier | LanguageModel, examples: Sequence[Any]) -> dict[str, float]:
        """Scores of the answers to labelled examples."""
        raise AssertionError("a task has score()")

    def questions(self, examples: Sequence[Any]) -> list[str]:
        """A few of the examples' own, for `texts`; none where the model does not write."""
        return []

    def texts(self, ready: TextClassifier | LanguageModel, prompts: Sequence[str]) -> list[tuple[str, str]]:
        """What the model answers, always the likeliest token; a prompt that fills its window is left out."""
        return []


def task_for(shape: str, read_as: str) -> str | None:
    """The kind of task that learns from examples of a shape; None for text.

    Raises:
        NotSupported: no task does.
    """
    shapes: dict[str, str] = {}
    for kind in reversed(TASK.kinds()):
        task = TASK.find(kind)
        assert issubclass(task, Task), f"{task} stands in the table of tasks"
        shapes[task.shape] = kind
    if shape and shape not in shapes:
        raise NotSupported(
            f"this is read as {shape} ({read_as}), and no task learns from that yet",
            hint=f"`pretune dataset` makes a dataset of it; tasks learn from: {', '.join(sorted(shapes))}",
        )
    return shapes.get(shape)


TASK = Choice(
    Task,
    {"classify": "pretune.task.classify:Classify", "chat": "pretune.task.chat:Chat"},
    group="pretune.tasks",
)
