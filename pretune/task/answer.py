"""The answer to a question, as a piece of its context: a head for starts and ends on an encoder or a decoder.

An example gives a row for each window of its context (infer/spans.py). Where the answer is whole in a window, its first
and last token are the targets; where it is not, the place that says "no answer" is both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import Field, PrivateAttr

from pretune.base.errors import BadFile, NoTarget
from pretune.base.json import Json
from pretune.infer.answers import Answer, Span
from pretune.infer.spans import DEFAULT_STRIDE, Reader, SpanFinder, Window
from pretune.model.families import Topped
from pretune.objective.objective import Objective
from pretune.objective.spans import Spans, hold_bias
from pretune.task.judge.judge import Judge
from pretune.task.judge.spans import NOTHING, SpanJudge, best_threshold
from pretune.task.task import Task
from pretune.tokens.rows import Row

if TYPE_CHECKING:
    from pretune.infer.predictor import Predictor
    from pretune.text.dataset.example import Question

ENDS = ("start", "end")
"""Names of the head's two outputs."""
CUT, UNSEEN = "no window holds the whole answer", "no token stands for the answer"


class Extract(Task):
    """Find the answer to a question in its context."""

    shape: ClassVar[str] = "span"
    holds: ClassVar[str] = "questions about a context"
    answers: ClassVar[type[Answer]] = Span
    judge: ClassVar[Judge] = SpanJudge()
    grouped: ClassVar[bool] = True
    better: ClassVar[str] = "f1"
    epochs: ClassVar[float] = 3.0

    stride: int = Field(DEFAULT_STRIDE, ge=0)
    """Tokens that neighbouring windows of a long context share, at most half of a window; an answer should fit in."""

    _no_answer: float | None = PrivateAttr(None)

    def fitted(self, train: Sequence[Question]) -> Self:
        """Always a piece where every question has one; else a threshold of 0, until a validation split chooses one."""
        found = self.model_copy()
        found._no_answer = None if all(e.answers for e in train) else 0.0
        return found

    def load(self, folder: Path, labels: Sequence[str] | None, *, seed: int) -> Topped:
        import torch

        from pretune.model.folder import load_labelled

        torch.manual_seed(seed)
        kept = {"stride": self.stride, "no_answer": self._no_answer}
        model, heads = load_labelled(folder, "span", ENDS, kept=kept)
        hold_bias(model)
        return model, heads

    def outline(self, config: Any) -> Topped:
        from pretune.model.build import outline_with

        config.num_labels = len(ENDS)
        return outline_with(config, "span")

    def check(self, examples: Sequence[Question], labels: Sequence[str] | None) -> None:
        """Raise BadFile for answers that are not where they should be, NoTarget where no question has an answer."""
        for e in examples:
            if wrong := next((a for a in e.answers if not e.context.startswith(a.text, a.start)), None):
                problem = f"{e.origin}: the answer {wrong.text!r} is not at character {wrong.start} of its context"
                raise BadFile(
                    problem, hint="make the dataset with `pretune dataset`, which puts answers where they are"
                )
        if not any(e.answers for e in examples):
            raise NoTarget("no question has an answer in its context", hint="look at the dataset: pretune check DATA")

    def rows(
        self,
        examples: Sequence[Any],
        folder: Path,
        labels: Sequence[str] | None,
        *,
        max_length: int,
        warn: Callable[[str], None] = lambda told: None,
    ) -> list[Row]:
        """A row for each window.

        Raises:
            NoTarget: nothing is left to learn from.
        """
        windows = self._reader(folder, max_length).windows([asked_of(e) for e in examples])
        rows: list[Row] = []
        left_out: Counter[str] = Counter()
        for number, (example, some) in enumerate(zip(examples, windows, strict=True)):
            ends = first_and_last(some, example) if example.answers else None
            targets = [span_in(one, ends) for one in some]
            if example.answers and not any(targets):
                left_out[CUT if ends else UNSEEN] += 1
                continue
            rows += [
                {"ids": one.ids, "span": span or (one.null, one.null), "example": number}
                for one, span in zip(some, targets, strict=True)
            ]
        if not rows:
            raise NoTarget(f"no answer fits into a window of max_length={max_length}", hint="raise max_length")
        for why, count in sorted(left_out.items()):
            warn(f"{count:,} of {len(examples):,} questions are left out: {why} (max_length={max_length})")
        return rows

    def objective(self, class_weights: Sequence[float] | None = None) -> Objective:
        return Spans(kind="spans")

    def ready(self, model: Any, folder: Path, labels: Sequence[str] | None, *, max_length: int) -> SpanFinder:
        from pretune.model.generate import from_objects

        found = from_objects(model, folder)
        assert isinstance(found, SpanFinder)
        return replace(found, reader=self._reader(folder, min(max_length, found.encoder.max_length)))

    def score(self, ready: Predictor, examples: Sequence[Question]) -> dict[str, float]:
        """F1 and exact matches; where some have no answer, at the threshold that suits these best: `no_answer`."""
        assert isinstance(ready, SpanFinder)
        asked, _ = self.judge.asked(examples, (), None)
        answers = replace(ready, no_answer=None).spans([one.input for one in asked])
        chosen = {}
        if any(not one.wanted for one in asked):
            chosen["no_answer"] = best_threshold(self.judge, answers, asked)
            answers = [NOTHING if a.margin > chosen["no_answer"] else a for a in answers]
        marks = [self.judge.marks(answer, one) for answer, one in zip(answers, asked, strict=True)]
        return {**{name: sum(m[name] for m in marks) / len(marks) for name in ("f1", "exact")}, **chosen}

    def chosen(self, ready: Predictor, examples: Sequence[Question]) -> Json:
        """The threshold with the highest F1, where some questions have no answer."""
        return {name: value for name, value in self.score(ready, examples).items() if name == "no_answer"}

    def _reader(self, folder: Path, max_length: int) -> Reader:
        from pretune.infer.trusted import read_json
        from pretune.model.generate import framing
        from pretune.tokens.encode.tokenizer import load_tokenizer

        frame, _ = framing(read_json(folder / "config.json"), folder)
        return Reader(load_tokenizer(folder), frame, max_length, self.stride)


def asked_of(example: Question) -> dict[str, str]:
    """What a model reads of an example."""
    return {"question": example.question, "context": example.context}


def first_and_last(windows: Sequence[Window], example: Question) -> tuple[int, int] | None:
    """Numbers of the (first) answer's first and last token in the whole context; None where it has none."""
    start, end = example.answers[0].start, example.answers[0].start + len(example.answers[0].text)
    held = [w.first + k for w in windows for k, (a, b) in enumerate(w.places) if a < end and b > start]
    return (min(held), max(held)) if held else None


def span_in(window: Window, ends: tuple[int, int] | None) -> tuple[int, int] | None:
    """The places in a window's row of what goes from one token of the context to another; None if it is not whole."""
    if ends is None or ends[0] < window.first or ends[1] >= window.first + len(window.places):
        return None
    return window.at + ends[0] - window.first, window.at + ends[1] - window.first
