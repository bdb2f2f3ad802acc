"""Shape dialogue: messages, each with a role and a content.

{"messages": [{"role": "user", "content": "..."}, ...], "tools": [...]}         OpenAI, `tool_calls` too
{"conversations": [{"from": "human", "value": "..."}, ...], "tools": "..."}     sharegpt, `function_call` turns too
{"dialogue": ["...", "..."]}                                                    user and assistant in turn
{"instruction": "...", "input": "...", "output": "...", "history": [[q, a]]}    alpaca
{"prompt": "...", "completion": "..."}                                          also question and answer
{"instruction": "...", "instances": [{"input": "...", "output": "..."}]}        self-instruct: one each

Tools and calls are kept as JSON text. A reply whose `weight` (OpenAI), `train` or `loss` is 0 or false is read and not
learnt; weights between are refused. A dialogue that begins with the assistant loses that greeting: most chat templates
refuse it. Two of the system's names mean two things: `sys` is the assistant where the other is `usr`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence

from pretune.base.errors import BadFile, did_you_mean
from pretune.base.json import JsonMap
from pretune.text.dataset.example import Dialogue, Example, Message, keyword_pattern
from pretune.text.dataset.shapes.converter import Convert, Notes, Record, columns_read
from pretune.text.read.columns import Table
from pretune.text.read.values import first_of, kind_of, mend_surrogates, wrong

ROLES = {
    **dict.fromkeys(("user", "human", "prompter", "usr", "customer", "client", "用户", "顾客"), "user"),
    **dict.fromkeys(("assistant", "gpt", "bot", "model", "chatgpt", "agent", "客服", "助手"), "assistant"),
    **dict.fromkeys(("function_call", "tool_call"), "call"),
    **dict.fromkeys(("tool", "function", "observation", "ipython", "tool_response"), "tool"),
    **dict.fromkeys(("system", "developer", "sys", "系统"), "system"),
}
PAIRS = (
    *(("instruction", "output"), ("instruction", "response"), ("prompt", "completion"), ("prompt", "response")),
    *(("question", "answer"), ("query", "response"), ("instruction", "instances"), ("问题", "答案"), ("问题", "回答")),
)
TEXT_PARTS = (None, "text", "input_text", "output_text")
LEARNT = ("weight", "train", "loss")
"""What other programs call it that a turn is learnt from: 1 or true, 0 or false."""
NO_REPLY_LEARNT = "`weight`, `train` or `loss` of turns that are no replies were left out: only replies are learnt"
GREETING = "replies before any question were left out"
FEW_ROLES = "user, assistant, system, tool"


def has_turns(table: Table) -> bool:
    """A list of turns in a column of such a name."""
    values = table.values(table.column("messages"))
    return bool(values) and all(isinstance(v, list) for v in values)


def has_reply_column(table: Table) -> bool:
    """What is asked and what is answered, in two columns."""
    return _pair(table) is not None


def _pair(table: Table) -> tuple[str, str] | None:
    if "prompt" in table.given or "reply" in table.given:
        return table.need("prompt"), table.need("reply")
    return next(((table.names[a], table.names[b]) for a, b in PAIRS if table.has(a, b)), None)


def read_dialogues(table: Table, notes: Notes) -> tuple[Convert, str]:
    """A converter to Dialogue."""
    turns = table.column("messages") if has_turns(table) else None
    pair = None if turns else _pair(table)
    if turns is None and pair is None:
        turns = table.need("messages")
    rest = {name: table.names.get(name, name) for name in ("system", "tools", "functions", "keywords", "input")}

    def convert(record: Record, origin: str) -> list[Example]:
        if turns is not None and record.get(turns) is None:
            return notes.drop("no turns")
        if turns is not None:
            variants = [messages_of(record.get(turns), turns, notes)]
        else:
            assert pair is not None, "there are turns or a pair"
            variants = list(_asked(record, *pair, rest["input"]))
        tools = json_text(record.get(rest["tools"]) or record.get(rest["functions"]))
        words = _keywords(record.get(rest["keywords"]))
        made = [Dialogue(tuple(begun(m, record.get(rest["system"]), notes)), origin, words, tools) for m in variants]
        kept: list[Example] = [d for d in made if has_reply(d)]
        return kept if len(kept) == len(made) > 0 else [*kept, *notes.drop(_why_none(made))]

    return convert, columns_read(messages=turns) if turns else columns_read(
        prompt=pair[0], reply=pair[1]
    ) if pair else ""


def has_reply(dialogue: Dialogue) -> bool:
    """Whether there is anything to learn: an assistant's turn with text or a call."""
    return any(m.role == "assistant" and m.learnt and (m.content.strip() or m.calls) for m in dialogue.messages)


