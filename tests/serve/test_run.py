"""A real server, real clients."""

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest

from pretune.base.errors import NoKey, NoSuchFile, PortInUse, UserError
from pretune.infer.classify import TextClassifier
from pretune.infer.language import LanguageModel
from pretune.serve.requests import Limits
from pretune.serve.run import Options, is_loopback, model_names, serve, serving

HI = [{"role": "user", "content": "你好 🙂"}]


@pytest.fixture
def url(talker: LanguageModel, counter: TextClassifier) -> Iterator[str]:
    with serving({"talker": talker, "counter": counter}, api_key="secret") as address:
        yield address


def client_of(url: str, key: str = "secret") -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, timeout=20)


def test_openai_client_streams_what_it_gets_plain_and_lists_the_models(url: str) -> None:
    with client_of(url) as client:
        assert [model.id for model in client.models.list()] == ["talker", "counter"]
        plain = client.chat.completions.create(model="talker", messages=HI, temperature=0.9, seed=5)  # type: ignore[call-overload]
        stream = client.chat.completions.create(model="talker", messages=HI, temperature=0.9, seed=5, stream=True)  # type: ignore[call-overload]
        text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
        assert text == plain.choices[0].message.content and plain.choices[0].finish_reason == "stop"
        assert plain.usage.completion_tokens > 5
        done = client.completions.create(model="talker", prompt="Hello", max_tokens=4, stop="zzz")
        assert done.choices[0].finish_reason == "length"


def test_openai_client_gets_its_own_exceptions(url: str) -> None:
    with client_of(url, "wrong") as client, pytest.raises(openai.AuthenticationError, match="wrong"):
        client.models.list()
    with client_of(url) as client:
        long = [{"role": "user", "content": "word " * 500}]
        with pytest.raises(openai.BadRequestError) as found:
            client.chat.completions.create(model="talker", messages=long)  # type: ignore[arg-type]
        assert found.value.code == "context_length_exceeded"
        with pytest.raises(openai.NotFoundError):
            client.chat.completions.create(model="other", messages=HI)  # type: ignore[arg-type]


def test_after_a_bug_the_next_request_of_the_same_client_is_answered(talker: LanguageModel) -> None:
    talker.decoder.fail_after = 0  # type: ignore[attr-defined]
    with serving({"talker": talker}) as url, httpx.Client(base_url=url) as client:
        for _ in range(20):
            answer = client.post("/v1/chat/completions", json={"messages": HI}, timeout=20)
            assert (answer.status_code, answer.headers["connection"]) == (500, "close")
            assert client.get("/health").status_code == 200


@pytest.mark.parametrize("stream", [True, False])
def test_client_that_leaves_stops_its_answer_and_frees_the_model(talker: LanguageModel, stream: bool) -> None:
    decoder = talker.decoder
    decoder.end, decoder.max_length = 0, 100_000  # type: ignore[misc, attr-defined]
    talker = LanguageModel(decoder, talker.tokenizer, (), talker.chat)
    limits = Limits(max_tokens=90_000)
    with serving({"talker": talker}, options=Options(limits=limits)) as url, httpx.Client(base_url=url) as client:
        body = {"messages": HI, "stream": stream, "max_tokens": 90_000}
        if stream:
            with client.stream("POST", "/v1/chat/completions", json=body) as answer:
                next(answer.iter_text())
        else:
            with pytest.raises(httpx.ReadTimeout):
                client.post("/v1/chat/completions", json=body, timeout=0.2)
        quick = client.post("/v1/chat/completions", json={"messages": HI, "max_tokens": 1}, timeout=10)
        assert quick.status_code == 200
        assert decoder.fed < 45_000  # type: ignore[attr-defined]


def test_two_clients_at_once_get_the_answers_they_get_alone(talker: LanguageModel) -> None:
    with serving({"talker": talker}) as url:
        found: dict[int, str] = {}

        def ask(k: int) -> None:
            body = {"messages": [{"role": "user", "content": "one " * (1 + k % 2)}]}
            answer = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=20).json()
            found[k] = answer["choices"][0]["message"]["content"]

        threads = [threading.Thread(target=ask, args=(k,)) for k in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    alone = [talker.reply([{"role": "user", "content": "one " * (1 + k)}]).text for k in range(2)]
    assert [found[k] for k in range(4)] == [alone[0], alone[1]] * 2
    assert alone[0] != alone[1]


def test_health_is_answered_while_a_model_thinks(talker: LanguageModel) -> None:
    talker.decoder.end, talker.decoder.max_length = 0, 100_000  # type: ignore[misc, attr-defined]
    talker = LanguageModel(talker.decoder, talker.tokenizer, (), talker.chat)
    with serving({"talker": talker}) as url, httpx.Client(base_url=url) as client:
        body = {"messages": HI, "stream": True, "max_tokens": 4096}
        with client.stream("POST", "/v1/chat/completions", json=body) as answer:
            next(answer.iter_text())
            start = time.monotonic()
            assert httpx.get(f"{url}/health", timeout=5).json() == {"status": "ok"}
            assert time.monotonic() - start < 3


def test_port_in_use_is_told_before_a_model_is_read(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortInUse, match=rf"(?s)port {port} of .* is in use.*--port {port + 1}"):
            serve([tmp_path / "not-read"], port=port)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.com", ""])
def test_other_machines_need_a_key(host: str, tmp_path: Path) -> None:
    with pytest.raises(NoKey, match="PRETUNE_API_KEY"):
        serve([tmp_path], host=host, port=0)


def test_blank_key_is_no_key(tmp_path: Path) -> None:
    with pytest.raises(NoKey, match="empty"):
        serve([tmp_path], port=0, api_key="  ")


def test_loopback_is_what_only_this_machine_reaches() -> None:
    assert [is_loopback(h) for h in ("127.0.0.1", "::1", "[::1]", "localhost", "127.8.8.8")] == [True] * 5
    assert [is_loopback(h) for h in ("0.0.0.0", "::", "localhost.example", "")] == [False] * 4


def test_missing_model_is_named_and_the_port_is_free_again(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for _ in range(2):
        with pytest.raises(NoSuchFile, match="gone"):
            serve([tmp_path / "gone"], port=port)


def test_models_are_named_by_their_folders_and_parents_where_two_are_alike(tmp_path: Path) -> None:
    assert list(model_names([tmp_path / "a" / "m", tmp_path / "b" / "m", tmp_path / "c"])) == ["a/m", "b/m", "c"]
    with pytest.raises(UserError, match="same name"):
        model_names([tmp_path / "a", tmp_path / "a"])
