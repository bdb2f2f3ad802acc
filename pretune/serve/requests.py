"""What a client may ask, checked before any work.

A setting that would change the answer and that we do not have (`functions`, `best_of` ...) is refused, not
ignored; its neutral value (`"functions": []`, `"best_of": 1`) is accepted. There is no way to send a template. Schemas
and regular expressions are kept to by automata whose size is bounded (infer/grammar.py), so none of them can hang.
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal, TypeVar

import psutil
from anyio import fail_after
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
    with_config,
)
from pydantic_core import ErrorDetails
from starlette.requests import ClientDisconnect, Request
from typing_extensions import TypedDict

from pretune.base.errors import BadGrammar, UserError, did_you_mean
from pretune.base.json import Json
from pretune.infer.calling import one_call
from pretune.infer.chat import ChatFormat
from pretune.infer.grammar import Grammar, json_object, json_schema, one_of, pattern
from pretune.infer.predictor import Streams
from pretune.infer.sampling import Sampling
from pretune.serve.errors import ApiError
from pretune.serve.logs import current

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


@dataclass(frozen=True)
class Limits:
    """What one client may ask of the server.

    Args:
        max_body_bytes: size of a request.
        max_n: answers per request.
        max_tokens: tokens of an answer.
        default_tokens: tokens of an answer when the client does not say.
        max_inputs: texts per request (classify, tag, answer, embeddings, rerank, completions).
        max_explained: texts per request whose words are weighed, each of which takes as long as a hundred.
        max_adapters: adapters of one base in memory at a time.
        max_waiting: requests in the queue of a model; the next is told to come back.
        max_cache_bytes: keys and values of each model that writes; 0: a GiB, or a quarter of the free memory if that is
            less.
        max_messages: messages of a dialogue.
        max_seconds: from the first byte of a request to the last of its answer, the queue counted (504).
        max_body_seconds: in which a request must have come (408).
    """

    max_body_bytes: int = 1 << 20
    max_n: int = 8
    max_tokens: int = 4096
    default_tokens: int = 512
    max_inputs: int = 256
    max_explained: int = 16
    max_adapters: int = 8
    max_waiting: int = 64
    max_cache_bytes: int = 0
    max_messages: int = 1024
    max_seconds: int = 600
    max_body_seconds: int = 30

    @property
    def cache_bytes(self) -> int:
        """Keys and values of each model that writes."""
        return self.max_cache_bytes or min(1 << 30, psutil.virtual_memory().available // 4)

    @classmethod
    def of(cls, given: Sequence[str]) -> Limits:
        """From `name=number`. Raises UserError."""
        found: dict[str, int] = {}
        for name, _, number in (one.partition("=") for one in given):
            if name not in cls.__dataclass_fields__:
                raise UserError(f"there is no limit {name!r}", hint=did_you_mean(name, cls.__dataclass_fields__))
            if not number.isdecimal():
                raise UserError(f"the limit {name} is {number!r}, no number", hint=f"write {name}=100")
            found[name] = int(number)
        return cls(**found)


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class TextPart(_Strict):
    type: Literal["text"]
    text: str


class CalledFunction(_Strict):
    name: str
    arguments: str


class ToolCall(_Strict):
    id: str | None = None
    type: Literal["function"]
    function: CalledFunction


class ChatMessage(_Strict):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[TextPart]
    name: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _calling(cls, given: Any) -> Any:
        """Who calls tools need not say anything."""
        if not isinstance(given, dict) or not given.get("tool_calls"):
            return given
        if given.get("role") != "assistant":
            raise ValueError("only a message of the assistant has tool_calls")
        return given if given.get("content") is not None else {**given, "content": ""}

    def plain(self) -> Json:
        """The message as templates know it."""
        text = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        calls = [call.model_dump(exclude_none=True) for call in self.tool_calls or ()]
        role = "system" if self.role == "developer" else self.role
        return {"role": role, "content": text, **({"tool_calls": calls} if calls else {})}


def _tool(tool: Json) -> Json:
    """A tool as it is, its keys in their order: the tokens of a prompt depend on it."""
    function = tool.get("function")
    if tool.get("type") != "function" or not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise ValueError('a tool is {"type": "function", "function": {"name": ..., "parameters": ...}}')
    return tool


class NamedFunction(_Strict):
    name: str


class NamedTool(_Strict):
    """The tool that must be called."""

    type: Literal["function"]
    function: NamedFunction


class NamedSchema(_Strict):
    name: str
    schema_: Json | None = Field(None, alias="schema")
    description: str | None = None
    strict: bool | None = None


class ResponseFormat(_Strict):
    """What the answer must be; a schema is always kept to, `strict` or not."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: NamedSchema | None = None

    @model_validator(mode="after")
    def _whole(self) -> ResponseFormat:
        if (self.type == "json_schema") != (self.json_schema is not None):
            raise ValueError("json_schema goes with the type json_schema, and with no other")
        return self

    def grammar(self) -> Grammar:
        """Of a type other than text."""
        schema = self.json_schema.schema_ if self.json_schema else None
        return json_object() if schema is None else json_schema(schema)


