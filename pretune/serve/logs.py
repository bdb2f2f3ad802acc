"""What is kept of a request while it is answered, and the line that the log gets of it.

    {"time": "2026-11-30T15:20:01.123Z", "id": "7f...", "method": "POST", "route": "/v1/chat/completions",
     "status": 200, "seconds": 0.412, "model": "chat", "key": "website", "tokens_read": 21, "tokens_written": 64}

No text of a prompt is in it, unless `--log-prompts` asks for that: then `asked` is the whole request. Whoever answers
finds the record of its request in `current()`, in a task or a thread of it too.
"""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pretune.base.json import JsonMap
from pretune.infer.engine import METER
from pretune.infer.streaming import Piece
from pretune.serve.errors import LEFT
from pretune.serve.keys import Holder
from pretune.serve.metrics import Metrics

ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""A request id that a client may choose: it is written to logs and headers."""


@dataclass(frozen=True)
class Logging:
    """The log of requests.

    Args:
        write: takes a line of JSON.
        prompts: whether lines have the whole request, texts too.
    """

    write: Callable[[str], object]
    prompts: bool = False


@dataclass
class Record:
    """What is known of a request.

    Args:
        status: of the answer; of a stream that ended with an error, that of the error.
        written: tokens of each answer, by its number.
        asked: the whole request, where the log shall have it.
        done: what is called when it ends.
    """

    id: str = ""
    method: str = ""
    route: str = ""
    status: int = 0
    model: str | None = None
    holder: Holder | None = None
    tokens_read: int = 0
    written: dict[int, int] = field(default_factory=dict)
    asked: JsonMap | None = None
    done: list[Callable[[], object]] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    def read(self, number: int) -> None:
        """Tokens were read."""
        self.tokens_read += number

    @property
    def tokens_written(self) -> int:
        return sum(self.written.values())

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    def line(self, *, prompts: bool) -> str:
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        tree = {"time": now, "id": self.id, "method": self.method, "route": self.route, "status": self.status}
        tree |= {"seconds": round(self.seconds, 4), "model": self.model}
        tree |= {"key": self.holder.key.name if self.holder else None}
        tree |= {"tokens_read": self.tokens_read, "tokens_written": self.tokens_written}
        return json.dumps({**tree, "asked": self.asked} if prompts else tree, ensure_ascii=False)


RECORD: ContextVar[Record | None] = ContextVar("RECORD", default=None)


def current() -> Record:
    """The record of the request that is being answered; one that nobody reads where there is none."""
    return RECORD.get() or Record()


async def counted(pieces: AsyncGenerator[tuple[int, Piece], None]) -> AsyncGenerator[tuple[int, Piece], None]:
    """The same pieces, their tokens counted as they come: those of a client that leaves too."""
    record = current()
    async with aclosing(pieces):
        async for index, piece in pieces:
            record.written[index] = piece.num_tokens
            yield index, piece


class Watch:
    """Keeps a record of every request; gives it an id, counts it, and writes its line.

    Args:
        routes: what metrics and log may say of a path: a template, never what a client made up.
        write: takes a line of the log; None: no log.
        prompts: whether a line has the whole request.
    """

    def __init__(
        self,
        app: ASGIApp,
        metrics: Metrics,
        *,
        routes: Callable[[str], str],
        write: Callable[[str], object] | None = None,
        prompts: bool = False,
    ):
        self.app, self.metrics, self.routes, self.write, self.prompts = app, metrics, routes, write, prompts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        given = Headers(scope=scope).get("x-request-id", "")
        record = Record(
            id=given if ID.fullmatch(given) else secrets.token_hex(16),
            method=scope["method"] if scope["method"] in METHODS else "OTHER",
            route=self.routes(scope["path"]),
        )
        RECORD.set(record)
        METER.set(record.read)
        try:
            await self.app(scope, receive, _noting(record, send))
        finally:
            self._ended(record)

    def _ended(self, record: Record) -> None:
        # Emptied: the timer of an idle connection holds the record, and a record may not hold a model.
        while record.done:
            record.done.pop()()
        record.status = record.status or LEFT
        if record.holder is not None:
            record.holder.spend(record.tokens_read + record.tokens_written)
        self.metrics.count(record.route, record.status, record.seconds, record.tokens_read, record.tokens_written)
        if self.write is not None:
            self.write(record.line(prompts=self.prompts))


METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def _noting(record: Record, send: Send) -> Send:
    async def noted(message: Message) -> None:
        if message["type"] == "http.response.start":
            record.status = message["status"]
            MutableHeaders(scope=message)["X-Request-Id"] = record.id
        await send(message)

    return noted
