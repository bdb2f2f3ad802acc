"""An answer while it is written: logits in, one token and its text out.

    logits_V ──▶ choose ──▶ token ──▶ characters ──▶ stop texts ──▶ Piece      until a piece says why it is the last

Whoever runs the decoder keeps a draft for each answer: the stream of one (`LanguageModel.stream`) and the batch of many
(`pretune.infer.batching`) make the same text of the same logits.

*V vocabulary.*
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from pretune.infer.answers import Finish
from pretune.infer.sampling import Sampling, choose
from pretune.infer.streaming import Characters, Piece, StopText


@dataclass
class Draft:
    """All that one answer knows while it is written.

    Args:
        written: the ids of the prompt, and of every token since.
        room: tokens that the window leaves; `ends`: tokens that end an answer.
    """

    written: list[int]
    sampling: Sampling
    characters: Characters
    ends: tuple[int, ...]
    room: int
    num_tokens: int = 0
    rng: np.random.Generator = field(init=False)
    stop: StopText = field(init=False)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.sampling.seed)
        self.stop = StopText(self.sampling.stop)

    @property
    def most(self) -> int:
        """Tokens that the answer may have at most."""
        return min(self.sampling.max_tokens, self.room)

    def take(self, logits_V: np.ndarray) -> Piece:
        """Choose the next token by its logits. Raises NotFinite when the model gave no numbers."""
        return self.push(choose(logits_V, self.written, self.sampling, self.rng))

    def push(self, token: int) -> Piece:
        """One token more; the end token is neither shown nor counted."""
        self.written.append(token)
        if token in self.ends:
            return self.last("", "stop")
        self.num_tokens += 1
        text = self.stop.push(self.characters.push(token))
        if self.stop.stopped or self.num_tokens == self.most:
            return self.last(text, finish(self.num_tokens, self.sampling.max_tokens, self.room))
        return Piece(text, self.num_tokens)

    def last(self, text: str, why: Finish) -> Piece:
        """The piece that ends an answer, with what was held back unless a stop text is there."""
        if not self.stop.stopped:
            text += self.stop.push(self.characters.finish()) + self.stop.finish()
        return Piece(text, self.num_tokens, "stop" if self.stop.stopped else why)


def finish(written: int, max_tokens: int, room: int) -> Finish:
    """Why an answer of so many tokens, the end token not counted, went no further."""
    return "stop" if written < min(max_tokens, room) else "length" if written < room else "window"
