"""A language model that answers: prompt tokens in, text out, as a stream or at once.

The plain answer is the stream joined, so the two cannot differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pretune.base.errors import NotSupported, TooLong
from pretune.infer.chat import ChatFormat, Message
from pretune.infer.engine import Decoder
from pretune.infer.sampling import GREEDY, Sampling, choose
from pretune.infer.streaming import Characters, StopText, behind
from pretune.tokens.encode.tokenizer import encode_text

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Finish = Literal["stop", "length"]
ROWS_AT_ONCE = 32


@dataclass(frozen=True)
class Piece:
    """Some text of an answer, perhaps empty; the last piece says why the answer ended.

    Args:
        num_tokens: tokens written so far, the end token not counted.
    """

    text: str
    num_tokens: int
    finish: Finish | None = None


@dataclass(frozen=True)
class Reply:
    """A whole answer."""

    text: str
    finish: Finish
    num_prompt_tokens: int
    num_tokens: int


@dataclass(frozen=True)
class LanguageModel:
    """A decoder with its tokenizer.

    Args:
        eos_ids: tokens that end an answer.
        chat: how messages are written; None for a model that only completes text.
    """

    decoder: Decoder
    tokenizer: Tokenizer
    eos_ids: tuple[int, ...]
    chat: ChatFormat | None = None

    def stream(self, prompt_ids: Sequence[int], sampling: Sampling) -> Iterator[Piece]:
        """Pieces of the answer, one per token; close the iterator to stop early.

        Raises:
            TooLong: the prompt fills the model's window.
        """
        characters, stop = self._characters(prompt_ids), StopText(sampling.stop)
        num_tokens, finish = 0, "length"
        for token in self._tokens(list(prompt_ids), sampling):
            if token in self.eos_ids:
                finish = "stop"
                break
            num_tokens += 1
            yield Piece(stop.push(characters.push(token)), num_tokens)
            if stop.stopped:
                break
        rest = "" if stop.stopped else stop.push(characters.finish()) + stop.finish()
        yield Piece(rest, num_tokens, "stop" if stop.stopped or finish == "stop" else "length")

    def _tokens(self, prompt_ids: list[int], sampling: Sampling) -> Iterator[int]:
        """At most `max_tokens` tokens, fewer where the window ends; the end token is among them."""
        rng, state, fresh = np.random.default_rng(sampling.seed), self.decoder.start(), prompt_ids
        written = list(prompt_ids)
        for _ in range(min(sampling.max_tokens, self.room(prompt_ids))):
            logits_BV, state = self.decoder.feed(state, np.asarray([fresh], dtype=np.int64))
            token = choose(logits_BV[0], written, sampling, rng)
            written.append(token)
            fresh = [token]
            yield token

    def room(self, prompt_ids: Sequence[int]) -> int:
        """How many tokens an answer may have. Raises TooLong when it is none."""
        room = self.decoder.max_length - len(prompt_ids)
        if room < 1:
            problem = f"the prompt has {len(prompt_ids)} tokens, and this model reads {self.decoder.max_length} in all"
            raise TooLong(problem, hint="shorten the prompt, or drop the oldest messages")
        return room

    def chat_prompt(self, messages: Sequence[Message], tools: Sequence[Any] | None = None) -> list[int]:
        """The tokens that ask for a reply. Raises NotSupported without a chat template, and BadMessages."""
        if self.chat is None:
            hint = "complete text with it, or fine-tune it: pretune finetune MODEL DIALOGUES task=chat"
            raise NotSupported("this model has no chat template", hint=hint)
        return self.chat.prompt_ids(messages, tools)

    def text_prompt(self, text: str) -> list[int]:
        """The tokens of a text to go on with, behind what the model was trained to see first.

        That is the tokenizer's own bos where it puts one; an empty prompt is the end of another text.
        """
        first = self.tokenizer.encode("", add_special_tokens=True).ids[:1]
        before = [token for token in first if token not in self.eos_ids]
        ids = [*before, *encode_text(self.tokenizer, text)]
        return ids or list(self.eos_ids[:1])

    def answer(self, prompt_ids: Sequence[int], sampling: Sampling) -> Reply:
        """The stream, joined."""
        pieces = list(self.stream(prompt_ids, sampling))
        finish = pieces[-1].finish
        assert finish is not None, "the last piece of a stream says why it ended"
        return Reply("".join(piece.text for piece in pieces), finish, len(prompt_ids), pieces[-1].num_tokens)

    def reply(self, messages: Sequence[Message], sampling: Sampling = GREEDY) -> Reply:
        """The next turn of a dialogue."""
        return self.answer(self.chat_prompt(messages), sampling)

    def complete(self, text: str, sampling: Sampling = GREEDY) -> Reply:
        """How a text goes on; the text itself is not repeated."""
        return self.answer(self.text_prompt(text), sampling)

    def text_of(self, prompt_ids: Sequence[int], ids: Iterable[int]) -> str:
        """The text of tokens that were written behind a prompt, as `stream` gives it."""
        characters = self._characters(prompt_ids)
        return "".join([*(characters.push(token) for token in ids), characters.finish()])

    def _characters(self, prompt_ids: Sequence[int]) -> Characters:
        return behind(self.tokenizer, prompt_ids, lead=self.chat.lead(prompt_ids) if self.chat else "")

    def generate_many(self, prompts: Sequence[Sequence[int]], max_tokens: int) -> list[list[int]]:
        """Greedy tokens for every prompt, without the end token.

        Prompts of one length go together, so no padding is needed and each answer is the one it gets alone.

        Raises:
            TooLong: a prompt fills the model's window.
        """
        answers: list[list[int]] = [[] for _ in prompts]
        for group in equal_lengths(prompts):
            found = self._greedy(np.asarray([prompts[k] for k in group], dtype=np.int64), max_tokens)
            for k, answer in zip(group, found, strict=True):
                answers[k] = answer
        return answers

    def _greedy(self, fresh_BL: np.ndarray, max_tokens: int) -> list[list[int]]:
        room = min(max_tokens, self.room(fresh_BL[0]))
        state, open_rows = self.decoder.start(), set(range(len(fresh_BL)))
        answers: list[list[int]] = [[] for _ in fresh_BL]
        for _ in range(room):
            logits_BV, state = self.decoder.feed(state, fresh_BL)
            best_B = logits_BV.argmax(axis=-1)
            open_rows -= {k for k in open_rows if int(best_B[k]) in self.eos_ids}
            for k in open_rows:
                answers[k].append(int(best_B[k]))
            if not open_rows:
                break
            fresh_BL = best_B[:, None].astype(np.int64)
        return answers


def equal_lengths(rows: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Numbers of rows that have one length, at most 32 together, the longest first."""
    by_length: dict[int, list[int]] = {}
    for k, row in enumerate(rows):
        by_length.setdefault(len(row), []).append(k)
    for length in sorted(by_length, reverse=True):
        group = by_length[length]
        yield from (group[i : i + ROWS_AT_ONCE] for i in range(0, len(group), ROWS_AT_ONCE))
