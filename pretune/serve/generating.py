"""What a client may ask of a model that writes: chat and completions, checked before any work.

There is no way to send a template. Schemas and regular expressions are kept to by automata whose size is bounded
(infer/grammar.py), so none of them can hang.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from pretune.base.errors import BadGrammar
from pretune.base.json import Json
from pretune.infer.calling import one_call
from pretune.infer.chat import ChatFormat
from pretune.infer.grammar import Grammar, json_object, json_schema, one_of, pattern
from pretune.infer.predictor import Streams
from pretune.infer.sampling import Sampling
from pretune.serve.errors import ApiError
from pretune.serve.requests import Limits, Strict, within


class TextPart(Strict):
    type: Literal["text"]
    text: str


class CalledFunction(Strict):
    name: str
    arguments: str


class ToolCall(Strict):
    id: str | None = None
    type: Literal["function"]
    function: CalledFunction


class ChatMessage(Strict):
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


class NamedFunction(Strict):
    name: str


class NamedTool(Strict):
    """The tool that must be called."""

    type: Literal["function"]
    function: NamedFunction


class NamedSchema(Strict):
    name: str
    schema_: Json | None = Field(None, alias="schema")
    description: str | None = None
    strict: bool | None = None


class ResponseFormat(Strict):
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


class StreamOptions(Strict):
    include_usage: bool = False
    include_obfuscation: bool = False


StopText = Annotated[str, Field(min_length=1, max_length=256)]
Penalty = Annotated[float, Field(ge=-2, le=2)]
Bias = Annotated[float, Field(ge=-100, le=100)]
TokenId = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,9}$")]


class Generate(Strict):
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
        within(self.n or 1, limits.max_n, "n")
        within(self.asked_tokens() or 1, limits.max_tokens, "max_tokens")
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
        within(len(self.messages), limits.max_messages, "messages")

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
        within(len(found), limits.max_inputs, "prompt")
        return found

    def num_logprobs(self) -> int | None:
        return None if self.logprobs is None or self.logprobs is False else self.logprobs
