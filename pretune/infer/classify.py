"""From label logits to labels with probabilities; and the one place that frames a row for a classifier.

encoder   [cls] ids [sep]      the first position is scored
decoder   ids [eos]            the last position is scored
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from pretune.base.errors import NotFinite, NotSupported
from pretune.infer.engine import Encoder
from pretune.tokens.encode.tokenizer import encode_texts

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from pretune.tokens.encode.tokenizer import Specials

Architecture = Literal["encoder", "decoder"]


@dataclass(frozen=True)
class Label:
    """A label and its probability; `scores` holds every label's."""

    name: str
    score: float
    scores: dict[str, float] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Frame:
    """The control tokens before and after a classifier's text."""

    before: tuple[int, ...] = ()
    after: tuple[int, ...] = ()

    def row(self, ids: Sequence[int], max_length: int) -> list[int]:
        """The text's tokens in their frame; a long text loses its end, never the frame."""
        room = max(max_length - len(self.before) - len(self.after), 0)
        return [*self.before, *ids[:room], *self.after]


def frame_for(architecture: Architecture, specials: Specials) -> Frame:
    """The frame of an encoder ([cls] ... [sep]) or a decoder (... [eos]).

    Raises:
        NotSupported: the tokenizer lacks the tokens.
    """
    if architecture == "encoder":
        if specials.cls is None or specials.sep is None:
            hint = "give tokenizer_config.json a cls_token and a sep_token"
            raise NotSupported("the tokenizer of this encoder has no [CLS] and [SEP]", hint=hint)
        return Frame((specials.cls,), (specials.sep,))
    if specials.eos is None:
        raise NotSupported("the tokenizer of this decoder has no eos_token", hint="name one in tokenizer_config.json")
    return Frame((), (specials.eos,))


@dataclass(frozen=True)
class TextClassifier:
    """A model that gives a text one of its labels."""

    encoder: Encoder
    tokenizer: Tokenizer
    labels: list[str]
    max_length: int
    frame: Frame = Frame()

    def rows(self, texts: Iterable[str]) -> list[list[int]]:
        """One row per text, at most `max_length` tokens, frame included."""
        return [self.frame.row(ids, self.max_length) for ids in encode_texts(self.tokenizer, list(texts))]

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """float64 [texts, labels], rows summing to 1."""
        if not texts:
            return np.zeros((0, len(self.labels)))
        return softmax(self.encoder.logits(self.rows(texts)))

    def predict(self, texts: Sequence[str]) -> list[Label]:
        """The likeliest label of every text, in the order of the texts."""
        return [named(row, self.labels) for row in self.probabilities(texts)]


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities over the last axis, in float64. Raises NotFinite."""
    if not np.isfinite(logits).all():
        raise NotFinite("the model's logits are not finite", hint="its weights are damaged; train or export it again")
    wide = logits.astype(np.float64)
    powers = np.exp(wide - wide.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def named(probabilities: np.ndarray, labels: Sequence[str]) -> Label:
    """The likeliest of `labels`."""
    best = int(probabilities.argmax())
    scores = {name: float(p) for name, p in zip(labels, probabilities, strict=True)}
    return Label(labels[best], float(probabilities[best]), scores)
