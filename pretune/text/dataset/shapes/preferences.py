"""Shape preference: a dialogue's beginning, a reply that is preferred and one that is not.

{"prompt": "...", "chosen": "...", "rejected": "..."}                             DPO
{"conversations": [...], "chosen": {"from": "gpt", "value": "..."}, ...}          LLaMA-Factory's
{"chosen": [{"role": ...}, ...], "rejected": [{"role": ...}, ...]}                whole dialogues: their last replies
{"chosen": "\\n\\nHuman: ...\\n\\nAssistant: ...", "rejected": "..."}             Anthropic's
{"messages": [...], "label": true}                                                KTO: one reply, good or not
{"prompt": "...", "completion": "...", "label": false}                            also `kto_tag`

Where only one reply was judged, the other is "".
"""

from __future__ import annotations

import re

from pretune.text.dataset.example import Example, Message, Preference
from pretune.text.dataset.shapes.converter import Convert, Notes, Record, columns_read
from pretune.text.dataset.shapes.dialogues import (
    begun,
    has_reply_column,
    has_turns,
    message_of,
    messages_of,
    prompt_messages,
    read_dialogues,
)
from pretune.text.read.columns import Table
from pretune.text.read.values import kind_of, mend_surrogates, wrong

JUDGED = ("label", "kto_tag", "liked")
SPEAKER = re.compile(r"\n\n(Human|Assistant): ?")


def has_preferences(table: Table) -> bool:
    return (table.column("chosen") is not None and table.column("rejected") is not None) or _verdict(table) is not None


def _verdict(table: Table) -> str | None:
    """The column that says true or false of a reply."""
    column = next((table.names[n] for n in JUDGED if n in table.names), None)
    values = table.values(column)
    is_verdict = bool(values) and all(isinstance(v, bool) for v in values)
    return column if is_verdict and (has_turns(table) or has_reply_column(table)) else None


def read_preferences(table: Table, notes: Notes) -> tuple[Convert, str]:
    """A converter to Preference."""
    verdict = _verdict(table)
    if verdict is not None and table.column("chosen") is None:
        return _reads_verdicts(table, verdict, notes)
    chosen, rejected = table.need("chosen"), table.need("rejected")
    names = {low: name for low, name in table.names.items() if name not in (chosen, rejected)}
    names |= {role: table.need(role) for role in ("messages", "prompt") if role in table.given}

    def convert(record: Record, origin: str) -> list[Example]:
        before = prompt_messages(record, names, notes)
        better, worse = (_replied(record.get(c), c, notes) for c in (chosen, rejected))
        messages = begun(before or better[:-1], record.get(names.get("system", "system")), notes)
        good, bad = (said[-1].content if said else "" for said in (better, worse))
        return _made(messages, good, bad, origin, notes)

    return convert, columns_read(chosen=chosen, rejected=rejected)


def _replied(value: object, column: str, notes: Notes) -> list[Message]:
    """The messages that end with a judged reply; a text without speakers is the reply alone."""
    if isinstance(value, list):
        return messages_of(value, column, notes)
    if isinstance(value, dict):
        return [message_of(value, column, notes)]
    if value is not None and not isinstance(value, str):
        raise wrong(column, f"must be text, a message or a list of messages, not {kind_of(value)}")
    text = mend_surrogates(value or "")
    said = SPEAKER.split(text)
    if said[0] or len(said) < 3:
        return [Message("assistant", text)]
    roles = {"Human": "user", "Assistant": "assistant"}
    return [Message(roles[who], what) for who, what in zip(said[1::2], said[2::2], strict=True)]


def _reads_verdicts(table: Table, verdict: str, notes: Notes) -> tuple[Convert, str]:
    dialogue, columns = read_dialogues(table, notes)

    def convert(record: Record, origin: str) -> list[Example]:
        is_good = record.get(verdict)
        if not isinstance(is_good, bool):
            raise wrong(verdict, f"must be true or false, not {is_good!r}")
        made: list[Example] = []
        for one in dialogue(record, origin):
            *before, last = one.messages  # type: ignore[union-attr]
            if last.role != "assistant":
                return notes.drop("no reply at the end")
            made += _made(before, last.content if is_good else "", "" if is_good else last.content, origin, notes)
        return made

    return convert, f"{columns}, {columns_read(verdict=verdict)}"


def _made(messages: list[Message], chosen: str, rejected: str, origin: str, notes: Notes) -> list[Example]:
    if not any(m.content.strip() for m in messages if m.role != "system"):
        return notes.drop("no prompt")
    if not chosen.strip() and not rejected.strip():
        return notes.drop("no reply")
    return [Preference(tuple(messages), chosen, rejected, origin)]
