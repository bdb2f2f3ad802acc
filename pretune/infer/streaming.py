"""Tokens in, text out, piece by piece, with nothing shown that would have to be taken back.

A token may hold half a character, and half a stop text may turn out to be the answer. Both are held back
until they are known:

    ids    e4 bd │ a0 │ "E" │ "ND"      stop = ("END",)
    shown  ""    │ 你 │ ""  │ stopped

The pieces in order are the answer: the plain answer is made by joining them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer

HALF = "\ufffd"
"""What a decoder shows for bytes that are no character (yet)."""


@dataclass
class Characters:
    """Whole characters out of tokens; control tokens show as nothing."""

    tokenizer: Tokenizer
    ids: list[int] = field(default_factory=list)
    start: int = 0
    shown: int = 0

    def push(self, token: int) -> str:
        """The text that this token completes, often empty."""
        self.ids.append(token)
        text, before = self._window()
        if text.endswith(HALF):
            return ""
        self.start, self.shown = self.shown, len(self.ids)
        return text[len(before) :]

    def finish(self) -> str:
        """What was held back: bytes that never became a character."""
        text, before = self._window()
        self.shown = len(self.ids)
        return text[len(before) :]

    def _window(self) -> tuple[str, str]:
        """Decoded with the tokens just before, on which a leading space depends."""
        text = self.tokenizer.decode(self.ids[self.start :], skip_special_tokens=True)
        return text, self.tokenizer.decode(self.ids[self.start : self.shown], skip_special_tokens=True)


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
