"""From the logits of a row to a label, labels or a score; and the one place that frames a row for a classifier.

          one text             two that are compared
encoder   [cls] ids [sep]      [cls] ids [sep] ids [sep]     the first position is scored
decoder   ids [eos]            ids [eos] ids [eos]           the last position is scored

Where the model has token types (BERT), those of the second text and its end are 1. RoBERTa has two [sep] in the middle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from pretune.base.errors import NotFinite, NotSupported
from pretune.infer.answers import Answer, Label, Labels, Score, Shares
from pretune.infer.chat import ChatFormat, reply_ids
from pretune.infer.compare import compare_rows, handicaps_of, temperature_of
from pretune.infer.engine import Encoder
from pretune.infer.predictor import Advance, Difference, Facts, unheard
from pretune.tokens.encode.tokenizer import chat_template, encode_texts, load_tokenizer, special_ids

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from pretune.tokens.encode.tokenizer import Specials

Architecture = Literal["encoder", "decoder"]
Given: TypeAlias = str | tuple[str, str]
"""A text, or two that are compared."""
TEXTS_AT_ONCE = 128


# ---- rows ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Frame:
    """The control tokens before, after and between a classifier's texts."""

    before: tuple[int, ...] = ()
    after: tuple[int, ...] = ()
    between: tuple[int, ...] = ()

    def row(self, ids: Sequence[int], max_length: int) -> list[int]:
        """The text's tokens in their frame; a long text loses its end, never the frame."""
        (read,) = self.places([len(ids)], max_length)
        return [*self.before, *ids[: len(read)], *self.after]

    def pair(self, first: Sequence[int], second: Sequence[int], max_length: int) -> list[int]:
        """Two texts in their frame; the longer one loses its end first, down to half of the room."""
        one, two = self.places([len(first), len(second)], max_length)
        return [*self.before, *first[: len(one)], *self.between, *second[: len(two)], *self.after]

    def places(self, lengths: Sequence[int], max_length: int) -> list[range]:
        """The positions in a row of the tokens that are read of one text, or of each of two, of these lengths."""
        parts = [*self.before, *(self.between if len(lengths) == 2 else ()), *self.after]
        room, begin = max(max_length - len(parts), 0), len(self.before)
        if len(lengths) == 1:
            return [range(begin, begin + min(lengths[0], room))]
        kept = min(lengths[1], max(room - lengths[0], room // 2))
        first = range(begin, begin + min(lengths[0], room - kept))
        return [first, range(first.stop + len(self.between), first.stop + len(self.between) + kept)]

    def rows(self, tokenizer: Tokenizer, inputs: Sequence[Given], max_length: int) -> list[list[int]]:
        """One row per input, at most `max_length` tokens, the frame included."""
        firsts = [one if isinstance(one, str) else one[0] for one in inputs]
        coded = encode_texts(tokenizer, [*firsts, *(one[1] for one in inputs if not isinstance(one, str))])
        seconds = iter(coded[len(firsts) :])
        return [
            self.row(ids, max_length) if isinstance(one, str) else self.pair(ids, next(seconds), max_length)
            for one, ids in zip(inputs, coded, strict=False)
        ]


def frame_for(architecture: Architecture, specials: Specials, *, separators: int = 1) -> Frame:
    """The frame of an encoder ([cls] ... [sep]) or a decoder (... [eos]).

    Args:
        separators: that stand between two texts of an encoder.

    Raises:
        NotSupported: the tokenizer lacks the tokens.
    """
    if architecture == "encoder":
        if specials.cls is None or specials.sep is None:
            hint = "give tokenizer_config.json a cls_token and a sep_token"
            raise NotSupported("the tokenizer of this encoder has no [CLS] and [SEP]", hint=hint)
        return Frame((specials.cls,), (specials.sep,), (specials.sep,) * separators)
    if specials.eos is None:
        raise NotSupported("the tokenizer of this decoder has no eos_token", hint="name one in tokenizer_config.json")
    return Frame((), (specials.eos,), (specials.eos,))


# ---- answers ------------------------------------------------------------------------------------


def label_answers(logits_BC: np.ndarray, facts: Facts) -> list[Answer]:
    """The likeliest label of each row, its probability over its threshold where there are some; none, or the one for
    such texts, where no label is likely enough."""
    assert facts.labels is not None, "a classifier has labels"
    chances_BC = softmax(logits_BC / temperature_of(facts))
    columns = {name: number for number, name in enumerate(facts.labels)}
    best_B = (logits_BC - handicaps_of(facts)).argmax(axis=1).tolist()
    top_B = chances_BC[np.arange(len(best_B)), best_B].tolist()
    found = [Label(facts.labels[best_B[k]], top_B[k], Shares(columns, chances_BC, k)) for k in range(len(best_B))]
    least = facts.more.get("reject", 0.0)
    return [one if one.score >= least else replace(one, name=facts.more["rejected"], rejected=True) for one in found]


def labels_answers(logits_BC: np.ndarray, facts: Facts) -> list[Answer]:
    """The labels of each row whose probability reaches their threshold, 0.5 where none was chosen."""
    assert facts.labels is not None, "a classifier has labels"
    names, thresholds = facts.labels, facts.more.get("thresholds") or (0.5,) * len(facts.labels)
    chances_BC, columns = sigmoid(logits_BC / temperature_of(facts)), {name: k for k, name in enumerate(names)}
    holds_BC = (chances_BC >= np.asarray(thresholds)).tolist()
    return [
        Labels(tuple(compress(names, holds)), Shares(columns, chances_BC, row)) for row, holds in enumerate(holds_BC)
    ]


def score_answers(logits_BC: np.ndarray, facts: Facts) -> list[Answer]:
    """The number of each row, in the unit of the training data."""
    mean, std = facts.more.get("scale") or (0.0, 1.0)
    return [Score(mean + std * float(value)) for value in finite(logits_BC)[:, 0]]


ANSWERS: Mapping[str, tuple[type[Answer], Callable[[np.ndarray, Facts], list[Answer]]]] = {
    "label": (Label, label_answers),
    "labels": (Labels, labels_answers),
    "score": (Score, score_answers),
}
"""Kind of answer -> its type, and what makes it of logits."""


@dataclass(frozen=True)
class TextClassifier:
    """A predictor that gives a text, or two that are compared, one label, several labels, or a number.

    Args:
        chat: how dialogues are written, where the last reply of one gets the number; two texts are a question and its
            reply then.
    """

    encoder: Encoder
    tokenizer: Tokenizer
    facts: Facts
    chat: ChatFormat | None = None

    @property
    def frame(self) -> Frame:
        return Frame(self.facts.before, self.facts.after, self.facts.between)

    @property
    def gives(self) -> type[Answer]:
        return ANSWERS[self.facts.answers][0]

    @property
    def engine(self) -> Encoder:
        return self.encoder

    def rows(self, inputs: Iterable[Given]) -> list[list[int]]:
        """One row per input, at most `max_length` tokens, frame included. Raises NotSupported for other inputs."""
        inputs = list(inputs)
        if self.chat is not None:
            return [reply_ids(self.chat, one, self.facts.max_length) for one in inputs]
        if not all(isinstance(one, str) or _is_pair(one) for one in inputs):
            raise NotSupported("a classifier reads texts, or two at a time, not dialogues", hint="give it such data")
        return self.frame.rows(self.tokenizer, inputs, self.facts.max_length)

    def logits(self, inputs: Sequence[Given]) -> np.ndarray:
        """float32 [inputs, labels]. Raises NotSupported for inputs that are no texts."""
        return np.stack(self.encoder.logits(self.rows(inputs)))

    def answer(
        self, inputs: Sequence[Given], *, max_tokens: int = 256, strict: bool = True, advance: Advance = unheard
    ) -> list[Answer]:
        """An answer to every text, in the order of the texts; a text that is too long loses its end."""
        if self.chat is not None and any(isinstance(one, str) for one in inputs):
            hint = "give two texts, the question and its reply (of a table: columns text and second), or messages"
            raise NotSupported("this model gives a reply a number, and a text alone is no reply", hint=hint)
        found: list[Answer] = []
        for start in range(0, len(inputs), TEXTS_AT_ONCE):
            part = inputs[start : start + TEXTS_AT_ONCE]
            found += ANSWERS[self.facts.answers][1](self.logits(part), self.facts)
            advance(len(part))
        return found

    def compare(
        self, other: TextClassifier, inputs: Sequence[Given], *, most_written: int = 20, num_tokens: int = 32
    ) -> Difference:
        return compare_rows(self, other, inputs)


def _is_pair(one: object) -> bool:
    return isinstance(one, tuple) and len(one) == 2 and all(isinstance(text, str) for text in one)


def of_facts(encoder: Encoder, folder: Path, facts: Facts) -> TextClassifier:
    """An engine with the tokenizer of a folder."""
    tokenizer, template = load_tokenizer(folder), chat_template(folder)
    reads_replies = facts.more.get("reads") == "dialogue"
    chat = ChatFormat(template, tokenizer, special_ids(folder)) if template and reads_replies else None
    return TextClassifier(encoder, tokenizer, facts, chat)


def finite(logits: np.ndarray) -> np.ndarray:
    """Logits in float64. Raises NotFinite."""
    if not np.isfinite(logits).all():
        raise NotFinite("the model's logits are not finite", hint="its weights are damaged; train or export it again")
    return logits.astype(np.float64)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities over the last axis, in float64. Raises NotFinite."""
    wide = finite(logits)
    powers = np.exp(wide - wide.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """The probability of each by itself, in float64. Raises NotFinite."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * finite(logits))))
