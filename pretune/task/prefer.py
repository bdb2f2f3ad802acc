"""Reply as people prefer: a chat model learns from pairs of replies, or from single ones that were judged.

What comes out is a chat model, saved and served as one. A model that gives replies a number is task=reward.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pretune.base.config import chosen
from pretune.infer.answers import Answer, Text
from pretune.model.families import Topped
from pretune.objective.objective import Objective
from pretune.objective.preference import LOSS
from pretune.objective.preference import Preference as Loss
from pretune.task.chat import chat_format, first_questions, load_chat, outline_writer, sampled
from pretune.task.judge.judge import Judge
from pretune.task.judge.preferences import PreferenceJudge
from pretune.task.task import Task
from pretune.tokens.rows import Row

if TYPE_CHECKING:
    from pretune.infer.predictor import Predictor
    from pretune.model.methods.method import Method
    from pretune.text.dataset.example import Preference
    from pretune.train.loop.session import Session


class Prefer(Task):
    """Reply as people prefer."""

    shape: ClassVar[str] = "preference"
    holds: ClassVar[str] = "preferences"
    answers: ClassVar[type[Answer]] = Text
    judge: ClassVar[Judge] = PreferenceJudge()
    grouped: ClassVar[bool] = True
    is_alone: ClassVar[bool] = True
    new_head: ClassVar[bool] = False
    better: ClassVar[str] = "loss"
    epochs: ClassVar[float] = 1.0
    pace: ClassVar[float] = 0.1

    loss: Annotated[Loss, *chosen(LOSS)] = LOSS("dpo")
    """How preferences are learnt: dpo, ipo, orpo, simpo from pairs; kto from single replies, good or not."""

    def why_not(self, method: Method) -> str | None:
        if self.loss.reference == "live" and method.keeps_base and not method.keeps_start():
            return "variant=pissa moves the base, so no start is left to ask: take task.loss.reference=kept"
        return super().why_not(method)

    def load(self, folder: Path, labels: Sequence[str] | None, *, seed: int) -> Topped:
        return load_chat(folder)

    def outline(self, config: Any) -> Topped:
        return outline_writer(config), ()

    def rows(
        self,
        examples: Sequence[Any],
        folder: Path,
        labels: Sequence[str] | None,
        *,
        max_length: int,
        warn: Callable[[str], None] = lambda told: None,
    ) -> list[Row]:
        """Rows of two replies, each of `max_length` + 1 ids at most.

        Raises:
            NoTarget: nothing to learn from, or no reply fits; BadMessages: the template refuses all of them.
        """
        from pretune.task.preferences import fitted_pairs, pairs, reply_row, verdicts

        asked = pairs(examples, warn) if self.loss.compares else verdicts(examples, warn)
        return [reply_row(*found) for found in fitted_pairs(chat_format(folder), asked, max_length + 1, warn=warn)]

    def objective(self, class_weights: Sequence[float] | None = None) -> Objective:
        return self.loss

    def start(self, session: Session, rows: Sequence[Row], dev_rows: Sequence[Row]) -> None:
        """What the loss counts from: kept for each row, or the model itself."""
        from pretune.task.reference import keep_reference

        if self.loss.reference == "kept":
            keep_reference(session, rows, dev_rows)
        elif self.loss.reference == "live":
            self.loss.hold(session.state.model)

    def ready(self, model: Any, folder: Path, labels: Sequence[str] | None, *, max_length: int) -> Predictor:
        from pretune.model.generate import from_objects

        return from_objects(model, folder)

    def score(self, ready: Predictor, examples: Sequence[Preference]) -> dict[str, float]:
        """The loss tells more: the margin, and in how many preferences it is positive."""
        return {}

    def questions(self, examples: Sequence[Preference]) -> list[str]:
        return first_questions(examples)

    def texts(self, ready: Predictor, prompts: Sequence[str]) -> list[tuple[str, str]]:
        return sampled(ready, prompts)
