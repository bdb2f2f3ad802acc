"""An answer that must call a tool: a grammar of what the model's own chat template writes for a call.

    template of a known call  ▶  <tool_call>\\n{"name": "PROBE", "arguments": {"x": 1}}\\n</tool_call>
    cut at name, arguments    ▶  before, between, after; the arguments keep to the tool's parameters

Where a template writes calls in a form that `read_calls` does not read, or none: {"name": ..., "arguments": ...}.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from pretune.base.errors import BadGrammar, BadMessages
from pretune.base.json import Json
from pretune.infer.calls import TAG, read_calls
from pretune.infer.chat import ChatFormat
from pretune.infer.grammar import Grammar, json_schema, literal

NAME, ARGUMENTS = "probe_of_a_name", {"probe_of_an_argument": 1}
PLAIN = ('{"name": "', '", "arguments": ', "}")
Form = tuple[str, str, str]
"""What stands before the name of a tool, between name and arguments, and behind them."""


def one_call(chat: ChatFormat, tools: Sequence[Json]) -> Grammar:
    """A call of one of these tools (in OpenAI's form), its arguments valid by the tool's `parameters`.

    Raises:
        BadGrammar: no tools, or parameters that are no schema of an object.
    """
    if not tools:
        raise BadGrammar("a tool must be called, and there is none", hint="send tools")
    form = form_of_calls(chat)
    found = [_call(chat, form, tool["function"]) for tool in tools]
    return Grammar.any_of(found)


def form_of_calls(chat: ChatFormat) -> Form:
    """How the chat template writes a call."""
    try:
        said = chat.written_call(NAME, ARGUMENTS)
    except BadMessages:
        return PLAIN
    before, name, rest = said.partition(NAME)
    between, arguments, after = rest.partition(json.dumps(ARGUMENTS))
    before, after = before[max(before.rfind(TAG), 0) :].lstrip(), after.rstrip()
    _, calls = read_calls("".join([before, name, between, arguments, after]))
    is_read = [(call.name, call.arguments) for call in calls] == [(NAME, ARGUMENTS)]
    return (before, between, after) if arguments and is_read else PLAIN


def _call(chat: ChatFormat, form: Form, function: Json) -> Grammar:
    given = function.get("parameters") or {}
    if not isinstance(given, dict) or given.get("type", "object") != "object":
        raise BadGrammar(f"the parameters of {function['name']!r} are no schema of an object")
    before, between, after = form
    head = f"{before}{json.dumps(function['name'], ensure_ascii=False)[1:-1]}{between}"
    schema = json_schema({"type": "object", **given})
    return Grammar(f"{_tokens(chat, head)} {schema.rule} {_tokens(chat, after)}")


def _tokens(chat: ChatFormat, text: str) -> str:
    """A rule for what a template writes: control tokens by their ids, the rest as text."""
    parts = [
        (chat.tokenizer.token_to_id(piece), piece) if k % 2 else (None, piece)
        for k, piece in enumerate(chat.pieces(text))
    ]
    return " ".join(literal(piece) if token is None else f"<[{token}]>" for token, piece in parts if piece) or '""'
