"""What someone who runs a server relies on: counts, log, limits of time, and that it leaves when it has answered."""

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient
from starlette.types import ASGIApp

from pretune.infer.classify import TextClassifier
from pretune.infer.engine import by_length
from pretune.infer.language import LanguageModel
from pretune.serve.app import Logging, Server, create_app
from pretune.serve.documents import PATHS
from pretune.serve.keys import new_key
from pretune.serve.leaving import Running, signals, until_told
from pretune.serve.models import Models
from pretune.serve.requests import Limits
from pretune.serve.run import Opened, Options, _server, address, listening, serving
from tests.serve.test_app import ask, error_of, events_of

CHAT, CLASSIFY = "/v1/chat/completions", "/v1/classify"


def local(app: ASGIApp) -> TestClient:
    return TestClient(app, base_url="http://localhost", raise_server_exceptions=False)


def logged(models: dict[str, Any], *, prompts: bool = False, **more: Any) -> tuple[TestClient, list[dict[str, Any]]]:
    lines: list[dict[str, Any]] = []
    app = create_app(models, logging=Logging(lambda line: lines.append(json.loads(line)), prompts), **more)
    return local(app), lines


# ---- metrics ------------------------------------------------------------------------------------


def samples(text: str) -> dict[str, float]:
    return {name: float(value) for name, _, value in (x.rpartition(" ") for x in text.splitlines() if x[0] != "#")}


def test_metrics_count_what_was_answered(talker: LanguageModel, counter: TextClassifier) -> None:
    client = local(create_app({"talker": talker, 'a "b"\\': counter}))
    prompt = len(talker.chat_prompt([{"role": "user", "content": "你好"}]))
    for body in (ask(max_tokens=3), ask(max_tokens=4, n=2, stream=True), ask(max_tokens=0)):
        client.post(CHAT, json=body)
    client.get("/v1/models/talker")
    client.get("/made-up/by/a/client")
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    found = samples(answer.text)
    chat = f'{{route="{CHAT}"'
    assert found[f'pretune_requests_total{chat},status="200"}}'] == 2
    assert found[f'pretune_requests_total{chat},status="400"}}'] == 1
    assert found['pretune_requests_total{route="/v1/models/{name}",status="200"}'] == 1
    assert found['pretune_requests_total{route="other",status="404"}'] == 1
    assert found['pretune_tokens_total{direction="read"}'] == 2 * prompt
    assert found['pretune_tokens_total{direction="written"}'] == 3 + 2 * 4
    assert (
        found[f'pretune_request_seconds_bucket{chat},le="+Inf"}}']
        == found[f"pretune_request_seconds_count{chat}}}"]
        == 3
    )
    bounds = [value for name, value in found.items() if name.startswith(f"pretune_request_seconds_bucket{chat}")]
    assert bounds == sorted(bounds) and found[f"pretune_request_seconds_sum{chat}}}"] > 0
    assert found['pretune_queue_length{model="talker"}'] == found['pretune_slots_busy{model="talker"}'] == 0
    assert found['pretune_model_open{model="a \\"b\\"\\\\"}'] == 1


def test_a_request_that_is_refused_has_read_no_tokens_and_costs_its_key_none(talker: LanguageModel) -> None:
    secret, key = new_key("few")
    head = {"Authorization": f"Bearer {secret}"}
    limits = Limits(max_waiting=0)
    client = local(create_app({"talker": talker}, limits=limits, keys=[key.model_copy(update={"tokens": 3})]))
    for _ in range(2):
        answer = client.post(CHAT, json=ask(), headers=head)
        assert "waiting for this model" in error_of(answer, 429)["message"]
    assert samples(client.get("/metrics", headers=head).text)['pretune_tokens_total{direction="read"}'] == 0


def test_promtool_reads_the_metrics(talker: LanguageModel) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool (Debian's package prometheus) is not installed")
    client = local(create_app({"talker": talker}))
    client.post(CHAT, json=ask(max_tokens=3))
    text = client.get("/metrics").text
    told = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, encoding="utf-8", timeout=60, check=False
    )
    assert (told.returncode, told.stdout, told.stderr) == (0, "", "")


# ---- log ----------------------------------------------------------------------------------------


def test_a_request_is_one_line_with_who_and_how_much_and_none_of_its_text(talker: LanguageModel) -> None:
    secret, key = new_key("website")
    client, lines = logged({"talker": talker}, keys=[key])
    head = {"Authorization": f"Bearer {secret}", "X-Request-Id": "mine-1"}
    answer = client.post(CHAT, json=ask(max_tokens=3), headers=head)
    usage = answer.json()["usage"]
    (line,) = lines
    assert line.pop("seconds") >= 0 and re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]{12}Z", line.pop("time"))
    assert line == {
        "id": "mine-1",
        "method": "POST",
        "route": CHAT,
        "status": 200,
        "model": "talker",
        "key": "website",
        "tokens_read": usage["prompt_tokens"],
        "tokens_written": 3,
    }
    assert answer.headers["x-request-id"] == "mine-1"
    client.get("/v1/models", headers={"Authorization": "Bearer wrong"})
    assert (lines[1]["status"], lines[1]["key"]) == (401, None)


