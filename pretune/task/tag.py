"""A tag for each word: names, places, terms. Their kinds are the labels; the head has O, and B and I of each kind.

The head begins at how often each tag occurs in train: most are O.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from pydantic import PrivateAttr

from pretune.base.errors import NoTarget, NotSupported, OneClass
from pretune.infer.answers import Answer, Tags
from pretune.infer.tag import Tagger, WordRow, word_rows
from pretune.model.families import Topped, plain_model
from pretune.objective.objective import Objective
from pretune.objective.tags import TokenTags
from pretune.task.judge.judge import Judge
from pretune.task.judge.tags import TagJudge, tag_figures
from pretune.task.task import Task
from pretune.tokens.rows import IGNORE, Row

if TYPE_CHECKING:
    from torch import Tensor

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

    crf: bool = False
    """Whether the tags of a text are chosen together, by a linear-chain CRF: what stands next to what is learnt too."""

    _sequences: tuple[tuple[str, ...], ...] = PrivateAttr(())

    def fitted(self, train: Sequence[Tagged]) -> Self:
        found = self.model_copy()
        found._sequences = tuple(e.tags for e in train)
        return found

    def load(self, folder: Path, labels: Sequence[str] | None, *, seed: int) -> Topped:
        import torch

        from pretune.model.folder import begin_at, load_labelled

        torch.manual_seed(seed)
        number = {tag: k for k, tag in enumerate(tags_of(labels))}
        model, new = load_labelled(folder, "tags", list(number))
        if self._sequences and not self.crf:  # a CRF begins with what is more: which follows which
            begin_at(model, np.log(shares(self._sequences, list(number))))
        return self._chained(model, new, [[number[t] for t in s] for s in self._sequences])

    def outline(self, config: Any) -> Topped:
        from pretune.model.build import outline_with

        return self._chained(*outline_with(config, "tags"), [])

    def _chained(self, model: Any, new: tuple[str, ...], sequences: Sequence[Sequence[int]]) -> Topped:
        """With a CRF on top, if one is wanted, which begins with what the training split says."""
        if not self.crf:
            return model, new
        from pretune.model.chain import NAME, chain_of

        setattr(model, NAME, chain_of(sequences, model.config.num_labels))
        return model, (*new, NAME)

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
        from pretune.infer.trusted import read_json
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
        if self.crf:
            from pretune.objective.chain import ChainTags

            return ChainTags(kind="chain-tags")
        return TokenTags(kind="token-tags")

    def ready(self, model: Any, folder: Path, labels: Sequence[str] | None, *, max_length: int) -> Tagger:
        from pretune.model.generate import from_objects

        found = from_objects(model, folder)
        assert isinstance(found, Tagger)
        facts = replace(found.facts, max_length=min(max_length, found.encoder.max_length))
        if self.crf:
            from pretune.model.chain import chain_in, facts_of

            chain = chain_in(plain_model(model))
            facts = replace(facts, more={**facts.more, "crf": facts_of(chain)} if chain else facts.more)
        return replace(found, facts=facts)

    def fold(self, model: Any, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        if not self.crf:
            return weights
        from pretune.model.chain import NAME, chain_in, facts_of

        plain = plain_model(model)
        chain = chain_in(plain)
        assert chain is not None
        self.keep(model, {"crf": facts_of(chain)})
        delattr(plain, NAME)
        for config in getattr(model, "peft_config", {}).values():
            config.modules_to_save = [name for name in config.modules_to_save if name != NAME]
        return {name: tensor for name, tensor in weights.items() if NAME not in name.split(".")}

    def score(self, ready: Predictor, examples: Sequence[Tagged]) -> dict[str, float]:
        """F1, precision and recall of entities, and the share of right tags."""
        answers = ready.answer([e.tokens for e in examples])
        return tag_figures([a.tags for a in answers if isinstance(a, Tags)], [e.tags for e in examples])


def tags_of(labels: Sequence[str] | None) -> list[str]:
    """O, and B and I of each kind: the tags in the order of the head's outputs."""
    return ["O", *(f"{part}-{kind}" for kind in labels or () for part in "BI")]


def shares(sequences: Sequence[Sequence[str]], tags: Sequence[str]) -> list[float]:
    """The share of each tag of all; one that does not occur counts as half a tag."""
    counts = Counter(tag for sequence in sequences for tag in sequence)
    return [max(counts[tag], 0.5) / counts.total() for tag in tags]


def _targets(row: WordRow, numbers: Sequence[int]) -> Row:
    """The ids, and at the position of each word the number of its tag."""
    labels = np.full(len(row.ids), IGNORE, dtype=np.int64)
    for place, number in zip(row.places, numbers, strict=True):
        if place is not None:
            labels[place] = number
    return {"ids": row.ids, "labels": labels}
