"""Who may come in: checked on every route, before anything is read.

With keys, every request but the two probes needs one (serve/keys.py): `Authorization: Bearer KEY`, or, for a browser,
the password of HTTP Basic (the browser asks for it when it opens the page). Without keys the server is bound to
loopback, and the Host header must say so: otherwise a web page whose name is pointed at 127.0.0.1 could read the
answers (DNS rebinding).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from pretune.serve.errors import ApiError
from pretune.serve.keys import OPEN, Keys
from pretune.serve.logs import current

LOCAL = re.compile(r"(localhost|127(\.[0-9]{1,3}){3}|\[::1\])(:[0-9]+)?", re.IGNORECASE)
"""Names of this machine; an address of loopback is no name that could be pointed elsewhere."""


class Guard:
    """Lets through who may come in; answers the others. A browser is asked for the key on `pages`."""

    def __init__(self, app: ASGIApp, keys: Keys, pages: Collection[str] = ("/",)):
        self.app, self.keys, self.pages = app, keys, pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused = None if scope["type"] == "lifespan" else self._refusal(scope["path"], Headers(scope=scope))
        if refused is None:
            await self.app(scope, receive, send)
            return
        asks_browser = {"WWW-Authenticate": 'Basic realm="pretune: any name, the API key as password", charset="UTF-8"'}
        headers = asks_browser if refused.status == 401 and scope["path"] in self.pages else None
        await refused.response(headers)(scope, receive, send)

    def _refusal(self, path: str, headers: Headers) -> ApiError | None:
        """Why a request may not come in, or None."""
        if not self.keys:
            host = headers.get("host", "")
            problem = f"this server answers to localhost only, not to {host!r}"
            return None if LOCAL.fullmatch(host) else ApiError(403, problem, code="wrong_host")
        if path in OPEN:
            return None
        given = given_key(headers.get("authorization", ""))
        holder = None if given is None else self.keys.find(given)
        if holder is None:
            problem = "no API key was sent (Authorization: Bearer KEY)" if given is None else "the API key is wrong"
            return ApiError(401, problem, code="invalid_api_key")
        current().holder = holder
        return holder.refusal(path)


def given_key(authorization: str) -> bytes | None:
    """The key of a Bearer or Basic header, as bytes."""
    # Blanks only: the header is read as latin-1, in which the last byte of à or 你 is white space too.
    scheme, _, value = authorization.strip(" \t").partition(" ")
    value = value.strip(" \t")
    if scheme.lower() == "bearer" and value:
        return value.encode("latin-1")
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(value, validate=True).partition(b":")[2]
    except (binascii.Error, ValueError):
        return None
