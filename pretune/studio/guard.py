"""Who may come in, and with what; asked before any page is.

no token, or a wrong one            401      the address that the terminal prints has it, once; then a cookie
a Host that is not this machine     403      a name that is pointed at 127.0.0.1 (DNS rebinding)
asked by another page               403      Sec-Fetch-Site, and of what changes something the Origin
a body of more than 1 MiB           413      and one that takes more than ten seconds: 408; that is cut short: 400
"""

from __future__ import annotations

import secrets
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlencode

from anyio import fail_after
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pretune.serve.guard import LOCAL

LARGEST_BODY = 1 << 20
BODY_SECONDS = 10
CHANGING = ("POST",)
READING = ("GET", "HEAD")
REFUSED = {401: "open the address that `pretune studio` printed: it has the token", 403: "asked from elsewhere"}


class Guard:
    """Lets through whoever has the token and asks from the studio's own pages."""

    def __init__(self, app: ASGIApp, token: str):
        self.app, self.token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        answer = self._answer(scope, Headers(scope=scope))
        if answer is None and scope["method"] in CHANGING:
            receive, answer = await _whole(receive)
        await (answer or self.app)(scope, receive, send)

    def _answer(self, scope: Scope, headers: Headers) -> Response | None:
        """What is answered instead of the page; None to whoever may come in."""
        host, method = headers.get("host", ""), scope["method"]
        if not LOCAL.fullmatch(host):
            return _refused(403)
        query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        if "token" in query and method in READING:
            return self._opened(scope["path"], query, host) if self._is_token(query["token"][0]) else _refused(401)
        if not self._is_token(_cookie(headers.get("cookie", ""), cookie_name(host))):
            return _refused(401)
        if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
            return _refused(403)
        if method in READING or (method in CHANGING and headers.get("origin", "") == f"http://{host}"):
            return None
        return _refused(403)

    def _opened(self, path: str, query: dict[str, list[str]], host: str) -> Response:
        """Takes the token out of the address, where history and logs would keep it, into a cookie."""
        rest = urlencode({name: values for name, values in query.items() if name != "token"}, doseq=True)
        where = "/" + path.lstrip("/\\")
        answer = RedirectResponse(f"{where}?{rest}" if rest else where, 303)
        answer.set_cookie(cookie_name(host), self.token, httponly=True, samesite="strict")
        answer.headers["Referrer-Policy"] = "no-referrer"
        return answer

    def _is_token(self, given: str) -> bool:
        return secrets.compare_digest(given.encode("utf-8", "replace"), self.token.encode())


def cookie_name(host: str) -> str:
    """Browsers send a cookie to every port of a host, so that two studios need two names."""
    return f"pretune-studio-{host.rpartition(':')[2]}" if ":" in host else "pretune-studio"


def _cookie(header: str, name: str) -> str:
    try:
        found = SimpleCookie(header).get(name)
    except CookieError:
        return ""
    return found.value if found else ""


def _refused(status: int) -> Response:
    return PlainTextResponse(f"{status}: {REFUSED[status]}\n", status)


async def _whole(receive: Receive) -> tuple[Receive, Response | None]:
    """The body read at once, to be received again; or what is answered to one that is too large or too slow."""
    body, more = bytearray(), True
    try:
        with fail_after(BODY_SECONDS):
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":  # half a form is no form
                    return receive, PlainTextResponse("400: cut short\n", 400, {"Connection": "close"})
                body += message.get("body", b"")
                more = message.get("more_body", False)
                if len(body) > LARGEST_BODY:
                    return receive, PlainTextResponse("413: too large\n", 413, {"Connection": "close"})
    except TimeoutError:
        return receive, PlainTextResponse("408: too slow\n", 408, {"Connection": "close"})
    given = iter([{"type": "http.request", "body": bytes(body), "more_body": False}])

    async def again() -> Message:
        return next(given, None) or await receive()

    return again, None