def _why_none(dialogues: Sequence[Dialogue]) -> str:
    weightless = any(not m.learnt for d in dialogues for m in d.messages)
    return "no reply that is learnt (weight, train or loss is 0)" if weightless else "no reply"


# ---- turns --------------------------------------------------------------------------------------


def messages_of(turns: object, column: str, notes: Notes) -> list[Message]:
    """The messages of a list of turns: objects with role and content, or texts of user and assistant in turn."""
    if not isinstance(turns, list | tuple) or not all(isinstance(t, Mapping | str) for t in turns):
        raise wrong(column, f"must be a list of turns, not {kind_of(turns)}")
    names = {str(_role(t)).lower() for t in turns if isinstance(t, Mapping)}
    made = []
    for number, turn in enumerate(turns):
        if isinstance(turn, str):
            made.append(Message(("user", "assistant")[number % 2], mend_surrogates(turn)))
        else:
            made.append(message_of(turn, column, notes, sys_replies="usr" in names))
    return made


def message_of(turn: JsonMap, column: str, notes: Notes, *, sys_replies: bool = False) -> Message:
    """One turn, of OpenAI's form (role, content, tool_calls) or sharegpt's (from, value)."""
    said = _role(turn)
    role = "assistant" if sys_replies and said == "sys" else ROLES.get(str(said).strip().lower())
    if role is None:
        near = did_you_mean(str(said), ROLES)
        hint = f"roles are {FEW_ROLES}" if near.startswith("choose") else near
        raise BadFile(f"unknown role {said!r} in column {column!r}", hint=hint)
    content = _content(first_of(turn, "content", "value", "text", "utterance"), column)
    learnt = _is_learnt(turn, role in ("assistant", "call"), column, notes)
    if role == "call":
        calls = calls_in(content)
        if not calls:
            notes.mend("tool calls that are not JSON were kept as text")
        return Message("assistant", "" if calls else content, calls, learnt)
    function = turn.get("function_call")
    asked = turn.get("tool_calls") or ([{"type": "function", "function": function}] if function else None)
    return Message(role, content, json_text(asked or turn.get("calls")), learnt)


def _is_learnt(turn: JsonMap, is_reply: bool, column: str, notes: Notes) -> bool:
    """Whether a reply is learnt from; of other turns, whose weights mean nothing here, always true."""
    said = {name: turn[name] for name in LEARNT if turn.get(name) is not None}
    for name, value in said.items():
        if not isinstance(value, int | float) or value not in (0, 1):
            hint = "weights are 1 (learnt) or 0 (read only); say a reply that should count for more more than once"
            raise wrong(column, f"has a turn with {name}={value!r}, which is neither 0 nor 1", hint=hint)
    if not is_reply:
        notes.mend(NO_REPLY_LEARNT, int(any(said.values())))
        return True
    return all(said.values())


def _role(turn: JsonMap) -> object:
    return first_of(turn, "role", "from", "speaker")


def _content(value: object, column: str) -> str:
    if isinstance(value, list):
        value = "".join(_part(part, column) for part in value)
    if value is not None and not isinstance(value, str):
        raise wrong(column, f"has a turn whose content must be text, not {kind_of(value)}")
    return mend_surrogates(value or "")


def _part(part: object, column: str) -> str:
    """A part of a content that is text, as OpenAI ("text") and LLaMA-Factory ("value") write it."""
    if isinstance(part, str):
        return part
    kind: object = kind_of(part)
    if isinstance(part, Mapping):
        kind, said = part.get("type"), [part[name] for name in ("text", "value") if name in part]
        if said and (isinstance(said[0], str) or (said[0] is None and kind in TEXT_PARTS)):
            return said[0] or ""
    hint = "leave out dialogues with pictures, sounds and files: without them the replies answer something else"
    raise wrong(column, f"has a turn with a part of type {kind!r}, which is no text", hint=hint)


