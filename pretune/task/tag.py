"""A tag for each word: names, places, terms. Their kinds are the labels; the head has O, and B and I of each kind.

The head begins at how often each tag occurs in train: most are O.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from pydantic import PrivateAttr

from pretune.base.errors import NoTarget, NotSupported, OneClass
from pretune.infer.answers import Answer, Tags
from pretune.infer.tag import Tagger, WordRow, word_rows
from pretune.objective.objective import Objective
from pretune.objective.tags import TokenTags
from pretune.task.judge.judge import Judge
from pretune.task.judge.tags import TagJudge, tag_figures
from pretune.task.task import Task
from pretune.tokens.rows import IGNORE, Row

if TYPE_CHECKING:
    from pretune.infer.predictor import Predictor
    from pretune.text.dataset.example import Tagged


class Tag(Task):
    """Tell the tag of each word: which are names, and of what."""

    shape: ClassVar[str] = "tags"
    holds: ClassVar[str] = "tags"
    answers: ClassVar[type[Answer]] = Tags
    judge: ClassVar[Judge] = TagJudge()
    grouped: ClassVar[bool] = True
    better: ClassVar[str] = "f1"
    epochs: ClassVar[float] = 4.0

    _counts: Counter[str] = PrivateAttr(default_factory=Counter)

    def fitted(self, train: Sequence[Tagged]) -> Self:
        """With how often each tag occurs."""
        found = self.model_copy()
        found._counts = Counter(tag for e in train for tag in e.tags)
        return found

    def load(self, folder: Path, labels: Sequence[str] | None, *, seed: int) -> tuple[Any, tuple[str, ...]]:
        import torch

        from pretune.model.folder import begin_at, load_labelled

        torch.manual_seed(seed)
        tags = tags_of(labels)
        model, heads = load_labelled(folder, "tags", tags)
        if self._counts:
            begin_at(model, np.log([max(self._counts[tag], 0.5) / self._counts.total() for tag in tags]))
        return model, heads

    def outline(self, config: Any) -> tuple[Any, tuple[str, ...]]:
        from pretune.model.build import outline_with

        return outline_with(config, "tags")

    def check(self, examples: Sequence[Tagged], labels: Sequence[str] | None) -> None:
        """Raise OneClass where every word is tagged O."""
        if not labels:
            raise OneClass("every word is tagged O: there is nothing to find", hint="look at the column of tags")

    def rows(
        self,
        examples: Sequence[Tagged],
        folder: Path,
        labels: Sequence[str] | None,
        *,
        max_length: int,
        warn: Callable[[str], None] = lambda told: None,
    ) -> list[Row]:
        """Rows of ids and labels; `warn` is told of words that are in none.

        Raises:
            NoTarget: no word of any example is in its row.
        """
        from pretune.model.folder import read_json
        from pretune.model.generate import framing
        from pretune.tokens.encode.tokenizer import load_tokenizer

        number = {tag: k for k, tag in enumerate(tags_of(labels))}
        frame, _ = framing(read_json(folder / "config.json"), folder)
        coded = word_rows(load_tokenizer(folder), [e.tokens for e in examples], frame, max_length)
        if unread := sum(row.num_unread for row in coded):
            total = sum(len(row.places) for row in coded)
            warn(f"{unread} of {total} words are behind max_length={max_length} or have no token: they are not learnt")
        rows = [_targets(row, [number[tag] for tag in e.tags]) for row, e in zip(coded, examples, strict=True)]
        found = [row for row in rows if (row["labels"] != IGNORE).any()]
        if not found:
            raise NoTarget(f"no word is within max_length={max_length}", hint="raise max_length")
        return found

    def objective(self, class_weights: Sequence[float] | None = None) -> Objective:
        if class_weights:
            raise NotSupported("task=tag does not weigh labels", hint="leave out balance=weights of the data set")
        return TokenTags(kind="token-tags")

    def ready(self, model: Any, folder: Path, labels: Sequence[str] | None, *, max_length: int) -> Tagger:
        from pretune.model.generate import from_objects

        found = from_objects(model, folder)
        assert isinstance(found, Tagger)
        return replace(found, facts=replace(found.facts, max_length=min(max_length, found.encoder.max_length)))

    def score(self, ready: Predictor, examples: Sequence[Tagged]) -> dict[str, float]:
        """F1, precision and recall of entities, and the share of right tags."""
        answers = ready.answer([e.tokens for e in examples])
        return tag_figures([a.tags for a in answers if isinstance(a, Tags)], [e.tags for e in examples])


def tags_of(labels: Sequence[str] | None) -> list[str]:
    """O, and B and I of each kind: the tags in the order of the head's outputs."""
    return ["O", *(f"{part}-{kind}" for kind in labels or () for part in "BI")]


def _targets(row: WordRow, numbers: Sequence[int]) -> Row:
    """The ids, and at the position of each word the number of its tag."""
    labels = np.full(len(row.ids), IGNORE, dtype=np.int64)
    for place, number in zip(row.places, numbers, strict=True):
        if place is not None:
            labels[place] = number
    return {"ids": row.ids, "labels": labels}
