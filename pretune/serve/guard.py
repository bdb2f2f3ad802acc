"""Who may come in: checked on every route, before anything is read.

With a key, every request needs it: `Authorization: Bearer KEY`, or, for a browser, the password of HTTP Basic
(the browser asks for it when it opens the page). Without a key the server is bound to loopback, and the
Host header must say so: otherwise a web page whose name is pointed at 127.0.0.1 could read the answers (DNS rebinding).
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from pretune.serve.errors import ApiError

LOCAL = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:[0-9]+)?", re.IGNORECASE)


class Guard:
    """Lets through who may come in; answers the others."""

    def __init__(self, app: ASGIApp, api_key: str | None):
        self.app, self.api_key = app, api_key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        refused = refusal(Headers(scope=scope), self.api_key)
        if refused is None:
            await self.app(scope, receive, send)
            return
        asks_browser = {"WWW-Authenticate": 'Basic realm="pretune: any name, the API key as password", charset="UTF-8"'}
        headers = asks_browser if refused.status == 401 and scope["path"] == "/" else None
        await refused.response(headers)(scope, receive, send)


def refusal(headers: Headers, api_key: str | None) -> ApiError | None:
    """Why a request may not come in, or None."""
    if api_key is None:
        host = headers.get("host", "")
        if LOCAL.fullmatch(host):
            return None
        return ApiError(403, f"this server answers to localhost only, not to {host!r}", code="wrong_host")
    given = given_key(headers.get("authorization", ""))
    if given is not None and hmac.compare_digest(given, api_key.encode("utf-8")):
        return None
    problem = "no API key was sent (Authorization: Bearer KEY)" if given is None else "the API key is wrong"
    return ApiError(401, problem, code="invalid_api_key")


def given_key(authorization: str) -> bytes | None:
    """The key of a Bearer or Basic header, as bytes."""
    scheme, _, value = authorization.strip().partition(" ")
    if scheme.lower() == "bearer" and value.strip():
        return value.strip().encode("latin-1")
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(value.strip(), validate=True).partition(b":")[2]
    except (binascii.Error, ValueError):
        return None
