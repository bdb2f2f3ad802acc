"""A reward model: a number for a dialogue's last reply, larger for what people prefer. It orders replies; the number
itself means nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pretune.base.errors import NotSupported
from pretune.infer.answers import Answer, Score
from pretune.infer.classify import TextClassifier
from pretune.model.families import Topped
from pretune.objective.objective import Objective
from pretune.objective.rewards import Rewards
from pretune.task.chat import chat_format
from pretune.task.judge.judge import Judge
from pretune.task.judge.preferences import PreferenceJudge
from pretune.task.task import Task
from pretune.task.whole_texts import load_head, ready_head
from pretune.tokens.rows import Row

if TYPE_CHECKING:
    from pretune.infer.predictor import Predictor
    from pretune.text.dataset.example import Preference


class Reward(Task):
    """Give a reply the larger a number the more people prefer it."""

    shape: ClassVar[str] = "preference"
    holds: ClassVar[str] = "preferences"
    answers: ClassVar[type[Answer]] = Score
    judge: ClassVar[Judge] = PreferenceJudge()
    grouped: ClassVar[bool] = True
    better: ClassVar[str] = "loss"
    epochs: ClassVar[float] = 1.0

    def load(self, folder: Path, labels: Sequence[str] | None, *, seed: int) -> Topped:
        """Raises NotSupported for an encoder: what it is read at comes before what is said."""
        from pretune.model.folder import model_type_of
        from pretune.model.generate import architecture_of

        if architecture_of(model_type_of(folder)) == "encoder":
            problem = f"{folder.as_posix()} is an encoder, and replies are scored by a model that writes them"
            raise NotSupported(problem, hint="take a decoder with a chat template: qwen3, llama, gpt2")
        return load_head(folder, ["score"], seed=seed, problem="regression", kept={"reads": "dialogue"})

    def outline(self, config: Any) -> Topped:
        from pretune.model.build import outline_with

        return outline_with(config, "score", outputs=1)

    def rows(
        self,
        examples: Sequence[Any],
        folder: Path,
        labels: Sequence[str] | None,
        *,
        max_length: int,
        warn: Callable[[str], None] = lambda told: None,
    ) -> list[Row]:
        """Rows of two replies, each of `max_length` ids at most.

        Raises:
            NoTarget: nothing to learn from, or no reply fits; BadMessages: the template refuses all of them.
        """
        from pretune.task.preferences import fitted_pairs, pairs, reply_row

        asked = pairs(examples, warn)
        return [reply_row(*found) for found in fitted_pairs(chat_format(folder), asked, max_length, warn=warn)]

    def objective(self, class_weights: Sequence[float] | None = None) -> Objective:
        return Rewards(kind="rewards")

    def ready(self, model: Any, folder: Path, labels: Sequence[str] | None, *, max_length: int) -> TextClassifier:
        return ready_head(model, folder, max_length=max_length)

    def score(self, ready: Predictor, examples: Sequence[Preference]) -> dict[str, float]:
        """The loss tells more: the margin, and in how many preferences it is positive."""
        return {}
