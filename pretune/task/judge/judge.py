"""What a judge is: it asks a model the questions of labelled examples, and says how good the answers are.

    examples ──asked──▶ inputs ──Predictor.answer──▶ answers ──marks, figures──▶ report
                          └──baselines──▶ answers of simple systems, judged alike

A task names its judge; evaluate makes groups, intervals, margins and pages of what any judge says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pretune.base.json import Json, JsonMap
from pretune.infer.answers import Answer
from pretune.infer.predictor import Advance, Facts, Predictor

Marks = Mapping[str, Any]
"""Of one answer: a share (True or False), a number or a `Part` by its name; None where it does not apply."""


@dataclass(frozen=True, slots=True)
class Part:
    """What one answer adds to a ratio of all answers together: F1 is 2 * hits / (said + true) of all texts."""

    top: float
    below: float


def whole(parts: Sequence[Part]) -> float:
    """The ratio of all; 0 where nothing is below."""
    below = sum(part.below for part in parts)
    return sum(part.top for part in parts) / below if below else 0.0


@dataclass(frozen=True, slots=True)
class Asked:
    """One question of an evaluation.

    Args:
        input: what the model reads.
        wanted: what the data says.
        text: what it must not have read before: the text that is labelled, the reply that is wanted.
        group: figures are also given by group, where there are several.
    """

    input: Any
    wanted: Any
    text: str
    origin: str
    group: str = "all"
    keywords: tuple[str, ...] = ()

    @property
    def texts(self) -> dict[str, str]:
        """The columns of a report with what was read: `text`, of two that are compared `second` too."""
        return (
            {"text": self.input}
            if isinstance(self.input, str)
            else dict(zip(("text", "second"), self.input, strict=True))
        )


def never(group: Sequence[Asked]) -> bool:
    """A baseline that is no ceiling for any group."""
    return False


@dataclass(frozen=True)
class Baseline:
    """A simple system: its name, what it is in words, and its answer to each question.

    Args:
        is_ceiling: whether for these questions it is the most there is to reach, since training had the answers.
    """

    name: str
    what: str
    answers: Sequence[Answer]
    is_ceiling: Callable[[Sequence[Asked]], bool] = never


class Judge:
    """Judges the answers of one kind."""

    main: ClassVar[str]
    """The figure by which a model and its baselines are compared: one of the marks, or what `drawn` gives."""
    order: ClassVar[str]
    """The column that orders a report's rows from worst to best."""
    subject: ClassVar[str]
    """The title of its part of a report."""
    columns: ClassVar[tuple[str, ...]]
    """Of the rows, those that a page shows."""
    asks_start: ClassVar[bool] = False
    """Whether the model that it was fine-tuned from is asked too."""
    marked: ClassVar[tuple[str, ...]] = ()
    """Of these, places in the row's `text` (start, end, label), which a page marks there."""

    def asked(
        self, examples: Sequence[Any], train: Sequence[Any], labels: Sequence[str] | None
    ) -> tuple[list[Asked], list[str]]:
        """The questions, and what a report must say of them.

        Args:
            train: examples that the model may have learnt from.
            labels: those that the model gives, if it gives any.

        Raises:
            NoTarget: nothing is asked; NotSupported: examples that cannot be judged, or labels it never gives.
        """
        raise AssertionError("a judge has asked()")

    def strange(self, examples: Sequence[Any], labels: Sequence[str]) -> list[str]:
        """Labels in the examples that a model with these labels never gives; none where there are no labels."""
        raise AssertionError("a judge has strange()")

    def ask(self, model: Predictor, asked: Sequence[Asked], *, max_tokens: int, advance: Advance) -> list[Any]:
        """The model's answer to each question; one that cannot be answered has an empty answer."""
        return model.answer([one.input for one in asked], max_tokens=max_tokens, strict=False, advance=advance)

    def since(self, start: Sequence[Any], answers: Sequence[Any]) -> list[Any]:
        """The answers, next to those of the model that it was fine-tuned from."""
        raise AssertionError("a judge that asks the start has since()")

    def marks(self, answer: Any, asked: Asked) -> Marks:
        """How good one answer is."""
        raise AssertionError("a judge has marks()")

    def figures(self, answers: Sequence[Any], asked: Sequence[Asked]) -> dict[str, float]:
        """Figures of all answers together that are no means of the marks."""
        raise AssertionError("a judge has figures()")

    def drawn(self, answers: Sequence[Any], asked: Sequence[Asked]) -> Callable[[NDArray[np.int64]], float]:
        """The main figure, where it is no mean of marks, of the questions with given numbers, for the bootstrap."""
        raise AssertionError("a judge whose main figure is no mark has drawn()")

    def tell(self, answers: Sequence[Any], asked: Sequence[Asked], facts: Facts) -> tuple[Json, list[str]]:
        """Further parts of report.json, and what it must say of the answers."""
        raise AssertionError("a judge has tell()")

    def baselines(self, asked: Sequence[Asked], train: Sequence[Any], *, seed: int) -> list[Baseline]:
        """Simple systems that learnt from `train`, the strongest last."""
        raise AssertionError("a judge has baselines()")

    def row(self, asked: Asked, answer: Any, marks: Marks, baselines: Mapping[str, Any]) -> Json:
        """The columns of one question in predictions.parquet; `baselines`: their answers to it, by name."""
        raise AssertionError("a judge has row()")

    def mark_in(self, row: JsonMap) -> Any:
        """The main figure's mark in a row of predictions.parquet."""
        return row[self.main]

    def again(self, row: JsonMap) -> tuple[Answer, Asked] | None:
        """The answer and the question in such a row, for `drawn`; None where the main figure is one of the marks."""
        return None

    def shown(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """A row with what a page shows besides; a cell may be pieces of text, each with whether it is marked."""
        return row
