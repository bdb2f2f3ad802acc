"""The judge of preferences: is the better of two replies the likelier to the model, or has it the larger number?

    margin of a model that writes    log p(chosen) - log p(rejected), summed over the reply's tokens
    margin of a reward model         the number of the chosen reply less that of the rejected one

Next to the model that it was fine-tuned from, where that is there and answers alike: `gain` is how far the margin has
grown since, and `win_rate` in how many preferences it has (what DPO calls the accuracy of its implicit reward).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from pretune.base.errors import BadMessages, NoTarget, NotSupported, TooLong
from pretune.base.json import Json
from pretune.infer.answers import Score
from pretune.infer.chat import Message
from pretune.infer.language import told_reply
from pretune.infer.predictor import Advance, Facts, Predictor, Streams
from pretune.task.judge.judge import Asked, Baseline, Judge, Marks
from pretune.text.dataset.example import Preference


@dataclass(frozen=True)
class Margin(Score):
    """How far the chosen reply is ahead.

    Args:
        per_token: the same with the mean over the tokens of each reply; None where nothing is written.
        gain: by how much it has grown since the start; None where that is not known.
    """

    per_token: float | None = None
    gain: float | None = None


class PreferenceJudge(Judge):
    """Accuracy, margin, and how often the margin has grown; next to the longer and to the shorter reply."""

    main: ClassVar[str] = "accuracy"
    order: ClassVar[str] = "margin"
    subject: ClassVar[str] = "Preferences"
    columns: ClassVar[tuple[str, ...]] = ("prompt", "chosen", "rejected", "margin", "gain")
    asks_start: ClassVar[bool] = True

    def asked(
        self, examples: Sequence[Preference], train: Sequence[Preference], labels: Sequence[str] | None
    ) -> tuple[list[Asked], list[str]]:
        whole = [e for e in examples if e.chosen.strip() and e.rejected.strip() and e.chosen != e.rejected]
        if not whole:
            hint = "give a split with both; single replies that were judged are for training (task.loss=kto)"
            raise NoTarget("no preference of this split has two replies that differ", hint=hint)
        left = len(examples) - len(whole)
        told = f"{left} of {len(examples)} preferences have not two replies that differ, and are left out"
        return [_asked(e) for e in whole], [told] if left else []

    def strange(self, examples: Sequence[Preference], labels: Sequence[str]) -> list[str]:
        return []

    def ask(self, model: Predictor, asked: Sequence[Asked], *, max_tokens: int, advance: Advance) -> list[Margin]:
        """Margins; 0 where a reply is longer than the model."""
        if isinstance(model, Streams) and model.chat is None:
            hint = "fine-tune it first: pretune finetune MODEL DIALOGUES task=chat"
            raise NotSupported("this model has no chat template, so it has no opinion of replies", hint=hint)
        found = []
        for one in asked:
            found.append(_written(model, one) if isinstance(model, Streams) else _scored(model, one))
            advance(1)
        return found

    def since(self, start: Sequence[Margin], answers: Sequence[Margin]) -> list[Margin]:
        pairs = zip(start, answers, strict=True)
        return [Margin(after.value, after.per_token, after.value - before.value) for before, after in pairs]

    def marks(self, answer: Score, asked: Asked) -> Marks:
        """The margins of a baseline are only larger or smaller than 0."""
        known = answer if isinstance(answer, Margin) else None
        per_token, gain = (known.per_token, known.gain) if known else (None, None)
        return {
            "accuracy": _ahead(answer.value),
            "accuracy_per_token": None if per_token is None else _ahead(per_token),
            "win_rate": None if gain is None else _ahead(gain),
            "margin": known and known.value,
            "gain": gain,
        }

    def figures(self, answers: Sequence[Margin], asked: Sequence[Asked]) -> dict[str, float]:
        return {}

    def tell(self, answers: Sequence[Margin], asked: Sequence[Asked], facts: Facts) -> tuple[Json, list[str]]:
        ties = sum(answer.value == 0 for answer in answers)
        told = f"{ties} preferences are ties, or too long for the model, and count as half right"
        return {}, [told] if ties else []

    def baselines(self, asked: Sequence[Asked], train: Sequence[Preference], *, seed: int) -> list[Baseline]:
        """The longer reply wins, or the shorter."""
        longer = [Score(float(len(a.wanted[0]) - len(a.wanted[1]))) for a in asked]
        shorter = [Score(-one.value) for one in longer]
        return [
            Baseline("shorter", "the shorter reply is the better one", shorter),
            Baseline("length", "the longer reply is the better one", longer),
        ]

    def row(self, asked: Asked, answer: Margin, marks: Marks, baselines: Mapping[str, Any]) -> Json:
        return {
            "origin": asked.origin,
            "group": asked.group,
            "prompt": asked.input[-1]["content"],
            "chosen": asked.wanted[0],
            "rejected": asked.wanted[1],
            **{name: None if value is None else round(float(value), 6) for name, value in marks.items()},
        }


def _asked(example: Preference) -> Asked:
    before = [m.turn for m in example.messages]
    return Asked(before, (example.chosen, example.rejected), example.chosen, example.origin)


def _ahead(margin: float) -> float:
    """1 where the chosen reply is ahead, half where there is no telling."""
    return 0.5 if margin == 0 else float(margin > 0)


def _dialogues(asked: Asked) -> list[list[Message]]:
    return [[*asked.input, {"role": "assistant", "content": reply}] for reply in asked.wanted]


def _written(model: Streams, asked: Asked) -> Margin:
    try:
        (chosen, one), (rejected, other) = (told_reply(model, dialogue) for dialogue in _dialogues(asked))
    except (TooLong, BadMessages):
        return Margin(0.0, 0.0)
    return Margin(chosen - rejected, chosen / one - rejected / other)


def _scored(model: Predictor, asked: Asked) -> Margin:
    chosen, rejected = (answer.value for answer in model.answer(_dialogues(asked)) if isinstance(answer, Score))
    return Margin(chosen - rejected)