def test_the_log_has_what_was_asked_only_where_that_is_wanted(talker: LanguageModel) -> None:
    client, lines = logged({"talker": talker}, prompts=True)
    client.post(CHAT, json=ask(max_tokens=1))
    assert lines[0]["asked"] == ask(max_tokens=1)


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", 'a"b', "你好".encode(), "a\tb"])
def test_a_request_id_that_could_spoil_the_log_is_replaced(talker: LanguageModel, given: str | bytes) -> None:
    client, lines = logged({"talker": talker})
    answer = client.get("/health", headers={"X-Request-Id": given})
    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["x-request-id"])
    assert lines[0]["id"] == answer.headers["x-request-id"]


def test_a_bug_has_a_line_and_an_id_too(talker: LanguageModel) -> None:
    talker.decoder.fail_after = 0  # type: ignore[attr-defined]
    client, lines = logged({"talker": talker})
    answer = client.post(CHAT, json=ask())
    assert answer.status_code == lines[0]["status"] == 500 and answer.headers["x-request-id"] == lines[0]["id"]


def test_a_stream_that_ends_with_an_error_is_no_success_in_log_and_metrics(talker: LanguageModel) -> None:
    limits = Limits(max_seconds=1, max_tokens=90_000)
    client, lines = logged({"talker": endless(talker)}, limits=limits)
    assert client.post(CHAT, json=ask(max_tokens=90_000, stream=True)).status_code == 200
    talker.decoder.fail_after = 0  # type: ignore[attr-defined]
    assert client.post(CHAT, json=ask(stream=True)).status_code == 200
    assert [line["status"] for line in lines] == [504, 500]
    found = samples(client.get("/metrics").text)
    assert [found[f'pretune_requests_total{{route="{CHAT}",status="{status}"}}'] for status in (504, 500)] == [1, 1]


def test_tokens_of_texts_are_counted_by_the_engine_that_reads_them(counter: TextClassifier) -> None:
    plain = counter.encoder.logits

    class Reading:
        max_length = 64

        def logits(self, rows: Any) -> Any:
            return by_length(rows, lambda few: plain(list(few)))

    from dataclasses import replace

    client, lines = logged({"m": replace(counter, encoder=Reading())})
    texts = ["a", "Hello world", "你好"]
    client.post(CLASSIFY, json={"input": texts})
    assert lines[0]["tokens_read"] == sum(len(counter.tokenizer.encode(text).ids) for text in texts)


# ---- limits of time and number ------------------------------------------------------------------


def endless(talker: LanguageModel) -> LanguageModel:
    talker.decoder.end, talker.decoder.max_length = 0, 100_000  # type: ignore[misc, attr-defined]
    return LanguageModel(talker.decoder, talker.tokenizer, (), talker.chat)


def test_an_answer_that_takes_too_long_is_504_and_the_model_is_free_again(talker: LanguageModel) -> None:
    client = local(create_app({"talker": endless(talker)}, limits=Limits(max_seconds=1, max_tokens=90_000)))
    began = time.monotonic()
    assert error_of(client.post(CHAT, json=ask(max_tokens=90_000)), 504)["code"] == "timeout"
    events = events_of(client.post(CHAT, json=ask(max_tokens=90_000, stream=True)))
    assert events[-1]["error"]["code"] == "timeout" and len(events) > 3
    assert client.post(CHAT, json=ask(max_tokens=1)).status_code == 200
    assert time.monotonic() - began < 10


def test_more_messages_than_allowed_are_refused(talker: LanguageModel) -> None:
    client = local(create_app({"talker": talker}, limits=Limits(max_messages=2)))
    assert error_of(client.post(CHAT, json=ask(messages=ask()["messages"] * 3)), 400)["param"] == "messages"


def raw(url: str, data: bytes) -> socket.socket:
    host, port = url.removeprefix("http://").split(":")
    found = socket.create_connection((host, int(port)), timeout=20)
    found.sendall(data)
    return found


def wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def all_of(connection: socket.socket) -> bytes:
    found = b""
    while piece := connection.recv(1 << 16):
        found += piece
    return found


def test_slow_bodies_are_408_and_half_a_head_is_closed_while_others_are_answered(counter: TextClassifier) -> None:
    head = b"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    options = Options(limits=Limits(max_body_seconds=1))
    with (
        serving({"m": counter}, options=options) as url,
        raw(url, head) as slow,
        raw(url, head[:40]) as half,
        raw(url, b"") as mute,
    ):
        assert httpx.post(url + CLASSIFY, json={"input": "a"}).status_code == 200
        assert all_of(slow).startswith(b"HTTP/1.1 408")
        assert all_of(half) == all_of(mute) == b""


