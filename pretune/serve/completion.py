"""An answer that is written, in OpenAI's objects: one for the whole answer, or a chunk for each piece as an event.

pieces of the engine ──▶ plain      {"object": "chat.completion", "choices": [...], "usage": {...}}
                     └─▶ events     data: {"object": "chat.completion.chunk", ...}   data: [DONE]
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from pretune.base.json import Json, JsonMap
from pretune.infer.batching import Batching
from pretune.infer.draft import Draft
from pretune.infer.predictor import Streams
from pretune.infer.sampling import Sampling
from pretune.infer.streaming import Held, Piece
from pretune.serve.errors import left, note, translated
from pretune.serve.generating import Generate
from pretune.serve.logprobs import Logprobs
from pretune.serve.logs import current

Pieces = AsyncGenerator[tuple[int, Piece], None]
"""Pieces of several choices, each with its number."""
Heard = asyncio.Queue[tuple[int, Piece | Exception]]
"""What the engine's thread tells, with the number of the choice."""


@dataclass(frozen=True)
class Completion:
    """What one request asks for: prompts, each answered n times; choice k belongs to prompt k // n.

    Args:
        told: of each token that is written, where the client asks for it.
        calls: whether an answer may call tools.
        echoed: texts of the prompts, where answers begin with them.
    """

    object: str
    asked: Generate
    model: str
    prompts: list[list[int]]
    sampling: Sampling
    told: Logprobs
    calls: bool = False
    echoed: Sequence[str] = ()
    id: str = field(default_factory=lambda: secrets.token_hex(12))
    created: int = field(default_factory=lambda: int(time.time()))

    @property
    def is_chat(self) -> bool:
        return self.object == "chat.completion"

    def drafts(self, model: Streams) -> list[Draft]:
        """The answer of every choice, before its first token; the k-th to a prompt is drawn with seed + k."""
        choices = [replace(self.sampling, seed=self.sampling.seed + k) for k in range(self.asked.n or 1)]
        return [model.draft(prompt, sampling) for prompt in self.prompts for sampling in choices]

    def opening(self, index: int) -> Json | None:
        """What a stream gives of a choice before its first token."""
        if self.is_chat:
            return {"index": index, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}
        text = self.echo(index)
        return {"index": index, "text": text, "logprobs": None, "finish_reason": None} if text else None

    def echo(self, index: int) -> str:
        """The text of a choice's prompt, where the answer begins with it."""
        return self.echoed[index // (self.asked.n or 1)] if self.echoed else ""

    def head(self, *, chunk: bool) -> Json:
        """What every answer begins with."""
        prefix = "chatcmpl-" if self.is_chat else "cmpl-"
        kind = f"{self.object}.chunk" if chunk and self.is_chat else self.object
        return {"id": prefix + self.id, "object": kind, "created": self.created, "model": self.model}

    def usage(self, num_tokens: int) -> dict[str, int]:
        """Tokens read (each prompt once) and written."""
        read_tokens = sum(len(prompt) for prompt in self.prompts)
        total = read_tokens + num_tokens
        return {"prompt_tokens": read_tokens, "completion_tokens": num_tokens, "total_tokens": total}


async def plain(told: Pieces, answer: Completion) -> Response:
    """All choices in one object."""
    heard: dict[int, list[Piece]] = {}
    async with aclosing(told) as pieces:
        async for index, piece in pieces:
            heard.setdefault(index, []).append(piece)
    choices = [_choice(answer, index, heard[index]) for index in sorted(heard)]
    usage = answer.usage(sum(pieces[-1].num_tokens for pieces in heard.values()))
    return JSONResponse({**answer.head(chunk=False), "choices": choices, "usage": usage})


async def events(told: Pieces, answer: Completion, num_choices: int) -> AsyncGenerator[str, None]:
    """Server-sent events: a chunk per piece, then perhaps the usage, then [DONE]; an error is whole JSON too."""
    num_tokens = 0
    try:
        for opening in filter(None, map(answer.opening, range(num_choices))):
            yield _event({**answer.head(chunk=True), "choices": [opening]})
        async with aclosing(told) as pieces:
            async for index, piece in pieces:
                if piece.text or piece.chosen or piece.finish:
                    yield _event({**answer.head(chunk=True), "choices": [_delta(answer, index, piece)]})
                num_tokens += piece.num_tokens if piece.finish else 0
        if answer.asked.stream_options and answer.asked.stream_options.include_usage:
            yield _event({**answer.head(chunk=True), "choices": [], "usage": answer.usage(num_tokens)})
    except Exception as error:
        note(error)
        refused = translated(error)
        current().status = refused.status
        yield _event(refused.body())
    yield "data: [DONE]\n\n"


async def pieces_of(engine: Batching, answer: Completion, drafts: Sequence[Draft], request: Request | None) -> Pieces:
    """The pieces of every choice, as they come; none is made for who has gone.

    Args:
        request: to hear that its client has gone, where nothing is sent to it meanwhile.
    """
    loop, heard = asyncio.get_running_loop(), Heard()
    held, jobs, going = [Held() for _ in drafts], [], len(drafts)
    watch = request and loop.create_task(_watched(request, heard))
    try:
        for index, draft in enumerate(drafts):
            jobs.append(engine.ask(draft, partial(_hand_over, loop, heard, index), client=answer.id))
        while going:
            index, piece = await heard.get()
            if isinstance(piece, Exception):
                raise piece
            going -= piece.finish is not None
            yield index, held[index].piece(piece) if answer.calls else piece
    finally:
        for job in jobs:
            engine.leave(job)
        if watch:
            watch.cancel()


class EventStream(StreamingResponse):
    """A stream that is closed with its client, so that the model is free for the next one at once.

    nginx in front would hold it back otherwise (ngx_http_proxy_module, proxy_buffering).
    """

    media_type = "text/event-stream"

    def init_headers(self, headers: Mapping[str, str] | None = None) -> None:
        super().init_headers({"X-Accel-Buffering": "no", **(headers or {})})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        events: Any = self.body_iterator
        async with aclosing(events):
            await super().__call__(scope, receive, send)


def _hand_over(loop: asyncio.AbstractEventLoop, heard: Heard, index: int, piece: Piece | Exception) -> None:
    """From the engine's thread to the server's."""
    loop.call_soon_threadsafe(heard.put_nowait, (index, piece))


async def _watched(request: Request, heard: Heard) -> None:
    """Tell when the client has gone; what it asked was read to its end before."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    heard.put_nowait((0, left()))


def _event(tree: JsonMap) -> str:
    return f"data: {json.dumps(tree, ensure_ascii=False)}\n\n"


def _choice(answer: Completion, index: int, pieces: Sequence[Piece]) -> Json:
    text, last = answer.echo(index) + "".join(piece.text for piece in pieces), pieces[-1]
    calls = _calls(last)
    message = {"role": "assistant", "content": text or None, "tool_calls": calls} if calls else None
    said: Json = {"message": message or {"role": "assistant", "content": text}} if answer.is_chat else {"text": text}
    told = answer.told.of(index, [one for piece in pieces for one in piece.chosen])
    return {"index": index, **said, "logprobs": told, "finish_reason": _reason(last)}


def _delta(answer: Completion, index: int, piece: Piece) -> Json:
    calls = {"tool_calls": [{"index": k, **call} for k, call in enumerate(_calls(piece))]} if piece.calls else {}
    said: Json = {"delta": {"content": piece.text, **calls}} if answer.is_chat else {"text": piece.text}
    told = answer.told.of(index, piece.chosen)
    return {"index": index, **said, "logprobs": told, "finish_reason": _reason(piece)}


def _calls(piece: Piece) -> list[Json]:
    """The calls of an answer in OpenAI's form, each with an id of its own."""
    told = [(call.name, json.dumps(call.arguments, ensure_ascii=False)) for call in piece.calls]
    functions = [{"name": name, "arguments": arguments} for name, arguments in told]
    return [{"id": f"call_{secrets.token_hex(12)}", "type": "function", "function": one} for one in functions]


def _reason(piece: Piece) -> str | None:
    """Why an answer ended, in OpenAI's words."""
    if piece.calls and piece.finish == "stop":
        return "tool_calls"
    return "length" if piece.finish == "window" else piece.finish