class StreamOptions(_Strict):
    include_usage: bool = False
    include_obfuscation: bool = False


StopText = Annotated[str, Field(min_length=1, max_length=256)]
Penalty = Annotated[float, Field(ge=-2, le=2)]
Bias = Annotated[float, Field(ge=-100, le=100)]
TokenId = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,9}$")]


class Generate(_Strict):
    """What chat and completions have in common; sampling is greedy unless asked otherwise."""

    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Annotated[int, Field(ge=1)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=0)] | None = None
    repetition_penalty: Annotated[float, Field(gt=0, le=10)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    logit_bias: Annotated[dict[TokenId, Bias], Field(max_length=1024)] | None = None
    seed: int | None = None
    stop: StopText | Annotated[list[StopText], Field(max_length=4)] | None = None
    response_format: ResponseFormat | None = None
    guided_json: Json | None = None
    guided_regex: str | None = None
    guided_choice: Annotated[list[str], Field(min_length=1)] | None = None

    def asked_tokens(self) -> int | None:
        return self.max_tokens

    def num_logprobs(self) -> int | None:
        """How many of the likeliest tokens are told in the place of each; None: not even the one that was written."""
        return None

    def form(self, model: Streams) -> Grammar | None:
        """What the whole answer must be. Raises ApiError: several things at once, or what cannot be kept to."""
        found = self.forms(model)
        if len(found) > 1:
            problem = f"{' and '.join(found)} ask for different answers; send one of them"
            raise ApiError(400, problem, code="invalid_value", param=list(found)[1])
        for name, make in found.items():
            try:
                return make()
            except BadGrammar as error:
                raise ApiError(400, error.problem, code=error.code, param=name) from None
        return None

    def forms(self, model: Streams) -> dict[str, Callable[[], Grammar]]:
        """What makes a grammar, by the setting that asks for it."""
        found: dict[str, Callable[[], Grammar]] = {}
        if self.response_format is not None and self.response_format.type != "text":
            found["response_format"] = self.response_format.grammar
        if self.guided_json is not None:
            found["guided_json"] = partial(json_schema, self.guided_json)
        if self.guided_regex is not None:
            found["guided_regex"] = partial(pattern, self.guided_regex)
        if self.guided_choice is not None:
            found["guided_choice"] = partial(one_of, self.guided_choice)
        return found

    def biases(self, vocab_size: int) -> tuple[tuple[int, float], ...]:
        """Tokens and what is added to their logits. Raises ApiError: there is no such token."""
        found = {int(token): bias for token, bias in (self.logit_bias or {}).items()}
        if missing := [token for token in found if token >= vocab_size]:
            problem = f"logit_bias: there is no token {missing[0]}; this model has {vocab_size}"
            raise ApiError(400, problem, code="invalid_value", param="logit_bias")
        return tuple(found.items())

    def sampling(self, model: Streams, limits: Limits, draw: Callable[[], int]) -> Sampling:
        """The answer's settings. Raises ApiError beyond the limits."""
        _within(self.n or 1, limits.max_n, "n")
        _within(self.asked_tokens() or 1, limits.max_tokens, "max_tokens")
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
        return Sampling(
            temperature=self.temperature or 0.0,
            top_p=self.top_p or 1.0,
            top_k=self.top_k or 0,
            max_tokens=self.asked_tokens() or min(limits.default_tokens, limits.max_tokens),
            seed=abs(self.seed) if self.seed is not None else draw(),
            stop=stop,
            repetition_penalty=self.repetition_penalty or 1.0,
            presence_penalty=self.presence_penalty or 0.0,
            frequency_penalty=self.frequency_penalty or 0.0,
            logit_bias=self.biases(model.engine.vocab_size),
            grammar=self.form(model),
            top_logprobs=self.num_logprobs(),
        )


class Chat(Generate):
    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    tools: list[Annotated[Json, AfterValidator(_tool)]] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None

    @model_validator(mode="after")
    def _fitting(self) -> Chat:
        if self.top_logprobs and not self.logprobs:
            raise ValueError("top_logprobs needs logprobs: true")
        return self

    def check(self, limits: Limits) -> None:
        _within(len(self.messages), limits.max_messages, "messages")

    def callable(self) -> list[Json]:
        """The tools that may be called. Raises ApiError: one that must be, and is not there."""
        tools = self.tools or []
        if not isinstance(self.tool_choice, NamedTool):
            return [] if self.tool_choice == "none" else tools
        name = self.tool_choice.function.name
        found = [tool for tool in tools if tool["function"]["name"] == name]
        if not found:
            raise ApiError(400, f"tool_choice: there is no tool {name!r}", code="invalid_value", param="tool_choice")
        return found

    def forms(self, model: Streams) -> dict[str, Callable[[], Grammar]]:
        """Where tools may be called, a call is as good as an answer of the form."""
        found, chat = super().forms(model), model.chat
        tools = self.callable()
        if chat is not None and (self.tool_choice == "required" or isinstance(self.tool_choice, NamedTool)):
            return {**found, "tool_choice": lambda: one_call(chat, tools)}
        if chat is None or not tools:
            return found
        return {name: partial(_or_a_call, make, chat, tools) for name, make in found.items()}

    def asked_tokens(self) -> int | None:
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens

    def num_logprobs(self) -> int | None:
        return (self.top_logprobs or 0) if self.logprobs else None


def _or_a_call(make: Callable[[], Grammar], chat: ChatFormat, tools: list[Json]) -> Grammar:
    return Grammar.any_of([make(), one_call(chat, tools)])


class Complete(Generate):
    prompt: str | Annotated[list[str], Field(min_length=1)]
    echo: bool | None = None
    logprobs: Annotated[int, Field(ge=0, le=5)] | Literal[False] | None = None

    @model_validator(mode="after")
    def _fitting(self) -> Complete:
        if self.echo and self.num_logprobs() is not None:
            raise ValueError("echo and logprobs do not go together here: those of a prompt are not told")
        return self

    def prompts(self, limits: Limits) -> list[str]:
        found = [self.prompt] if isinstance(self.prompt, str) else self.prompt
        _within(len(found), limits.max_inputs, "prompt")
        return found

    def num_logprobs(self) -> int | None:
        return None if self.logprobs is None or self.logprobs is False else self.logprobs


@with_config(ConfigDict(strict=True, extra="forbid"))
class Compared(TypedDict):
    """Two texts that are compared."""

    text: str
    second: str


class Texts(_Strict):
    model: str | None = None
    input: str | Compared | list[str | Compared]
    explain: bool = False

    def inputs(self, limits: Limits) -> list[str | tuple[str, str]]:
        """Texts, or pairs of texts."""
        found = self.input if isinstance(self.input, list) else [self.input]
        _within(len(found), limits.max_explained if self.explain else limits.max_inputs, "input")
        return [one if isinstance(one, str) else (one["text"], one["second"]) for one in found]


@with_config(ConfigDict(strict=True, extra="forbid"))
class Asked(TypedDict):
    """A question and its context."""

    question: Annotated[str, Field(min_length=1)]
    context: str


class AnswerIn(_Strict):
    model: str | None = None
    input: Asked | list[Asked]

    def inputs(self, limits: Limits) -> list[Asked]:
        found = self.input if isinstance(self.input, list) else [self.input]
        _within(len(found), limits.max_inputs, "input")
        return found


class Embed(_Strict):
    """As OpenAI's: texts, not tokens."""

    model: str | None = None
    input: Annotated[str, Field(min_length=1)] | Annotated[list[str], Field(min_length=1)]
    encoding_format: Literal["float", "base64"] = "float"

    def texts(self, limits: Limits) -> list[str]:
        found = [self.input] if isinstance(self.input, str) else self.input
        _within(len(found), limits.max_inputs, "input")
        return found

    def one(self, index: int, values: Sequence[float]) -> Json:
        """A vector as the client asks for it: numbers, or the base64 of their float32, little end first."""
        packed = struct.pack(f"<{len(values)}f", *values)
        vector = list(values) if self.encoding_format == "float" else base64.b64encode(packed).decode("ascii")
        return {"object": "embedding", "index": index, "embedding": vector}


class Document(_Strict):
    text: str


class Rerank(_Strict):
    """As Cohere's and Jina's."""

    model: str | None = None
    query: Annotated[str, Field(min_length=1)]
    documents: Annotated[list[str | Document], Field(min_length=1)]
    top_n: Annotated[int, Field(ge=1)] | None = None
    return_documents: bool = False

    def queried(self, limits: Limits) -> Json:
        _within(len(self.documents), limits.max_inputs, "documents")
        return {"query": self.query, "candidates": self._texts(), "top": self.top_n}

    def results(self, order: Sequence[int], scores: Sequence[float]) -> list[Json]:
        """Places in `documents`, the best first."""
        texts = self._texts()
        return [
            {
                "index": k,
                "relevance_score": score,
                **({"document": {"text": texts[k]}} if self.return_documents else {}),
            }
            for k, score in zip(order, scores, strict=True)
        ]

    def _texts(self) -> list[str]:
        return [one if isinstance(one, str) else one.text for one in self.documents]


KINDS = ("string_type", "list_type", "dict_type")
BRANCHES = ("constrained", "list[", "literal[", "function-", "Compared", "Asked", "Document", "NamedTool")
"""How pydantic names what a value may be: `list[constrained-str]`."""
Read = TypeVar("Read", bound=_Strict)


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
        raise ApiError(499, "the client left", code="client_left") from None
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
    return ApiError(400, f"{place}: {told.removeprefix('Value error, ')}", code=code, param=place)


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


def _within(value: int, most: int, name: str) -> None:
    if value > most:
        raise ApiError(400, f"{name} is {value}, this server allows {most}", code="invalid_value", param=name)
