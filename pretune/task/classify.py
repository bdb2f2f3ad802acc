"""One label for each text: a head on an encoder or a decoder."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from pretune.base.errors import NotSupported
from pretune.infer.answers import Answer, Label
from pretune.infer.classify import Frame, TextClassifier, frame_for
from pretune.objective.labels import Labels
from pretune.objective.objective import Objective
from pretune.task.judge.judge import Judge
from pretune.task.judge.labels import LabelJudge
from pretune.task.task import Task
from pretune.tokens.rows import Row

if TYPE_CHECKING:
    from pretune.infer.predictor import Predictor
    from pretune.text.dataset.example import Labelled


class Classify(Task):
    """Tell which label a text carries."""

    shape: ClassVar[str] = "label"
    holds: ClassVar[str] = "labels"
    grouped: ClassVar[bool] = True
    better: ClassVar[str] = "accuracy"
    epochs: ClassVar[float] = 4.0

    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of the target that is spread over all labels."""
    class_weights: Literal["auto", "none"] = "auto"
    """auto: errors weigh as the dataset says (dataset.balance=weights), alike if it says nothing; none: alike."""

    @property
    def answers(self) -> type[Answer]:
        return Label

    @property
    def judge(self) -> Judge:
        return LabelJudge()

    def load(self, folder: Path, labels: Sequence[str] | None, *, seed: int) -> tuple[Any, tuple[str, ...]]:
        import torch

        from pretune.model.folder import load_with_new
        from pretune.tokens.encode.tokenizer import special_ids

        assert labels is not None
        specials = special_ids(folder)
        named: dict[str, Any] = {
            "id2label": dict(enumerate(labels)),
            "label2id": {name: i for i, name in enumerate(labels)},
        }
        torch.manual_seed(seed)
        model, new = load_with_new(folder, "label", num_labels=len(labels), ignore_mismatched_sizes=True, **named)
        if model.config.pad_token_id is None:
            model.config.pad_token_id = specials.pad if specials.pad is not None else specials.eos
        if model.config.pad_token_id is None:
            raise NotSupported(f"the tokenizer of {folder.as_posix()} has neither a pad nor an end token")
        top = tuple(name for name in ("classifier", "score") if hasattr(model, name))
        return model, tuple(sorted({*new, *top}))

    def outline(self, config: Any) -> tuple[Any, tuple[str, ...]]:
        from pretune.model.families import family_named

        config.pad_token_id = config.pad_token_id or 0
        model = family_named(config.model_type).class_for("label", config.model_type).from_config(config)
        return model, tuple(name for name in ("classifier", "score") if hasattr(model, name))

    def rows(
        self,
        examples: Sequence[Any],
        folder: Path,
        labels: Sequence[str] | None,
        *,
        max_length: int,
        warn: Callable[[str], None] = lambda told: None,
    ) -> list[Row]:
        from pretune.tokens.encode.tokenizer import encode_texts, load_tokenizer

        assert labels is not None
        frame, number = frame_of(folder), {name: i for i, name in enumerate(labels)}
        coded = encode_texts(load_tokenizer(folder), [e.text for e in examples])
        rows = zip(coded, examples, strict=True)
        return [{"ids": frame.row(ids, max_length), "label": number[e.label]} for ids, e in rows]

    def ready(self, model: Any, folder: Path, labels: Sequence[str] | None, *, max_length: int) -> TextClassifier:
        from pretune.model.generate import from_objects

        found = from_objects(model, folder)
        assert isinstance(found, TextClassifier)
        return replace(found, max_length=min(max_length, found.encoder.max_length))

    def objective(self, class_weights: Sequence[float] | None = None) -> Objective:
        weights = tuple(class_weights) if class_weights and self.class_weights == "auto" else None
        return Labels(kind="labels", label_smoothing=self.label_smoothing, class_weights=weights)

    def score(self, ready: Predictor, examples: Sequence[Labelled]) -> dict[str, float]:
        """Accuracy and macro-F1 over the labels that occur."""
        answers, (asked, _) = (
            ready.answer([e.text for e in examples]),
            self.judge.asked(examples, (), ready.facts.labels),
        )
        figures = self.judge.figures(answers, asked)
        return {name: figures[name] for name in ("accuracy", "macro_f1")}


def frame_of(folder: Path) -> Frame:
    """How a text is framed for the model in `folder`: the same for training and serving."""
    from pretune.model.generate import architecture_of
    from pretune.tokens.encode.tokenizer import special_ids

    model_type = json.loads((folder / "config.json").read_text(encoding="utf-8"))["model_type"]
    return frame_for(architecture_of(model_type), special_ids(folder))
