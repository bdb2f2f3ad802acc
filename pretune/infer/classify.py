"""From label logits to labels with probabilities; and the one place that frames a row for a classifier.

encoder   [cls] ids [sep]      the first position is scored
decoder   ids [eos]            the last position is scored
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from pretune.base.errors import NotFinite, NotSupported
from pretune.infer.answers import Answer, Label
from pretune.infer.compare import compare_labels
from pretune.infer.engine import Encoder
from pretune.infer.predictor import Advance, Difference, Facts, unheard
from pretune.tokens.encode.tokenizer import encode_texts, load_tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from pretune.tokens.encode.tokenizer import Specials

Architecture = Literal["encoder", "decoder"]
TEXTS_AT_ONCE = 128


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
    """A predictor that gives a text one of its labels."""

    encoder: Encoder
    tokenizer: Tokenizer
    labels: list[str]
    max_length: int
    frame: Frame = Frame()
    task: str = "classify"

    @property
    def facts(self) -> Facts:
        before, after = self.frame.before, self.frame.after
        return Facts(self.task, Label.kind, self.max_length, tuple(self.labels), before=before, after=after)

    @property
    def gives(self) -> type[Answer]:
        return Label

    @property
    def engine(self) -> Encoder:
        return self.encoder

    def rows(self, texts: Iterable[str]) -> list[list[int]]:
        """One row per text, at most `max_length` tokens, frame included. Raises NotSupported for other inputs."""
        texts = list(texts)
        if any(not isinstance(text, str) for text in texts):
            raise NotSupported("a classifier reads texts, not dialogues", hint="give a dataset with labels")
        return [self.frame.row(ids, self.max_length) for ids in encode_texts(self.tokenizer, texts)]

    def answer(
        self, inputs: Sequence[str], *, max_tokens: int = 256, strict: bool = True, advance: Advance = unheard
    ) -> list[Answer]:
        """The likeliest label of every text, in the order of the texts; a text that is too long loses its end."""
        found: list[Answer] = []
        for start in range(0, len(inputs), TEXTS_AT_ONCE):
            rows = self.rows(inputs[start : start + TEXTS_AT_ONCE])
            found += [named(row, self.labels) for row in softmax(np.stack(self.encoder.logits(rows)))]
            advance(len(rows))
        return found

    def compare(
        self, other: TextClassifier, inputs: Sequence[str], *, most_written: int = 20, num_tokens: int = 32
    ) -> Difference:
        return compare_labels(self, other, inputs)


def of_facts(encoder: Encoder, folder: Path, facts: Facts) -> TextClassifier:
    """An engine with the tokenizer of a folder."""
    assert facts.labels is not None, "a classifier has labels"
    frame = Frame(facts.before, facts.after)
    tokenizer = load_tokenizer(folder)
    return TextClassifier(encoder, tokenizer, list(facts.labels), facts.max_length, frame, facts.task)


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