@pytest.mark.parametrize(("megabytes", "told"), [(3, b"HTTP/1.1 413"), (30, b"")])
def test_who_sends_too_much_is_told_so_and_who_does_not_end_is_closed(
    counter: TextClassifier, megabytes: int, told: bytes
) -> None:
    with serving({"m": counter}) as url:
        head = f"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {megabytes << 20}\r\nConnection: close\r\n\r\n"
        with raw(url, head.encode()) as connection:
            try:
                for _ in range(megabytes):
                    connection.sendall(b"x" * (1 << 20))
                found = all_of(connection)
            except ConnectionError:
                found = b""
            assert found.startswith(told)
        assert httpx.post(url + CLASSIFY, json={"input": "a"}).status_code == 200


# ---- leaving ------------------------------------------------------------------------------------


def test_a_server_that_leaves_under_load_answers_all_that_it_took(talker: LanguageModel) -> None:
    """Twelve requests wait for one model; one has connected and sends its request after the server was told."""
    limits = Limits(max_seconds=60)
    body = ask(max_tokens=20)
    feed = talker.decoder.feed
    talker.decoder.feed = lambda *given: time.sleep(0.005) or feed(*given)  # type: ignore[method-assign, func-returns-value]
    with listening("127.0.0.1", 0) as listener, ThreadPoolExecutor(12) as pool:
        running = Running(_server(Opened({"talker": talker}), Options(limits=limits)), listener)
        url = address(listener)
        asked = [
            pool.submit(httpx.post, url + CHAT, json={**body, "stream": k % 2 == 0}, timeout=60) for k in range(12)
        ]
        wait_until(lambda: samples(httpx.get(url + "/metrics").text)['pretune_queue_length{model="talker"}'] >= 9)
        late, waiting = raw(url, b"GET /ready HTTP/1.1\r\n"), raw(url, b"")
        leaving = threading.Thread(target=running.leave)
        leaving.start()
        time.sleep(0.2)  # no more is taken by now
        late.sendall(b"Host: localhost\r\nConnection: close\r\n\r\n")
        with late, waiting:
            assert all_of(late).startswith(b"HTTP/1.1 503")
            assert all_of(waiting) == b""
        answers = [one.result() for one in asked]
        leaving.join()
        running.join(20)
        assert not running.thread.is_alive()
    assert [answer.status_code for answer in answers] == [200] * 12
    assert all("length" in answer.text for answer in answers)
    with pytest.raises(httpx.ConnectError):
        httpx.get(url + "/ready")


PROGRAM = """
import time
from tests.serve import conftest
import pretune.serve.run as run

class Slow:
    max_length = 64
    def logits(self, rows):
        print("thinking", flush=True)
        time.sleep(0.5)
        return conftest.Counter().logits(rows)

tokenizer = conftest.tokenizer.__wrapped__()
model = conftest.TextClassifier(Slow(), tokenizer, conftest.Facts("classify", "label", 64, ("long", "short")))
run.open_model = lambda path: model
run.serve(["m"], port=0, write=lambda line: print(line, flush=True))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends a process that is sent SIGTERM")
def test_sigterm_ends_with_0_when_all_is_answered() -> None:
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, encoding="utf-8", cwd=root
    ) as server:
        try:
            assert server.stdout is not None
            url = next(line for line in server.stdout if line.startswith("serving")).split()[3]
            with ThreadPoolExecutor(1) as pool:
                asked = pool.submit(httpx.post, url + CLASSIFY, json={"input": "a"}, timeout=60)
                assert server.stdout.readline() == "thinking\n"
                server.terminate()
                assert server.stdout.readline().startswith("finishing what was asked")
                assert asked.result().status_code == 200
                assert server.wait(20) == 0
        finally:
            server.kill()  # a claim that fails must not wait for it


def test_a_second_signal_ends_the_process_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    monkeypatch.setattr("os._exit", ended.append)
    with signals() as told:
        assert not told.is_set()
        signal.raise_signal(signal.SIGTERM)
        assert told.is_set() and not ended
        signal.raise_signal(signal.SIGINT)
    assert ended == [128 + signal.SIGINT]


def test_a_server_that_ends_by_itself_does_not_end_well(
    monkeypatch: pytest.MonkeyPatch, counter: TextClassifier
) -> None:
    monkeypatch.setattr("uvicorn.Server.run", lambda server, sockets: None)
    with listening("127.0.0.1", 0) as listener, pytest.raises(RuntimeError, match="ended by itself"):
        until_told(_server(Opened({"m": counter}), Options()), listener, print)


# ---- the document -------------------------------------------------------------------------------


def test_the_document_has_every_route_and_what_it_reads(counter: TextClassifier) -> None:
    tree = local(create_app({"m": counter})).get("/openapi.json").json()
    routes = Server(Models({}), Limits(), threading.Event()).routes()
    assert tree["openapi"] == "3.1.0"
    assert set(tree["paths"]) == set(PATHS) == {route.path.replace(":path", "") for route in routes}
    schemas = tree["components"]["schemas"]
    assert schemas["Texts"]["additionalProperties"] is False and schemas["Chat"]["required"] == ["messages"]
    references = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(tree)))
    assert references <= set(schemas) and {"Chat", "Complete", "Texts", "AnswerIn", "Embed", "Rerank"} <= references
    assert tree["paths"]["/ready"]["get"]["security"] == []
