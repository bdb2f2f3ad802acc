"""What is tried is asked of the port that the studio gave to its server, whatever a run prints."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from starlette.testclient import TestClient

from pretune.base.artifact import Card
from pretune.base.lock import started
from pretune.studio.folder import Folder
from pretune.studio.runs import SHOWN_BYTES


class Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Set-Cookie", "stolen=1")
        self.end_headers()
        self.wfile.write(b"somebody's server: " + self.path.encode())

    def log_message(self, *told: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    """The port of a server on loopback."""
    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        yield server.server_port
        server.shutdown()


def run(folder: Folder, words: list[str], log: str) -> None:
    home = folder.own / "runs" / "0001"
    home.mkdir(parents=True)
    known = {"words": words, "pid": os.getpid(), "began": 0.0, "born": started(os.getpid())}
    (home / "run.json").write_text(json.dumps(known), encoding="utf-8")
    (home / "log").write_text(log, encoding="utf-8")


def test_the_server_that_the_studio_started_is_asked_however_much_it_printed_since(
    client: TestClient, folder: Folder, port: int
) -> None:
    log = f"serving talker at http://127.0.0.1:{port}  (Ctrl-C stops)\n" + "a warning\n" * (SHOWN_BYTES // 10)
    run(folder, ["serve", "./talker", "--port", str(port)], log)
    answer = client.get("/try/0001/v1/models")
    assert answer.text == "somebody's server: /v1/models" and "set-cookie" not in answer.headers
    assert 'href="/try/0001/"' in client.get("/runs/0001").text


@pytest.mark.parametrize(
    "words",
    [["check", "./a"], ["serve", "./a"], ["serve", "./a", "--port", "9"], ["new", "serve", "--port", "PORT"], []],
)
def test_no_run_names_another_port_by_what_it_prints(
    client: TestClient, folder: Folder, port: int, words: list[str]
) -> None:
    """A name with a line end, or a row of the data, may say that it serves."""
    run(folder, [str(port) if one == "PORT" else one for one in words], f"serving x at http://127.0.0.1:{port}  (so)\n")
    assert client.get("/try/0001/secrets").status_code == 404


def test_an_application_is_tried_at_its_own_address_where_the_token_is_not_sent(
    client: TestClient, folder: Folder, port: int
) -> None:
    (folder.root / "desk").mkdir()
    card = Card("app", key="k", id="i", stage="support")
    (folder.root / "desk" / "artifact.json").write_text(card.sealed().to_json(), encoding="utf-8")
    assert 'action="/try"' in client.get("/artifacts", params={"path": "desk"}).text
    run(folder, ["serve", "./desk", "--port", str(port)], f"serving desk at http://127.0.0.1:{port}  (so)\n")
    assert f'href="http://localhost:{port}/"' in client.get("/runs/0001").text
