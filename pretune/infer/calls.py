"""Calls of tools in what a model writes: found, and told from text.

    Let me look. <tool_call>{"name": "f", "arguments": {"x": 1}}</tool_call>      Hermes, Qwen
    {"name": "f", "arguments": {"x": 1}}                                          plain; also "parameters" (Llama)
    [{"type": "function", "function": {"name": "f", "arguments": "..."}}]         what templates without tools learn

Each gives the same call; what stands around it is the content. JSON that is broken, or is no call, stays text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pretune.base.json import Json

TAG = "<tool_call>"
TAGGED = re.compile(r"<tool_call>(.*?)(?:</tool_call>|\Z)", re.DOTALL)
PLAIN = re.compile(r"^[ \t]*(?=[\[{])", re.MULTILINE)
"""Where calls without tags may begin; they go on to the end."""
BETWEEN = re.compile(r"[ \t\r\n,;]*")
"""What may stand between two calls."""


@dataclass(frozen=True)
class Call:
    """A tool that is called, by its name, with its arguments."""

    name: str
    arguments: Json

    @property
    def signed(self) -> str:
        """Name and arguments as one text, the same for equal JSON: the order of keys does not count, 1.0 is 1."""
        return json.dumps(_plain_numbers(self.to_json()), ensure_ascii=False, sort_keys=True, allow_nan=False)

    def to_json(self) -> Json:
        return {"name": self.name, "arguments": self.arguments}


def read_calls(text: str) -> tuple[str, tuple[Call, ...]]:
    """The content of a reply, and the calls in it in their order; a text without calls is its own content."""
    found = _tagged(text) if TAG in text else _untagged(text)
    return found or (text, ())


def said_with(content: str, calls: tuple[Call, ...]) -> str:
    """Content and calls as one text, whatever form the calls had."""
    return "\n".join([*filter(None, [content]), *(json.dumps(c.to_json(), ensure_ascii=False) for c in calls)])


def _tagged(text: str) -> tuple[str, tuple[Call, ...]] | None:
    calls: list[Call] = []
    around, at = [], 0
    for found in TAGGED.finditer(text):
        some = _calls_in(found[1].strip(), 0, set())
        if some:
            around.append(text[at : found.start()])
            calls += some
            at = found.end()
    parts = [*around, text[at:]]
    content = "\n".join([parts[0].rstrip(), *(part.strip() for part in parts[1:])]).rstrip()
    return (content, tuple(calls)) if calls else None


def _untagged(text: str) -> tuple[str, tuple[Call, ...]] | None:
    whole, begun = text.rstrip(), set[int]()
    for start in PLAIN.finditer(whole):
        if calls := _calls_in(whole, start.end(), begun):
            return text[: start.start()].rstrip(), tuple(calls)
    return None


def _calls_in(text: str, start: int, begun: set[int]) -> list[Call]:
    """The calls that a text consists of, from a place on; none where any part of it is something else.

    Args:
        begun: places where values of earlier looks began, all in vain: what spoilt those spoils a look that comes to
            one of them too. Else the price is the square of the lines, in a server that meanwhile answers nobody.
    """
    calls: list[Call] = []
    try:
        for place, value in _values(text, start):
            if place in begun:
                return []
            begun.add(place)
            for one in value if isinstance(value, list) else [value]:
                if (call := _call(one)) is None:
                    return []
                call.signed.encode()  # raises where a client could not read it: half a character, an infinite number
                calls.append(call)
    except (ValueError, RecursionError):
        return []
    return calls


def _values(text: str, at: int) -> Iterator[tuple[int, Any]]:
    """The JSON values that stand one after another, each with its place; raises ValueError."""
    reader = json.JSONDecoder(parse_constant=_no_number)
    while at < len(text):
        value, end = reader.raw_decode(text, at)
        yield at, value
        between = BETWEEN.match(text, end)
        assert between is not None, "nothing may stand there too"
        at = between.end()


def _call(value: Any) -> Call | None:
    """A call of any of the forms; None where it is something else."""
    if not isinstance(value, Mapping):
        return None
    inner = value.get("function")
    one = inner if isinstance(inner, Mapping) else value
    name, given = one.get("name"), one.get("arguments", one.get("parameters"))
    arguments = json.loads(given, parse_constant=_no_number) if isinstance(given, str) else given
    return Call(name, arguments) if isinstance(name, str) and name and isinstance(arguments, dict) else None


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _plain_numbers(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {name: _plain_numbers(value) for name, value in tree.items()}
    if isinstance(tree, list):
        return [_plain_numbers(value) for value in tree]
    return int(tree) if isinstance(tree, float) and tree.is_integer() else tree
