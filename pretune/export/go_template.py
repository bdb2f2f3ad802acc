"""A chat template for Ollama before 0.30, which reads Go's templates and no Jinja.

    start + before[user] + "Hello" + after[user] + before[assistant]   what a Jinja template writes for most models

The parts are found by writing short dialogues with the Jinja template; dialogues of other lengths must come out of
the parts as the template writes them. A template that does more than put parts around messages has no such parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pretune.base.errors import BadMessages
from pretune.infer.chat import ChatFormat, Message

MARKS = ("\u2460one", "\u2461two", "\u2462three", "\u2463four", "\u2464five")
TALK = ("user", "assistant") * 2
TRIED = (TALK[:1], TALK[:3], (*TALK, "user"), ("system", "user"), ("system", *TALK[:3]))


@dataclass(frozen=True)
class Parts:
    """What stands around messages.

    Args:
        around: by role what is before and behind a message.
        start: before the first message where that is no system message; ask: what asks for a reply.
    """

    around: dict[str, tuple[str, str]]
    start: str
    ask: str

    def text(self, messages: Sequence[Message]) -> str:
        """The dialogue and what asks for a reply."""
        said = "".join(f"{self.around[m['role']][0]}{m['content']}{self.around[m['role']][1]}" for m in messages)
        return ("" if messages[0]["role"] == "system" else self.start) + said + self.ask

    def go(self) -> str | None:
        """The Go template; None where a part would be read as one."""
        roles = "".join(
            f'{{{{ {"else " * bool(k)}if eq .Role "{role}" }}}}{before}{{{{ .Content }}}}{after}'
            for k, (role, (before, after)) in enumerate(self.around.items())
        )
        start = f"{{{{ if .System }}}}{{{{ else }}}}{self.start}{{{{ end }}}}" if self.start else ""
        literals = [self.start, self.ask, *(text for pair in self.around.values() for text in pair)]
        if any("{{" in text or '"""' in text for text in literals):
            return None
        return f"{start}{{{{ range .Messages }}}}{roles}{{{{ end }}}}{{{{ end }}}}{self.ask}"


def parts_of(chat: ChatFormat) -> Parts | None:
    """The parts of a chat template; None where it has none."""
    try:
        found = _found(chat)
    except (BadMessages, ValueError):  # a dialogue that it refuses, or whose messages it writes twice or not at all
        return None
    return (
        found
        if found and all(_same(chat, found, roles) for roles in TRIED if set(roles) <= set(found.around))
        else None
    )


def _found(chat: ChatFormat) -> Parts | None:
    """By dialogues of one, two and three messages."""
    alone, asked = (chat.prompt_text(_dialogue(["user"]), asks=asks) for asks in (False, True))
    before, behind_user = alone.split(MARKS[0])
    _, to_reply, behind_reply = _pieces(chat, ["user", "assistant"])
    *_, to_user, _ = _pieces(chat, ["user", "assistant", "user"])
    fits = asked.startswith(alone) and to_reply.startswith(behind_user) and to_user.startswith(behind_reply)
    open_user = to_user.removeprefix(behind_reply)
    if not fits or not before.endswith(open_user):
        return None
    around = _system(chat, open_user) | {
        "user": (open_user, behind_user),
        "assistant": (to_reply.removeprefix(behind_user), behind_reply),
    }
    return Parts(around, before.removesuffix(open_user), asked.removeprefix(alone))


def _system(chat: ChatFormat, open_user: str) -> dict[str, tuple[str, str]]:
    """What stands around a system message; nothing where the template has none."""
    try:
        before, to_user, _ = _pieces(chat, ["system", "user"])
    except (BadMessages, ValueError):
        return {}
    return {"system": (before, to_user.removesuffix(open_user))} if to_user.endswith(open_user) else {}


def _pieces(chat: ChatFormat, roles: Sequence[str]) -> list[str]:
    """What is written before, between and behind the messages. Raises ValueError: a message is not there once."""
    text, found = chat.prompt_text(_dialogue(roles), asks=False), []
    for mark in MARKS[: len(roles)]:
        before, text = text.split(mark)
        found.append(before)
    return [*found, text]


def _same(chat: ChatFormat, parts: Parts, roles: Sequence[str]) -> bool:
    said = _dialogue(roles)
    return parts.text(said) == chat.prompt_text(said)


def _dialogue(roles: Sequence[str]) -> list[Message]:
    return [{"role": role, "content": mark} for role, mark in zip(roles, MARKS, strict=False)]
