"""What the tasks of whole texts share: how an example becomes a row, and the head that reads its frame."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from pretune.base.errors import NotSupported, OneClass
from pretune.infer.classify import TextClassifier
from pretune.infer.embed import Embedder
from pretune.infer.rank import Ranker
from pretune.model.families import Topped
from pretune.text.dataset.example import Labelled, MultiLabelled, ScoredText
from pretune.tokens.rows import Row

if TYPE_CHECKING:
    from pretune.infer.predictor import Predictor
    from pretune.task.judge.judge import Judge

Example = Labelled | MultiLabelled | ScoredText


def framed_rows(examples: Sequence[Example], folder: Path, max_length: int) -> list[Row]:
    """The rows of examples, as `input_rows` makes them."""
    return input_rows([e.given for e in examples], folder, max_length)


def input_rows(inputs: Sequence[str | tuple[str, str]], folder: Path, max_length: int) -> list[Row]:
    """Rows of `ids`, framed as the model in `folder` reads them; of two texts `parts` too, if the model has types."""
    from pretune.infer.engine import token_types
    from pretune.model.generate import framing
    from pretune.tokens.encode.tokenizer import load_tokenizer

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    frame, separator = framing(config, folder)
    rows: list[Row] = []
    for one, ids in zip(inputs, frame.rows(load_tokenizer(folder), inputs, max_length), strict=True):
        row: Row = {"ids": ids}
        if separator is not None and not isinstance(one, str):
            row["parts"] = token_types(np.array([ids]), np.ones((1, len(ids)), dtype=np.int64), separator)[0]
        rows.append(row)
    return rows


def load_head(
    folder: Path, labels: Sequence[str], *, seed: int, problem: str | None = None, kept: Mapping[str, Any] | None = None
) -> Topped:
    """The pretrained model with a new head, and the names of the modules that must be trained."""
    import torch

    from pretune.model.folder import load_labelled

    torch.manual_seed(seed)
    return load_labelled(folder, "label", labels, problem=problem, kept=kept)


WholeTexts = TypeVar("WholeTexts", TextClassifier, Embedder, Ranker)


def ready_head(
    model: Any,
    folder: Path,
    *,
    max_length: int,
    kind: type[WholeTexts] = TextClassifier,  # type: ignore[assignment]
) -> WholeTexts:
    """A model in memory as the thing that answers, a predictor of this kind."""
    from pretune.model.generate import from_objects

    found = from_objects(model, folder)
    assert isinstance(found, kind)
    facts = replace(found.facts, max_length=min(max_length, found.encoder.max_length))
    return replace(found, facts=facts)


def figures_of(
    judge: Judge,
    ready: Predictor,
    examples: Sequence[Example],
    names: Sequence[str],
    labels: Sequence[str] | None = None,
) -> dict[str, float]:
    """Some figures of a model's answers to labelled examples; `labels`: those that it gives."""
    asked, _ = judge.asked(examples, (), labels)
    figures = judge.figures(ready.answer([one.input for one in asked]), asked)
    return {name: figures[name] for name in names}


def numbers_of(train: Sequence[ScoredText]) -> NDArray[np.float64]:
    """The scores of the training split. Raises OneClass where all are equal."""
    scores = np.array([e.score for e in train])
    if scores.min() == scores.max():
        problem = f"all {len(scores)} training examples have the score {scores[0]:g}: there is nothing to learn"
        raise OneClass(problem, hint="name the right column: columns.score=COLUMN")
    return scores


def check_seconds(examples: Sequence[Labelled | ScoredText]) -> None:
    """Raise NotSupported where some of the examples are two texts and others one."""
    alone = [e for e in examples if not e.second]
    if alone and len(alone) < len(examples):
        problem = (
            f"{len(alone)} of {len(examples)} examples have no second text to compare with, {alone[0].origin} first"
        )
        raise NotSupported(
            problem, hint="complete them or leave them out; or name other columns: columns.second=COLUMN"
        )