def calls_in(text: str) -> str:
    """OpenAI's `tool_calls` of a sharegpt turn `{"name": ..., "arguments": {...}}`, or a list of them; "" if none."""
    try:
        found = json.loads(text)
    except ValueError:
        return ""
    calls = found if isinstance(found, list) else [found]
    if not calls or not all(isinstance(c, dict) and "name" in c for c in calls):
        return ""
    return json_text([{"type": "function", "function": _function(c)} for c in calls])


def _function(call: JsonMap) -> dict[str, str]:
    arguments = call.get("arguments", {})
    return {"name": str(call["name"]), "arguments": arguments if isinstance(arguments, str) else json_text(arguments)}


def json_text(value: object) -> str:
    """JSON text as it is, anything else as JSON text; nothing and an empty list are ""."""
    if isinstance(value, str):
        return "" if value.strip() in ("[]", "null") else mend_surrogates(value)
    return "" if value is None or value == [] else mend_surrogates(json.dumps(value, ensure_ascii=False))


def begun(messages: Sequence[Message], system: object, notes: Notes) -> list[Message]:
    """Messages with the record's own `system` in front, and without replies to nothing."""
    head = [m for m in messages[:1] if m.role == "system"]
    rest = list(messages[len(head) :])
    asked = next((k for k, m in enumerate(rest) if m.role != "assistant"), 0)
    notes.mend(GREETING, int(asked > 0))
    if isinstance(system, str) and system and not head:
        head = [Message("system", mend_surrogates(system))]
    return [*head, *rest[asked:]]


# ---- two columns --------------------------------------------------------------------------------


def _asked(record: Record, prompt: str, reply: str, more: str) -> Iterator[list[Message]]:
    """The messages of an alpaca record; several where it has instances."""
    answers = record.get(reply)
    if not isinstance(answers, list):
        answers = [{"input": record.get(more) if more != prompt else "", "output": answers}]
    for one in answers:
        if not isinstance(one, Mapping):
            raise wrong(reply, f"must be text or a list of objects with input and output, not {kind_of(one)}")
        reply_to = _question(record, record.get(prompt), one.get("input"))
        yield [*reply_to, _message("assistant", one.get("output"), reply)]


def _question(record: Record, asked: object, more: object) -> list[Message]:
    """The history of an alpaca record, and what is asked now."""
    past = []
    turns = record.get("history") or []
    if not isinstance(turns, list) or not all(isinstance(t, list) and len(t) == 2 for t in turns):
        raise wrong("history", "must be a list of [question, answer]")
    for question, answer in turns:
        past += [_message("user", question), _message("assistant", answer)]
    return [*past, _message("user", "\n".join(str(p) for p in (asked, more) if p))]


def _message(role: str, content: object, column: str = "history") -> Message:
    return Message(role, _content(str(content) if isinstance(content, int | float) else content, column))


def prompt_messages(record: Record, names: Mapping[str, str], notes: Notes) -> list[Message]:
    """What comes before a reply that is judged: turns, or a prompt with its input and history."""
    turns = next((names[n] for n in ("messages", "conversations", "prompt") if _is_list(record, names.get(n))), None)
    if turns is not None:
        return messages_of(record[turns], turns, notes)
    prompt = next((names[n] for n in ("prompt", "instruction", "question", "query") if n in names), None)
    if prompt is None:
        return []
    return _question(record, record.get(prompt), record.get(names.get("input", "input")))


def _is_list(record: Record, column: str | None) -> bool:
    return column is not None and isinstance(record.get(column), list)


LISTED = re.compile(r"\s*(/.*?/(?=\s*(?:,|$))|[^,]*)(?:,|$)")
"""A keyword of several in one text: a pattern between slashes may hold commas."""


def _keywords(value: object) -> tuple[str, ...]:
    words = LISTED.findall(value) if isinstance(value, str) else value or []
    if not isinstance(words, list):
        raise wrong("keywords", f"must be a list of words, not {kind_of(value)}")
    found = tuple(mend_surrogates(str(w).strip()) for w in words if str(w).strip())
    for keyword in found:
        keyword_pattern(keyword)
    return found
