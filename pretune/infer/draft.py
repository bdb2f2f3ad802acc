"""An answer while it is written: logits in, one token and its text out.

    logits_V ──▶ choose ──▶ token ──▶ characters ──▶ stop texts ──▶ Piece      until a piece says why it is the last
                   ▲ guide: which tokens may come next, where the answer must have a form

Whoever runs the decoder keeps a draft for each answer: the stream of one (`LanguageModel.stream`) and the batch of many
(`pretune.infer.batching`) make the same text of the same logits.

*V vocabulary.*
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pretune.infer.answers import Finish
from pretune.infer.sampling import Sampling, choose
from pretune.infer.searching import log_softmax
from pretune.infer.streaming import Characters, Chosen, Piece, StopText

if TYPE_CHECKING:
    from pretune.infer.grammar import Guide


@dataclass
class Draft:
    """All that one answer knows while it is written.

    Args:
        written: the ids of the prompt, and of every token since.
        room: tokens that the window leaves; `ends`: tokens that end an answer.
        guide: what the whole answer must be.
        num_tokens: of the answer so far; `made`: characters of their text; `shown`: characters told in pieces.
        waiting: tokens that are not told yet, each with the place in the answer where its text begins.
    """

    written: list[int]
    sampling: Sampling
    characters: Characters
    ends: tuple[int, ...]
    room: int
    guide: Guide | None = None
    num_tokens: int = 0
    made: int = 0
    shown: int = 0
    waiting: list[tuple[int, Chosen]] = field(default_factory=list)
    num_prompt: int = field(init=False)
    rng: np.random.Generator = field(init=False)
    stop: StopText = field(init=False)

    def __post_init__(self) -> None:
        self.num_prompt = len(self.written)
        self.rng = np.random.default_rng(self.sampling.seed)
        self.stop = StopText(self.sampling.stop)

    @property
    def most(self) -> int:
        """Tokens that the answer may have at most."""
        return min(self.sampling.max_tokens, self.room)

    def take(self, logits_V: np.ndarray) -> Piece:
        """Choose the next token by its logits.

        Raises:
            NotFinite: the model gave no numbers; BadGrammar: the guide cannot go on.
        """
        allowed_V = self.guide.allowed(len(logits_V)) if self.guide else None
        settings = self.sampling
        token = choose(logits_V, self.written, settings, self.rng, num_prompt=self.num_prompt, allowed_V=allowed_V)
        if settings.top_logprobs is not None and token not in self.ends:
            self.waiting.append((self.made, chosen(logits_V, token, settings.top_logprobs)))
        return self.push(token)

    def push(self, token: int) -> Piece:
        """One token more; the end token is neither shown nor counted."""
        self.written.append(token)
        if token in self.ends:
            return self.last("", "stop")
        self.num_tokens += 1
        made = self.characters.push(token)
        self.made += len(made)
        text = self.stop.push(made)
        if self._is_whole(token):
            return self.last(text, "stop")
        if self.stop.stopped or self.num_tokens == self.most:
            return self.last(text, finish(self.num_tokens, self.sampling.max_tokens, self.room))
        return Piece(text, self.num_tokens, chosen=self._told(text))

    def _is_whole(self, token: int) -> bool:
        """Whether nothing may follow this token."""
        if self.guide:
            self.guide.push(token)
        return self.guide is not None and self.guide.is_over

    def _told(self, text: str, *, is_last: bool = False) -> tuple[Chosen, ...]:
        """The tokens to tell with this text: whose own begins in it; at the last all but those of a stop text."""
        self.shown += len(text)
        ready = [k for k, (start, _) in enumerate(self.waiting) if start < self.shown or is_last]
        told, self.waiting = self.waiting[: len(ready)], self.waiting[len(ready) :]
        return tuple(one for _, one in told)

    def last(self, text: str, why: Finish) -> Piece:
        """The piece that ends an answer, with what was held back unless a stop text is there."""
        if not self.stop.stopped:
            text += self.stop.push(self.characters.finish()) + self.stop.finish()
        told = self._told(text, is_last=not self.stop.stopped)
        return Piece(text, self.num_tokens, "stop" if self.stop.stopped else why, chosen=told)


def chosen(logits_V: np.ndarray, token: int, num_top: int) -> Chosen:
    """How likely a token is by the model itself, and the likeliest in its place; ties in the order of ids."""
    log_V = log_softmax(logits_V)
    top = np.argsort(-log_V, kind="stable")[:num_top] if num_top else ()
    return Chosen(token, float(log_V[token]), tuple((int(k), float(log_V[k])) for k in top))


def finish(written: int, max_tokens: int, room: int) -> Finish:
    """Why an answer of so many tokens, the end token not counted, went no further."""
    return "stop" if written < min(max_tokens, room) else "length" if written < room else "window"
