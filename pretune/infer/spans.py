"""From start and end logits to a piece of the context; and the one place that frames a question and its context.

encoder   [cls] question [sep] window [sep]      the first position says that the window has no answer
decoder   question [eos] window [eos]            the last position does

A context that does not fit is read in several windows, of which neighbours share `stride` tokens. The windows of a
question are scored together: the best piece of any of them; and no answer only if every window says so.

*L positions, C tokens of the context in a window.*
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pretune.base.errors import NoTarget, NotSupported
from pretune.infer.answers import Answer, Span
from pretune.infer.classify import Frame, softmax
from pretune.infer.compare import TEXTS, compare_spans
from pretune.infer.engine import Encoder
from pretune.infer.predictor import Advance, Difference, Facts, unheard
from pretune.tokens.encode.tokenizer import Place, encode_texts, encode_with_places, load_tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Asked = Mapping[str, str]
"""A `question` and its `context`."""
QUESTIONS_AT_ONCE = 32
LONGEST = 50
"""Tokens of an answer at most; without a limit a start and an end of two different answers make one."""
DEFAULT_STRIDE = 64
"""Tokens that neighbouring windows share, of models that say nothing of it."""
N_BEST, NUM_OTHERS = 20, 4
"""Pieces that share the probability, and those that are given next to the best."""


@dataclass(frozen=True)
class Window:
    """A row, and what of the context is in it.

    Args:
        ids: the whole row.
        null: the position that says "no answer"; at: that of the first token of the context.
        places: characters of the context that each of its tokens in this window stands for.
        first: number of the first of these tokens in the whole context.
    """

    ids: list[int]
    null: int
    at: int
    places: list[Place]
    first: int


@dataclass(frozen=True)
class Reader:
    """How questions and contexts become windows: the same for training and serving."""

    tokenizer: Tokenizer
    frame: Frame
    max_length: int
    stride: int

    def windows(self, asked: Sequence[Asked]) -> list[list[Window]]:
        """The windows of each question, at least one. Raises NoTarget when none fits into `max_length`."""
        questions = encode_texts(self.tokenizer, [one["question"] for one in asked])
        contexts = encode_with_places(self.tokenizer, [one["context"] for one in asked])
        return [self._windows(q, ids, places) for q, (ids, places) in zip(questions, contexts, strict=True)]

    def _windows(self, question: Sequence[int], ids: Sequence[int], places: Sequence[Place]) -> list[Window]:
        frame = self.frame
        room = self.max_length - len(frame.before) - 2 * len(frame.after)
        if room < 2:
            raise NoTarget(f"max_length={self.max_length} has no room for a context", hint="raise max_length")
        asked = [*frame.before, *question[: room // 2], *frame.after]  # half of a row is the context's, at least
        room = self.max_length - len(asked) - len(frame.after)
        shared = min(self.stride, room // 2)
        found = []
        for first in range(0, max(len(ids) - shared, 1), room - shared):
            row = [*asked, *ids[first : first + room], *frame.after]
            null = 0 if frame.before else len(row) - 1
            found.append(Window(row, null, len(asked), list(places[first : first + room]), first))
        return found


@dataclass(frozen=True)
class SpanFinder:
    """A predictor that finds the answer to a question in its context.

    Args:
        no_answer: how far "no answer" must be ahead of the best piece to be given; None: a piece is always given.
    """

    encoder: Encoder
    reader: Reader
    no_answer: float | None = None
    task: str = "answer"

    @property
    def facts(self) -> Facts:
        frame, more = self.reader.frame, {"stride": self.reader.stride, "no_answer": self.no_answer}
        return Facts(self.task, Span.kind, self.reader.max_length, before=frame.before, after=frame.after, more=more)

    @property
    def gives(self) -> type[Answer]:
        return Span

    @property
    def engine(self) -> Encoder:
        return self.encoder

    def answer(
        self, inputs: Sequence[Asked], *, max_tokens: int = 256, strict: bool = True, advance: Advance = unheard
    ) -> list[Answer]:
        """The best piece of each context, or an empty one; however long the context is. Raises NotSupported."""
        return [*self.spans(inputs, advance=advance)]

    def spans(self, inputs: Sequence[Asked], *, advance: Advance = unheard) -> list[Span]:
        """What `answer` gives."""
        check_asked(inputs)
        found: list[Span] = []
        for start in range(0, len(inputs), QUESTIONS_AT_ONCE):
            part = inputs[start : start + QUESTIONS_AT_ONCE]
            windows = self.reader.windows(part)
            scored = iter(self.encoder.logits([one.ids for some in windows for one in some]))
            for asked, some in zip(part, windows, strict=True):
                found.append(self._best(asked["context"], [(one, next(scored)) for one in some]))
            advance(len(part))
        return found

    def _best(self, context: str, scored: Sequence[tuple[Window, np.ndarray]]) -> Span:
        pieces, null = best_pieces(context, scored)
        if not pieces:
            return Span("", -1, 1.0)
        (best, _), margin = pieces[0], null - pieces[0][1]
        is_none = self.no_answer is not None and margin > self.no_answer
        # What must be ahead to be given has that much less of the probability: the likeliest is what is given.
        rival = [] if self.no_answer is None else [null - self.no_answer]
        shares = softmax(np.array([*(score for _, score in pieces), *rival]))
        spans = [
            Span(context[start:end], start, float(share))
            for ((start, end), _), share in zip(pieces, shares[: len(pieces)], strict=True)
        ]
        others = tuple(spans[:NUM_OTHERS] if is_none else spans[1 : NUM_OTHERS + 1])
        if is_none:
            return Span("", -1, float(shares[-1]), others, margin)
        return Span(context[slice(*best)], best[0], spans[0].score, others, margin)

    def compare(
        self, other: SpanFinder, inputs: Sequence[Any], *, most_written: int = 20, num_tokens: int = 32
    ) -> Difference:
        """Texts alone are taken as questions about one context that fills several windows."""
        long = "\n".join(TEXTS * (1 + self.reader.max_length // 100))
        asked = [{"question": one, "context": long} if isinstance(one, str) else one for one in inputs]
        rows = [[w.ids for some in one.reader.windows(asked) for w in some] for one in (self, other)]
        return compare_spans(self.encoder, other.encoder, *rows, texts=len(asked))


def check_asked(inputs: Sequence[Any]) -> None:
    """Raise NotSupported for what is no question with its context."""
    for one in inputs:
        if not isinstance(one, Mapping) or not {"question", "context"} <= {*one}:
            hint = 'give {"question": "...", "context": "..."}; `pretune predict MODEL --question "..." CONTEXT`'
            raise NotSupported("this model finds answers in a context, and here is none", hint=hint)


def best_pieces(context: str, scored: Sequence[tuple[Window, np.ndarray]]) -> tuple[list[tuple[Place, float]], float]:
    """The best pieces of a context with their scores (start and end logit together), and the score of "no answer".

    Args:
        scored: each window with its logits [L or more, 2].
    """
    found: dict[Place, float] = {}
    for window, logits_L2 in scored:
        for place, score in _pieces(context, window, logits_L2.astype(np.float64)):
            found[place] = max(score, found.get(place, -np.inf))
    ranked = sorted(found.items(), key=lambda one: (-one[1], one[0]))[:N_BEST]
    return ranked, min(float(logits_L2[window.null].astype(np.float64).sum()) for window, logits_L2 in scored)


def _pieces(context: str, window: Window, logits_L2: np.ndarray) -> list[tuple[Place, float]]:
    """The best pieces of one window, white space around them taken off."""
    number = len(window.places)
    starts_C, ends_C = logits_L2[window.at : window.at + number].T
    numbers = np.arange(number)
    length_CC = numbers[None, :] - numbers[:, None]
    sums_CC = np.where((length_CC >= 0) & (length_CC < LONGEST), starts_C[:, None] + ends_C[None, :], -np.inf)
    flat = sums_CC.ravel()
    best = np.argpartition(-flat, min(N_BEST, len(flat)) - 1)[:N_BEST] if number else flat[:0]
    pairs = [(divmod(int(k), number), float(flat[k])) for k in best if flat[k] > -np.inf]
    places = [((window.places[a][0], window.places[b][1]), score) for (a, b), score in pairs]
    return [(trimmed(context, place), score) for place, score in places if context[slice(*place)].strip()]


def trimmed(text: str, place: Place) -> Place:
    """A place without the white space at its ends."""
    said = text[slice(*place)]
    start = place[0] + len(said) - len(said.lstrip())
    return start, start + len(said.strip())


def of_facts(encoder: Encoder, folder: Path, facts: Facts) -> SpanFinder:
    """An engine with the tokenizer of a folder."""
    frame = Frame(facts.before, facts.after)
    reader = Reader(load_tokenizer(folder), frame, facts.max_length, facts.more.get("stride", DEFAULT_STRIDE))
    return SpanFinder(encoder, reader, facts.more.get("no_answer"), facts.task)
