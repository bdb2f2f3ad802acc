"""The body of a request, as it comes from a client, and what is wrong with it.

A setting that would change the answer and that we do not have (`functions`, `best_of` ...) is refused, not ignored; its
neutral value (`"functions": []`, `"best_of": 1`) is accepted.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TypeVar

from anyio import fail_after
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from starlette.requests import ClientDisconnect, Request

from pretune.base.json import Json
from pretune.serve.errors import ApiError, left
from pretune.serve.logs import current
from pretune.serve.requests import Limits, Strict

NEUTRAL: dict[str, tuple[object, ...]] = {
    "functions": ([],),
    "function_call": ("none", "auto"),
    "modalities": (["text"],),
    "best_of": (1,),
    "suffix": ("",),
    "dimensions": (),
}
"""Settings of OpenAI's that we do not have, and the values at which they say nothing."""
HEARD_OUT = 8
"""How many times the size that is allowed a client may send and still be told that it was too much."""
SILENT = ("user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "parallel_tool_calls")
"""Settings that cannot change an answer."""
KINDS = ("string_type", "list_type", "dict_type")
BRANCHES = ("constrained", "list[", "literal[", "function-", "Compared", "Asked", "Document", "NamedTool")
"""How pydantic names what a value may be: `list[constrained-str]`."""
Read = TypeVar("Read", bound=Strict)


async def read(request: Request, kind: type[Read], limits: Limits) -> Read:
    """The request's body as `kind`. Raises ApiError: too big, no JSON, a wrong or unknown setting."""
    tree = _parsed(request, await _body(request, limits))
    current().asked = tree
    known = {name: value for name, value in tree.items() if name not in SILENT and not _says_nothing(name, value)}
    try:
        return kind.model_validate(known)
    except ValidationError as error:
        raise _refusal(error) from None


async def _body(request: Request, limits: Limits) -> bytes:
    """The bytes, counted as they come: what a client says of the length need not be true."""
    body, most, size = bytearray(), limits.max_body_bytes, 0
    try:
        with fail_after(limits.max_body_seconds):
            async for chunk in request.stream():
                size += len(chunk)
                # What is too much is read and thrown away for a while: who still sends does not hear why it is closed.
                if size <= most:
                    body += chunk
                elif size > HEARD_OUT * most:
                    break
    except TimeoutError:
        problem = f"the request took more than {limits.max_body_seconds} seconds to come"
        raise ApiError(408, problem, code="request_timeout") from None
    except ClientDisconnect:
        raise left() from None
    if size > most:
        raise ApiError(413, f"the request has more than {most} bytes", code="request_too_large")
    return bytes(body)


def _parsed(request: Request, body: bytes) -> Json:
    # A web page elsewhere may post text/plain to a local server without asking; JSON it may not.
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise ApiError(415, "send the request with Content-Type: application/json", code="unsupported_media_type")
    try:
        tree = json.loads(body.decode("utf-8"), parse_constant=_no_number)
        json.dumps(tree, ensure_ascii=False).encode("utf-8")  # "\\ud800" alone is half a character
    except (ValueError, RecursionError) as error:
        raise ApiError(400, f"the request is not JSON: {error}", code="invalid_json") from None
    if not isinstance(tree, dict):
        raise ApiError(400, "the request is not a JSON object", code="invalid_json")
    return tree


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _says_nothing(name: str, value: object) -> bool:
    return name in NEUTRAL and (value is None or value in NEUTRAL[name])


def _refusal(error: ValidationError) -> ApiError:
    """The first mistake, by its dotted name."""
    first, told = _nearest(error.errors(include_url=False, include_input=False))
    place = _place(first)
    if first["type"] == "extra_forbidden":
        known = "is not supported by this server" if first["loc"][0] in NEUTRAL else "is unknown"
        return ApiError(400, f"the setting {place!r} {known}", code="unsupported_parameter", param=place)
    code = "missing_required_parameter" if first["type"] == "missing" else "invalid_value"
    problem = told.removeprefix("Value error, ")
    # A mistake of two settings together stands at none of them.
    return ApiError(400, f"{place}: {problem}" if place else problem, code=code, param=place or None)


def _nearest(mistakes: Sequence[ErrorDetails]) -> tuple[ErrorDetails, str]:
    """The first mistake and its words.

    Where a value may be a text or a list, each of the two has its mistakes; that a list is no text is none of them,
    unless it is neither.
    """
    place = _place(mistakes[0])
    there = [one for one in mistakes if f"{_place(one)}.".startswith(f"{place}.")]
    kinds = [one for one in there if one["type"] in KINDS and _place(one) == place]
    inside = [one for one in there if one not in kinds]
    if inside:
        return _nearest(inside) if inside[0]["type"] in KINDS else (inside[0], inside[0]["msg"])
    words = [kinds[0]["msg"], *(one["msg"].removeprefix("Input should be ") for one in kinds[1:])]
    return kinds[0], " or ".join(words)


def _place(mistake: ErrorDetails) -> str:
    """`messages.0.content`: without the names of the kinds that the value may be of."""
    return ".".join(str(part) for part in mistake["loc"] if part != "str" and not str(part).startswith(BRANCHES))
