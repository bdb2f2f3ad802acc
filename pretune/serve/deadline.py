"""No request is answered for longer than the limit: 504, or, where an answer has begun as a stream, an error in it.

Work in a thread ends before it is left: a token of an answer, or all inputs of a classifier.
"""

from __future__ import annotations

import json

from anyio import move_on_after
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pretune.serve.errors import ApiError
from pretune.serve.logs import current

LAST_WORDS = 1.0
"""Seconds in which a client must take what it is told then; one that reads nothing is left."""


class Deadline:
    """Ends what takes longer than `seconds`."""

    def __init__(self, app: ASGIApp, seconds: float):
        self.app, self.seconds = app, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun: list[Message] = []

        async def noted(message: Message) -> None:
            begun[:] = [message] if message["type"] == "http.response.start" else begun
            await send(message)

        with move_on_after(self.seconds) as limit:
            await self.app(scope, receive, noted)
        if limit.cancelled_caught:
            with move_on_after(LAST_WORDS):
                await self._told(begun, scope, receive, send)

    async def _told(self, begun: list[Message], scope: Scope, receive: Receive, send: Send) -> None:
        late = ApiError(504, f"the answer took more than {self.seconds} seconds", code="timeout")
        if not begun:
            await late.response()(scope, receive, send)
        elif Headers(raw=begun[0]["headers"]).get("content-type", "").startswith("text/event-stream"):
            current().status = late.status
            body = f"data: {json.dumps(late.body())}\n\ndata: [DONE]\n\n".encode()
            await send({"type": "http.response.body", "body": body, "more_body": False})
