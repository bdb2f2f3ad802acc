"""Tokens in, text out, piece by piece, with nothing shown that would have to be taken back.

A token may hold half a character, and half a stop text may turn out to be the answer. Both are held back
until they are known:

    ids    e4 bd │ a0 │ "E" │ "ND"      stop = ("END",)
    shown  ""    │ 你 │ ""  │ stopped

The pieces in order are the answer: the plain answer is made by joining them.

Many decoders drop the space in front of the first token that they see (Llama 2: `▁Hello` alone is "Hello"). So an
answer is decoded behind the last tokens of its prompt, and the prompt's own text is taken off again.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import TYPE_CHECKING

from pretune.infer.answers import Finish
from pretune.infer.calls import TAG, Call, read_calls
from pretune.tokens.encode.tokenizer import encode_text, encode_with_controls

if TYPE_CHECKING:
    from tokenizers import Tokenizer

HALF = "\ufffd"
"""What a decoder shows for bytes that are no character (yet)."""
BEFORE = 8
"""Tokens of a prompt that its answer is decoded behind: two characters in bytes."""
PERHAPS = re.compile(
    rf"(?<!\s)\s*(?:{TAG}|(?:{'|'.join(TAG[:n] for n in range(1, len(TAG)))})?\Z|^[ \t]*[\[{{])", re.MULTILINE
)
"""The first place, with all white space before it, from which on a call may begin."""


@dataclass(frozen=True)
class Chosen:
    """A token that was written, and how likely the model found it.

    Args:
        log_p: of this token; `top`: the likeliest in its place, each with its own, the likeliest first.
    """

    token: int
    log_p: float
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class Piece:
    """Some text of an answer, perhaps empty; the last piece says why the answer ended.

    Args:
        num_tokens: tokens written so far, the end token not counted.
        calls: of tools, in the last piece, where they are looked for.
        chosen: the tokens whose text begins in the pieces up to this one and that were not told yet, where asked for.
    """

    text: str
    num_tokens: int
    finish: Finish | None = None
    calls: tuple[Call, ...] = ()
    chosen: tuple[Chosen, ...] = ()


def behind(tokenizer: Tokenizer, prompt_ids: Sequence[int], *, lead: str = "") -> Characters:
    """Characters that go on behind a prompt; `lead` is taken off their beginning, as far as it stands there."""
    last = list(prompt_ids[-BEFORE:])
    controls = {k: t.content for k, t in tokenizer.get_added_tokens_decoder().items() if t.special}
    found = next((k for k in reversed(last) if k in controls), None)
    if found is not None and _begins_anew(tokenizer, controls[found]):
        last = list(takewhile(lambda k: k not in controls, reversed(last)))[::-1]
    return Characters(tokenizer, last, 0, len(last), lead)


def _begins_anew(tokenizer: Tokenizer, control: str) -> bool:
    """Whether a text behind this control token is encoded like one that stands alone, with a space in front if so."""
    return encode_with_controls(tokenizer, control + "x")[1:] == encode_text(tokenizer, "x")


@dataclass
class Characters:
    """Whole characters out of tokens; control tokens show as nothing."""

    tokenizer: Tokenizer
    ids: list[int] = field(default_factory=list)
    start: int = 0
    shown: int = 0
    lead: str = ""

    def push(self, token: int) -> str:
        """The text that this token completes, often empty."""
        self.ids.append(token)
        text, before = self._window()
        if text.endswith(HALF):
            return ""
        self.start, self.shown = self.shown, len(self.ids)
        return self._led(_added(text, before))

    def finish(self) -> str:
        """What was held back: bytes that never became a character."""
        text, before = self._window()
        self.shown = len(self.ids)
        return self._led(_added(text, before))

    def _led(self, text: str) -> str:
        """The text without what is left of the lead."""
        while text and self.lead:
            same = text[0] == self.lead[0]
            text, self.lead = (text[1:], self.lead[1:]) if same else (text, "")
        return text

    def _window(self) -> tuple[str, str]:
        """Decoded with the tokens just before, on which a leading space depends."""
        text = self.tokenizer.decode(self.ids[self.start :], skip_special_tokens=True)
        return text, self.tokenizer.decode(self.ids[self.start : self.shown], skip_special_tokens=True)


def _added(text: str, before: str) -> str:
    """What `text` has behind `before`; half a character at its end may have become a whole one."""
    known = before if text.startswith(before) else before.rstrip(HALF)
    return text[len(known) :]


@dataclass
class StopText:
    """Text up to the first stop text, never showing the beginning of one."""

    stop: tuple[str, ...]
    held: str = ""
    stopped: bool = False

    def push(self, text: str) -> str:
        """What may be shown now; `stopped` turns true when a stop text is complete."""
        self.held += text
        places = [p for s in self.stop if s and (p := self.held.find(s)) >= 0]
        if places:
            self.stopped = True
            return self._show(min(places))
        return self._show(len(self.held) - max((_overlap(self.held, s) for s in self.stop), default=0))

    def finish(self) -> str:
        """What was held back, because the answer ended another way; nothing once it was stopped."""
        return "" if self.stopped else self._show(len(self.held))

    def _show(self, length: int) -> str:
        shown, self.held = self.held[:length], self.held[length:]
        return shown


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that begins `stop`."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)


@dataclass
class Held:
    """A stream in which nothing is shown that may turn out to be a call."""

    text: str = ""
    shown: int = 0

    def push(self, text: str) -> str:
        """What may be shown now."""
        self.text += text
        found = PERHAPS.search(self.text, self.shown)
        assert found is not None, "the end of the text is found at least"
        return self._show(self.text[: found.start()])

    def finish(self) -> tuple[str, tuple[Call, ...]]:
        """The rest of the content, and the calls."""
        content, calls = read_calls(self.text)
        return self._show(content), calls

    def piece(self, piece: Piece) -> Piece:
        """The next piece without what may be a call; the last has the calls, and what else was held back."""
        shown, calls = self.push(piece.text), piece.calls
        if piece.finish:
            rest, calls = self.finish()
            shown += rest
        return replace(piece, text=shown, calls=calls)

    def _show(self, content: str) -> str:
        new, self.shown = content[self.shown :], max(self.shown, len(content))
        return new
