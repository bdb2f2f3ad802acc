"""Messages to a webhook: what a hostile or broken one cannot do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from pretune.apps.outbox import TABLE, post, problems, sending, sent
from pretune.apps.state import State
from pretune.base.errors import UserError

BODY = {"text": "Where is my parcel? I live in Lamp Street 3."}
Answer = Callable[[BaseHTTPRequestHandler], object]


@contextmanager
def hook(answer: Answer) -> Iterator[tuple[str, list[str]]]:
    """A server that answers so; its address, and what it was asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(f"POST {self.path}")
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            answer(self)

        def do_GET(self) -> None:
            asked.append(f"GET {self.path}")
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments: Any) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    found = State(tmp_path, (TABLE,))
    yield found
    found.close()


def until(happened: Callable[[], object]) -> None:
    for _ in range(300):
        if happened():
            return
        threading.Event().wait(0.01)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_and_is_no_answer(status: int) -> None:
    with hook(lambda other: other.send_response(200)) as (elsewhere, asked):

        def away(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(status)
            handler.send_header("Location", f"{elsewhere}/collect?secret")
            handler.end_headers()

        with hook(away) as (url, _):
            problem = sent(f"{url}/secret", BODY)
    assert asked == []
    assert str(status) in problem and "secret" not in problem


def no_http(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"220 mail.example ESMTP\r\n")


@pytest.mark.parametrize(
    "answer",
    [no_http, lambda handler: None, lambda handler: handler.wfile.write(b"HTTP/1.1 200 OK\r\n" + 200 * b"A: b\r\n")],
    ids=["another protocol", "nothing", "200 headers"],
)
def test_what_is_no_http_is_a_problem_and_the_sender_tries_again(state: State, answer: Answer) -> None:
    with state.writing() as db:
        post(db, BODY)
    with hook(answer) as (url, asked), sending(state, f"{url}/secret", lambda line: None, first_wait=0.01):
        until(lambda: len(asked) >= 2)
    assert len(asked) >= 2
    assert "1 messages wait" in problems(state)[0] and "secret" not in problems(state)[0]


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/sec ret", "http://[secret", "http://127.0.0.1:1/秘密secret"])
def test_an_address_that_cannot_be_asked_is_not_told(url: str) -> None:
    problem = sent(url, BODY)
    assert problem
    assert not any(part in problem for part in ("sec ret", "secret", "秘密"))


@pytest.mark.parametrize(
    "url", ["file:///secret", "ftp://host/secret", "host/secret", "httpx://secret", "http://[secret"]
)
def test_only_http_is_an_address_and_it_is_refused_before_anything_is_served(state: State, url: str) -> None:
    with pytest.raises(UserError, match="http") as error, sending(state, url, print):
        raise AssertionError("it began")
    assert "secret" not in str(error.value)


def test_a_sender_whose_state_fails_says_so_and_goes_on(state: State) -> None:
    told: list[str] = []
    with state.writing() as db:
        db.execute("insert into outbox (body) values ('no json')")
        post(db, BODY)
    with (
        hook(lambda handler: (handler.send_response(200), handler.end_headers())) as (url, asked),
        sending(state, url, told.append, first_wait=0.01),
    ):
        until(lambda: told)
        with state.writing() as db:
            db.execute("delete from outbox where body = 'no json'")
        until(lambda: asked)
    assert asked == ["POST /"]
    assert "JSONDecodeError" in told[0]
