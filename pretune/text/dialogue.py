"""Dialogues in their usual shapes, made into one: messages with a role and a content.

{"messages": [{"role": "user", "content": ...}, ...]}                     as it is
{"conversations": [{"from": "human", "value": ...}, ...]}                 sharegpt
{"instruction": ..., "input": ..., "output": ..., "history": [[q, a]]}    alpaca
{"prompt": ..., "completion": ...}
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from pretune.base.errors import BadFile
from pretune.text.clean import mend_surrogates
from pretune.text.example import Dialogue, Message

ROLES = {
    **dict.fromkeys(("user", "human", "prompter"), "user"),
    **dict.fromkeys(("assistant", "gpt", "bot", "model", "chatgpt", "function_call"), "assistant"),
    **dict.fromkeys(("tool", "function", "observation", "ipython"), "tool"),
    **dict.fromkeys(("system", "developer"), "system"),
}
TURNS = ("messages", "conversations", "conversation", "dialogue")
PAIRS = (
    *(("instruction", "output"), ("instruction", "response"), ("prompt", "completion"), ("prompt", "response")),
    *(("question", "answer"), ("query", "response")),
)


def is_dialogue(names: Collection[str]) -> bool:
    """Whether a record with these keys is a dialogue."""
    return any(t in names for t in TURNS) or any(a in names and b in names for a, b in PAIRS)


def to_dialogue(record: Mapping[str, Any], origin: str) -> Dialogue:
    """The dialogue in a record; raises BadFile, naming `origin`, for a turn without role or text."""
    turns = next((record[t] for t in TURNS if record.get(t)), None)
    messages = _turns(turns, origin) if turns is not None else _pair(record, origin)
    system = record.get("system")
    if isinstance(system, str) and system and not (messages and messages[0].role == "system"):
        messages = [_message("system", system, origin), *messages]
    return Dialogue(tuple(messages), origin, _keywords(record.get("keywords")))


def _turns(turns: Any, origin: str) -> list[Message]:
    if not isinstance(turns, list) or not all(isinstance(t, dict) for t in turns):
        raise BadFile(f"{origin}: the turns of a dialogue must be a list of objects")
    return [_message(t.get("role", t.get("from")), t.get("content", t.get("value")), origin) for t in turns]


def _message(role: Any, content: Any, origin: str) -> Message:
    if isinstance(content, list):  # parts, as OpenAI ("text") and LLaMA-Factory ("value") write them
        content = "".join(str(p.get("text", p.get("value", ""))) for p in content if isinstance(p, dict))
    known = ROLES.get(str(role).lower())
    if known is None:
        raise BadFile(f"{origin}: unknown role {role!r}", hint=f"known roles: {', '.join(ROLES)}")
    if content is not None and not isinstance(content, str):
        raise BadFile(f"{origin}: the content of a turn must be text, not {type(content).__name__}")
    return Message(known, mend_surrogates(content or ""))


def _pair(record: Mapping[str, Any], origin: str) -> list[Message]:
    names = next(((a, b) for a, b in PAIRS if a in record and b in record), None)
    if names is None:
        there = ", ".join(map(str, record)) or "nothing"
        hint = "a dialogue has messages, conversations, or instruction and output"
        raise BadFile(f"{origin} is no dialogue; it has: {there}", hint=hint)
    messages = []
    for asked, said in record.get("history") or []:
        messages += [_message("user", asked, origin), _message("assistant", said, origin)]
    asked = "\n".join(str(p) for p in (record[names[0]], record.get("input")) if p)
    return [*messages, _message("user", asked, origin), _message("assistant", record[names[1]], origin)]


def _keywords(value: Any) -> tuple[str, ...]:
    words = value.split(",") if isinstance(value, str) else value or []
    return tuple(mend_surrogates(str(w).strip()) for w in words if str(w).strip())


def has_reply(dialogue: Dialogue) -> bool:
    """Whether there is anything to learn: an assistant's turn with text."""
    return any(m.role == "assistant" and m.content.strip() for m in dialogue.messages)
