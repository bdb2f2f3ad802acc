"""Every error of the server has the shape that OpenAI's clients read: {"error": {message, type, code, param}}."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from pretune.base.errors import PretuneError, UserError
from pretune.base.json import Json

LEFT = 499
"""Status, in log and metrics only, of a request whose client had left before it was answered."""


class ApiError(Exception):
    """A request that is refused, with its HTTP status; `retry_after` says in how many seconds it may come again."""

    def __init__(
        self, status: int, message: str, *, code: str, param: str | None = None, retry_after: int | None = None
    ):
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param
        self.retry_after = retry_after

    def body(self) -> Json:
        """The JSON object."""
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        kind = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}.get(self.status, kind)
        return {"error": {"message": self.message, "type": kind, "code": self.code, "param": self.param}}

    def response(self, headers: Mapping[str, str] | None = None) -> JSONResponse:
        later = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        return JSONResponse(self.body(), self.status, headers={**later, **(headers or {})})


def left() -> ApiError:
    """Nobody hears it."""
    return ApiError(LEFT, "the client has left", code="client_left")


def check_queue(num_waiting: int, most: int) -> None:
    """Raise ApiError where as many requests wait for a model as may."""
    if num_waiting >= most:
        problem = "too many requests are waiting for this model; try again"
        raise ApiError(429, problem, code="rate_limit_exceeded", retry_after=1)


def translated(error: Exception) -> ApiError:
    """Any error as the client may see it; what is a bug of ours says nothing about our insides."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, UserError):
        return ApiError(400, error.problem, code=error.code)
    if isinstance(error, HTTPException):
        return ApiError(error.status_code, str(error.detail), code=str(error.detail).lower().replace(" ", "_"))
    problem = error.problem if isinstance(error, PretuneError) else "the server failed; its log says why"
    return ApiError(500, problem, code="internal_error")


def note(error: Exception) -> None:
    """Write what the client is not told, with its traceback, to the server's log; what a client did wrong is no news.

    A bug outside of a stream reaches uvicorn, which logs it. Inside of one it has become an event by then, and a
    PretuneError an answer.
    """
    if translated(error).status >= 500:
        logging.getLogger("uvicorn.error").error("a request ended with an error", exc_info=error)


async def answer_error(request: Request, error: Exception) -> Response:
    """starlette's handler for every kind of error."""
    if isinstance(error, PretuneError):
        note(error)
    headers = getattr(error, "headers", None) if isinstance(error, HTTPException) else None
    if not isinstance(error, (ApiError, PretuneError, HTTPException)):
        # A bug goes on to uvicorn, which closes its connection: a client that is not told sends its next request there.
        headers = {"Connection": "close"}
    return translated(error).response(headers)


HANDLERS: dict[type[Exception], Callable[[Request, Exception], Awaitable[Response]]] = dict.fromkeys(
    (ApiError, PretuneError, HTTPException, Exception), answer_error
)
