"""Dialogues: replies that say nothing, none at all, turns out of order, roles that nobody has."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

from pretune.text.dataset.doctor.fields import Piece, same_text
from pretune.text.dataset.doctor.findings import Level, Row, RowCheck
from pretune.text.dataset.example import Dialogue, Message

PLACEHOLDERS = frozenset(
    map(
        same_text,
        [
            *(
                "n/a",
                "na",
                "none",
                "null",
                "nil",
                "todo",
                "tbd",
                "undefined",
                "nan",
                "[empty]",
                "<noinput>",
                "no reply",
            ),
            *(
                "no response",
                "no answer",
                "[deleted]",
                "[removed]",
                "无",
                "空",
                "暂无",
                "无内容",
                "待补充",
                "略",
                "省略",
            ),
        ],
    )
)
"""What stands where an answer was to be written, by `same_text`."""
SPOKEN = ("user", "assistant")


def says_nothing(message: Message) -> bool:
    """Whether a turn has no content: empty, marks alone, or a placeholder; a call of a tool is content.

    An emoji is content, and so is "1".
    """
    if message.calls.strip():
        return False
    plain = same_text(message.content)
    return not has_content(plain) or plain in PLACEHOLDERS or plain.rstrip(".。") in PLACEHOLDERS


def has_content(text: str) -> bool:
    """Whether there is a letter, a figure or a picture (an emoji) among the marks."""
    return any((kind := unicodedata.category(c))[0] in "LN" or kind == "So" for c in text)


class EmptyReply(RowCheck):
    """Replies without content: a model learns to say nothing."""

    kind: str = "empty-reply"
    shapes: ClassVar[tuple[str, ...]] = ("dialogue",)
    advice: ClassVar[str] = "Write the reply or leave the dialogue out."
    claim: ClassVar[str] = "with a reply without content"

    def is_wrong(self, row: Row, pieces: Sequence[Piece]) -> bool:
        return any(m.role == "assistant" and says_nothing(m) for m in row.example.messages)


class NoReply(RowCheck):
    """Dialogues in which nobody answers: there is nothing to learn."""

    kind: str = "no-reply"
    level: ClassVar[Level] = "error"
    shapes: ClassVar[tuple[str, ...]] = ("dialogue",)
    advice: ClassVar[str] = "Leave them out, or look whether the roles were read rightly."
    claim: ClassVar[str] = "without a turn of the assistant"

    def is_wrong(self, row: Row, pieces: Sequence[Piece]) -> bool:
        return all(m.role != "assistant" for m in row.example.messages)


class Turns(RowCheck):
    """Turns out of order: the assistant begins, one speaks twice in a row, the user has the last word."""

    kind: str = "turns"
    shapes: ClassVar[tuple[str, ...]] = ("dialogue", "preference")
    advice: ClassVar[str] = (
        "Join turns of one speaker; cut the dialogue after its last reply, before its first question."
    )
    claim: ClassVar[str] = "with turns out of order"

    def is_wrong(self, row: Row, pieces: Sequence[Piece]) -> bool:
        messages = row.example.messages
        spoken = [m.role for m in messages if m.role in SPOKEN]
        if not spoken or spoken[0] == "assistant":
            return bool(spoken)
        last = "assistant" if isinstance(row.example, Dialogue) else "user"
        pairs = pairwise(messages)
        return spoken[-1] != last or any(a.role == b.role and a.role in SPOKEN for a, b in pairs)


class Roles(RowCheck):
    """Roles that nobody has, a system message that is not the first, a tool's answer that nobody asked for."""

    kind: str = "roles"
    shapes: ClassVar[tuple[str, ...]] = ("dialogue", "preference")
    advice: ClassVar[str] = "Roles are system (first), user, assistant, and tool after a call."
    claim: ClassVar[str] = "with a role that is unknown or out of place"

    def is_wrong(self, row: Row, pieces: Sequence[Piece]) -> bool:
        messages = row.example.messages
        unknown = any(m.role not in (*SPOKEN, "system", "tool") for m in messages)
        late = any(m.role == "system" for m in messages[1:])
        pairs = zip((None, *messages), messages, strict=False)
        return unknown or late or any(m.role == "tool" and not _calls(before) for before, m in pairs)


def _calls(message: Message | None) -> bool:
    """Whether a tool may speak after this turn: it calls one, or is the answer of another."""
    return message is not None and bool(message.calls or message.role == "tool")
