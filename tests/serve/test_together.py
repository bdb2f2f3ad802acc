"""Clients that ask at the same time are answered together, each as if it were alone."""

import asyncio
import json
import time
from typing import Any

import httpx
import pytest
from tokenizers import Tokenizer

from pretune.base.errors import DoesNotFit
from pretune.infer.batching import Batching
from pretune.infer.language import LanguageModel
from pretune.infer.sampling import Sampling
from pretune.model.generate import TorchDecoder
from pretune.serve.app import create_app
from pretune.serve.requests import Limits
from pretune.serve.run import cache_told
from tests.infer.test_torch_engine import causal

TEXT = "/v1/completions"


@pytest.fixture(scope="module")
def writer(tokenizer: Tokenizer) -> LanguageModel:
    return LanguageModel(TorchDecoder(causal("qwen3").double()), tokenizer, (0,))


def all_at_once(app: Any, bodies: list[dict[str, Any]]) -> list[httpx.Response]:
    async def ask() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=60) as client:
            return await asyncio.gather(*[client.post(TEXT, json=body) for body in bodies])

    return asyncio.run(ask())


def test_many_clients_plain_and_streaming_with_choices_get_the_answers_of_each_alone(
    writer: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = create_app({"m": writer})
    engines = watched(monkeypatch)
    bodies: list[dict[str, Any]] = [
        {"prompt": "Hello 你好" * (k + 1), "n": 1 + k % 3, "temperature": 1.1, "seed": k, "max_tokens": 12 + k, "stream": k % 2 == 1}
        for k in range(6)
    ]  # fmt: skip
    for body, reply in zip(bodies, all_at_once(app, bodies), strict=True):
        prompt = writer.text_prompt(body["prompt"])
        for index in range(body["n"]):
            sampling = Sampling(temperature=1.1, seed=body["seed"] + index, max_tokens=body["max_tokens"])
            assert texts_of(reply)[index] == writer.write(prompt, sampling).text
    (engine,) = engines
    assert engine.most_rows > 4 and not engine.active


def watched(monkeypatch: pytest.MonkeyPatch) -> list[Batching]:
    """The engines that are made from now on."""
    found: list[Batching] = []

    def made(*args: Any) -> Batching:
        found.append(Batching(*args))
        return found[-1]

    monkeypatch.setattr("pretune.serve.kept.Batching", made)
    return found


def texts_of(reply: httpx.Response) -> list[str]:
    """The text of each choice, plain or joined from a stream."""
    if "json" in reply.headers["content-type"]:
        return [choice["text"] for choice in reply.json()["choices"]]
    lines = [line.removeprefix("data: ") for line in reply.text.split("\n\n") if line and "[DONE]" not in line]
    found: dict[int, str] = {}
    for choice in (json.loads(line)["choices"][0] for line in lines):
        found[choice["index"]] = found.get(choice["index"], "") + choice["text"]
    return [found[index] for index in sorted(found)]


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_no_cache_holds_is_refused_before_its_first_piece(writer: LanguageModel, stream: bool) -> None:
    app = create_app({"m": writer}, limits=Limits(max_cache_bytes=20 * writer.decoder.position_bytes))
    short, long = ({"prompt": "Hello", "max_tokens": tokens, "stream": stream} for tokens in (5, 50))
    fine, refused = all_at_once(app, [short, long])
    assert fine.status_code == 200 and refused.status_code == 400
    assert "is all there may be" in refused.json()["error"]["message"]


def test_a_plain_client_that_leaves_while_it_waits_is_not_answered(
    writer: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    engines, body = watched(monkeypatch), {"prompt": "Hello", "max_tokens": 50}
    monkeypatch.setattr("pretune.infer.batching.Batching.step", lambda engine: time.sleep(0.01))

    async def ask(app: Any) -> None:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(client.post(TEXT, json=body), 0.5)

    asyncio.run(ask(create_app({"m": writer})))
    assert [job.has_left for job in engines[0].inbox] == [True]
    engines[0].inbox.clear()


def test_of_a_burst_no_more_wait_than_may(writer: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pretune.infer.batching.Batching.step", lambda engine: time.sleep(0.01))
    engines = watched(monkeypatch)
    app = create_app({"m": writer}, limits=Limits(max_waiting=3, max_seconds=1))
    answers = all_at_once(app, [{"prompt": "Hello", "max_tokens": 5}] * 100)
    assert sorted(answer.status_code for answer in answers) == [429] * 97 + [504] * 3
    engines[0].inbox.clear()


def test_a_cache_larger_than_the_memory_is_refused_at_the_start() -> None:
    with pytest.raises(DoesNotFit, match=r"keys and values of 9\.00 GB do not fit into the 4\.00 GB"):
        cache_told(Limits(max_cache_bytes=9 * 10**9), 4 * 10**9)
    assert "at most 3.00 GB" in cache_told(Limits(max_cache_bytes=3 * 10**9), 4 * 10**9)
