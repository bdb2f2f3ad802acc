"""Why this answer: which words of a text spoke for it, and which against.

    positive   A [lovely +1.3] film with a [dull -0.4] end        weights are in logits, of a score in its own unit

A token's weight is what it added (`pretune.model.attribution`), a word's the sum over its tokens; a token of several
words is shared out by their characters. Chinese words are their characters. What is explained is, of one label its
logit less the mean of the others (a shift of all logits changes no answer), of several labels the logit of the
likeliest, of a score the number.

*T tokens, W words, C labels.*
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeGuard

import numpy as np

from pretune.base.errors import NotSupported
from pretune.base.json import Json
from pretune.infer.answers import Answer
from pretune.infer.classify import ANSWERS, Given, TextClassifier
from pretune.infer.correlation import spearman
from pretune.infer.engine import Attributes
from pretune.infer.predictor import Predictor
from pretune.text.dataset.cutting import WITHOUT_BLANKS, Place
from pretune.tokens.encode.tokenizer import encode_with_places

_ALONE = WITHOUT_BLANKS.pattern
WORD = re.compile(rf"{_ALONE}|(?:(?!{_ALONE})\w)+|[^\w\s]")
"""A character of a script without blanks, a word of another, a mark."""
SHOWN = 0.2
"""Words with less of the largest weight are not marked."""


@dataclass(frozen=True)
class Word:
    """A word, its place in the user's text in characters, and what it added: more than 0 speaks for the answer."""

    text: str
    start: int
    end: int
    weight: float


@dataclass(frozen=True)
class Explanation:
    """An answer and the words that made it.

    Args:
        label: what is explained; None of a score.
        texts: the words of the text, or of each of two, that were read.
        completeness_error: how far the weights of all tokens are from adding up.
        leave_one_out: rank correlation of the weights with what leaving out each word changes, -1 to 1.
    """

    answer: Answer
    label: str | None
    texts: tuple[tuple[Word, ...], ...]
    completeness_error: float
    leave_one_out: float

    def to_json(self) -> Json:
        """The answer's JSON and `explanation`; `second` holds the words of a second text."""
        named = zip(("words", "second"), self.texts, strict=False)
        words = {name: [asdict(word) for word in one] for name, one in named}
        label = {} if self.label is None else {"label": self.label}
        checks = {"completeness_error": self.completeness_error, "leave_one_out": self.leave_one_out}
        return {**self.answer.to_json(), "explanation": {**label, **words, **checks}}


def can_explain(model: Predictor) -> TypeGuard[TextClassifier]:
    """Whether words can be weighed: it gives labels or a number, and has gradients."""
    return isinstance(model, TextClassifier) and model.chat is None and isinstance(model.engine, Attributes)


def explain(model: Predictor, inputs: Sequence[Any]) -> list[Explanation]:
    """Answers to texts, or to pairs of them, with the words that spoke for and against each.

    Raises:
        NotSupported: answers of another kind, dialogues, or a model without gradients (a bundle).
    """
    if not isinstance(model, TextClassifier) or model.chat is not None:
        explained = ", ".join(kind.plural for kind, _ in ANSWERS.values())
        other = "reads dialogues" if isinstance(model, TextClassifier) else f"gives {model.gives.plural}"
        problem = f"words of texts are weighed for {explained}; this model {other}"
        raise NotSupported(problem, hint="ask it without an explanation")
    engine = model.engine
    if not isinstance(engine, Attributes):
        hint = "give the model's own folder, which runs on torch"
        raise NotSupported("a bundle has no gradients, so it cannot say which words spoke for its answer", hint=hint)
    return [_explained(model, engine, one) for one in inputs]


def _explained(model: TextClassifier, engine: Attributes, given: Given) -> Explanation:
    (row,), (logits_C,) = model.rows([given]), model.logits([given])
    (answer,) = ANSWERS[model.facts.answers][1](logits_C[None], model.facts)
    texts = [given] if isinstance(given, str) else [*given]
    read = encode_with_places(model.tokenizer, texts)
    positions = model.frame.places([len(ids) for ids, _ in read], model.facts.max_length)
    cut = [_cut(text, places[: len(at)]) for text, (_, places), at in zip(texts, read, positions, strict=True)]
    held = [_held(share_T, at) for (_, share), at in zip(cut, positions, strict=True) for share_T in share]
    found = engine.attribution(row, held, _direction(logits_C, model))
    weights = [share @ found.added_L[at.start : at.stop] for (_, share), at in zip(cut, positions, strict=True)]
    words = tuple(
        tuple(Word(text[a:b], a, b, float(weight)) for (a, b), weight in zip(places, some, strict=True))
        for text, (places, _), some in zip(texts, cut, weights, strict=True)
    )
    every_W = np.concatenate(weights)
    agreement = spearman(every_W, found.without_W) if len(every_W) else 0.0
    return Explanation(answer, _label(logits_C, model), words, found.error, agreement)


def _cut(text: str, tokens: Sequence[Place]) -> tuple[list[Place], np.ndarray]:
    """The words of a text that are read, and how much of each token is of each word, [W, T]; columns add up to 1."""
    places = [found.span() for found in WORD.finditer(text)]
    if not places or not tokens:
        return [], np.zeros((0, len(tokens)))
    words_W2, tokens_T2 = np.array(places), np.array(tokens)
    starts = np.maximum(words_W2[:, None, 0], tokens_T2[None, :, 0])
    ends = np.minimum(words_W2[:, None, 1], tokens_T2[None, :, 1])
    overlap_WT = (ends - starts).astype(np.float64)  # less than 0: the distance
    nearest_WT = np.eye(len(places))[overlap_WT.argmax(axis=0)].T
    share_WT = np.where(overlap_WT.max(axis=0) > 0, np.maximum(overlap_WT, 0), nearest_WT)
    share_WT = share_WT / share_WT.sum(axis=0)
    read_W = share_WT.any(axis=1)
    return [place for place, is_read in zip(places, read_W, strict=True) if is_read], share_WT[read_W]


def _held(share_T: np.ndarray, positions: range) -> list[int]:
    """The positions in the row of the tokens that a word has a share of."""
    return [positions[t] for t in np.flatnonzero(share_T)]


def _direction(logits_C: np.ndarray, model: TextClassifier) -> list[float]:
    """What of the logits is explained."""
    if model.facts.answers == "score":
        return [float((model.facts.more.get("scale") or (0.0, 1.0))[1])]
    others = -1 / max(len(logits_C) - 1, 1) if model.facts.answers == "label" else 0.0
    best = int(logits_C.argmax())
    return [1.0 if k == best else others for k in range(len(logits_C))]


def _label(logits_C: np.ndarray, model: TextClassifier) -> str | None:
    return model.facts.labels[int(logits_C.argmax())] if model.facts.labels else None


def marked(text: str, words: Sequence[Word], *, least: float = SHOWN) -> Iterator[tuple[str, float | None]]:
    """A text in pieces, each with its weight; None of those between words, and of words that hardly matter.

    Args:
        least: share of the largest weight from which a word matters.
    """
    largest, at = max((abs(word.weight) for word in words), default=0.0), 0
    for word in words:
        if largest and abs(word.weight) >= least * largest:
            yield text[at : word.start], None
            yield text[word.start : word.end], word.weight
            at = word.end
    yield text[at:], None
