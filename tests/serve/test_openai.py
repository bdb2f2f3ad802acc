"""The official client over a real socket: a test for each call, and for each kind of error."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import openai
import pytest
from tokenizers import Tokenizer

from pretune.infer.chat import ChatFormat
from pretune.infer.embed import Embedder
from pretune.infer.language import LanguageModel
from pretune.infer.predictor import Facts
from pretune.infer.sampling import Sampling
from pretune.serve.requests import Limits
from pretune.serve.run import Options, serving
from pretune.tokens.encode.tokenizer import Specials, encode_text
from tests.infer.conftest import Script, Table
from tests.infer.test_calls import HERMES

HI: Any = [{"role": "user", "content": "你好 🙂"}]
SAYS = "你好，世界 🙂 naïve 👩‍👩‍👧 done."
CITY = {"type": "object", "properties": {"city": {"enum": ["北京", "Oslo"]}}, "required": ["city"]}
TOOLS: Any = [
    {"type": "function", "function": {"name": name, "parameters": {**CITY, "additionalProperties": False}}}
    for name in ("weather", "map")
]


class Widths:
    """Vectors that are the length of a text, and one."""

    max_length = 64

    def logits(self, rows: list[list[int]]) -> list[np.ndarray]:
        return [np.array([len(row), 1.0], dtype=np.float32) for row in rows]


@dataclass(frozen=True)
class Broken(Table):
    def feed(self, state: Any, ids_BL: np.ndarray) -> tuple[np.ndarray, Any]:
        raise RuntimeError("a secret")


@pytest.fixture(scope="module")
def models(tokenizer: Tokenizer) -> dict[str, Any]:
    chat = ChatFormat(HERMES, tokenizer, Specials(eos=0))
    size, ends = tokenizer.get_vocab_size(), tuple(chat.ends)
    says = (*encode_text(tokenizer, SAYS), ends[0])
    return {
        "table": LanguageModel(Table(size, max_length=600), tokenizer, ends, chat),
        "script": LanguageModel(Script(size, says), tokenizer, ends, chat),
        "broken": LanguageModel(Broken(size), tokenizer, ends, chat),
        "embedder": Embedder(Widths(), tokenizer, Facts("embed", "vector", 64)),
    }


@pytest.fixture(scope="module")
def url(models: dict[str, Any]) -> Iterator[str]:
    with serving(models, api_key="secret", options=Options(limits=Limits(max_body_bytes=20_000))) as address:
        yield address


def client_of(url: str, key: str = "secret", **more: Any) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, timeout=30, **more)


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[openai.OpenAI]:
    with client_of(url) as made:
        yield made


def form(schema: dict[str, Any]) -> Any:
    return {"type": "json_schema", "json_schema": {"name": "s", "strict": True, "schema": schema}}


def test_models_are_listed_and_told_one_by_one(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["table", "script", "broken", "embedder"]
    assert client.models.retrieve("table").owned_by == "pretune"


def test_chat_stream_and_plain_are_the_same_characters(client: openai.OpenAI) -> None:
    plain = client.chat.completions.create(model="script", messages=HI)
    chunks = list(client.chat.completions.create(model="script", messages=HI, stream=True))
    texts = [chunk.choices[0].delta.content or "" for chunk in chunks]
    assert "".join(texts) == plain.choices[0].message.content == SAYS
    assert not any("\ufffd" in text for text in texts)
    assert [c.choices[0].finish_reason for c in chunks if c.choices[0].finish_reason] == ["stop"]


def test_stop_texts_are_absent_and_usage_counts(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model="script", messages=HI, stop=["界 🙂", "zz"])
    assert whole.choices[0].message.content == "你好，世" and whole.choices[0].finish_reason == "stop"
    options: Any = {"include_usage": True}
    chunks = list(
        client.chat.completions.create(model="script", messages=HI, stop="界 🙂", stream=True, stream_options=options)
    )
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "你好，世"
    assert chunks[-1].usage == whole.usage


def test_n_answers_of_a_seed_differ_and_come_again(client: openai.OpenAI) -> None:
    asked: Any = {"model": "table", "messages": HI, "n": 3, "seed": 4, "temperature": 1.2, "max_tokens": 12}
    first, again = (client.chat.completions.create(**asked).choices for _ in range(2))
    assert len({one.message.content for one in first}) == 3
    assert [one.message.content for one in first] == [one.message.content for one in again]


@pytest.mark.parametrize("stream", [False, True])
def test_response_format_is_kept_to(client: openai.OpenAI, stream: bool) -> None:
    schema = {**CITY, "additionalProperties": False}
    asked: Any = {"model": "table", "messages": HI, "temperature": 1, "response_format": form(schema), "stream": stream}
    found = client.chat.completions.create(**asked, seed=1, max_tokens=200)
    text = "".join(c.choices[0].delta.content or "" for c in found) if stream else found.choices[0].message.content
    assert json.loads(text)["city"] in ("北京", "Oslo")


def test_any_object_choices_patterns_and_schemas_by_vllms_names(client: openai.OpenAI) -> None:
    def said(**more: Any) -> str:
        asked: Any = {"model": "table", "messages": HI, "temperature": 1, "seed": 2, "max_tokens": 300}
        return client.chat.completions.create(**asked, **more).choices[0].message.content or ""

    assert said(response_format={"type": "json_object"}).startswith("{")
    assert said(extra_body={"guided_choice": ["是", "否"]}) in ("是", "否")
    assert said(extra_body={"guided_regex": "[0-9]{3}"}).isdigit()
    assert said(extra_body={"guided_json": {"type": "boolean"}}) in ("true", "false")
    done = client.completions.create(model="table", prompt="a", max_tokens=9, extra_body={"guided_choice": ["x y"]})
    assert (done.choices[0].text, done.choices[0].finish_reason) == ("x y", "stop")


def test_what_is_cut_off_says_length(client: openai.OpenAI) -> None:
    asked: Any = {"model": "table", "messages": HI, "max_tokens": 3, "response_format": form({"const": "a long text"})}
    assert client.chat.completions.create(**asked).choices[0].finish_reason == "length"


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "map"}}])
@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_that_must_be_called_is(client: openai.OpenAI, choice: Any, stream: bool) -> None:
    asked: Any = {"model": "table", "messages": HI, "tools": TOOLS, "tool_choice": choice, "temperature": 1}
    found = client.chat.completions.create(**asked, seed=3, max_tokens=300, stream=stream)
    if stream:
        chunks = list(found)
        calls = [call for c in chunks for call in c.choices[0].delta.tool_calls or ()]
        assert chunks[-1].choices[0].finish_reason == "tool_calls"
    else:
        calls = found.choices[0].message.tool_calls
        assert found.choices[0].finish_reason == "tool_calls" and found.choices[0].message.content is None
    (call,) = calls
    assert call.function.name in (["map"] if isinstance(choice, dict) else ["weather", "map"])
    assert json.loads(call.function.arguments)["city"] in ("北京", "Oslo")


@pytest.mark.parametrize(("begin", "is_called"), [("<", True), ('"', False)])
def test_a_form_and_tools_give_one_or_the_other(
    client: openai.OpenAI, tokenizer: Tokenizer, begin: str, is_called: bool
) -> None:
    (token,) = encode_text(tokenizer, begin)
    asked: Any = {"model": "table", "messages": HI, "tools": TOOLS, "response_format": form({"enum": ["no call"]})}
    (choice,) = client.chat.completions.create(**asked, max_tokens=200, logit_bias={str(token): 50}).choices
    assert bool(choice.message.tool_calls) is is_called
    assert is_called or choice.message.content == '"no call"'


def test_logprobs_of_chat_are_the_models_own(client: openai.OpenAI, models: dict[str, Any]) -> None:
    model, asked = (
        models["table"],
        {"logprobs": True, "top_logprobs": 2, "temperature": 1.5, "seed": 1, "max_tokens": 6},
    )
    found = client.chat.completions.create(model="table", messages=HI, **asked)  # type: ignore[call-overload]
    told = found.choices[0].logprobs.content
    ours = Sampling(temperature=1.5, seed=1, max_tokens=6, top_logprobs=2)
    wanted = [one for piece in model.stream(model.chat_prompt(HI), ours) for one in piece.chosen]
    assert [one.logprob for one in told] == [one.log_p for one in wanted] and len(told) == 6
    assert all(one.logprob < 0 and one.top_logprobs[0].logprob >= one.logprob for one in told)
    text = b"".join(bytes(one.bytes) for one in told).decode("utf-8", "replace")
    assert text == found.choices[0].message.content
    chunks = client.chat.completions.create(model="table", messages=HI, stream=True, **asked)  # type: ignore[call-overload]
    streamed = [one for c in chunks if c.choices[0].logprobs for one in c.choices[0].logprobs.content]
    assert streamed == told


def test_completions_go_on_echo_and_tell_logprobs(client: openai.OpenAI) -> None:
    done = client.completions.create(model="script", prompt=["Hello", "你"], echo=True, max_tokens=2, n=2)
    assert [one.text[:2] for one in done.choices] == ["He", "He", "你你", "你你"]
    chunks = client.completions.create(model="script", prompt="Hello ", echo=True, stream=True)
    assert "".join(c.choices[0].text for c in chunks) == f"Hello {SAYS}"
    told = client.completions.create(model="script", prompt="Hello", logprobs=2).choices[0]
    assert told.logprobs is not None and told.logprobs.tokens is not None and told.logprobs.top_logprobs is not None
    whole = [k for k, token in enumerate(told.logprobs.tokens) if not token.startswith("bytes:")]
    assert told.logprobs.text_offset is not None and len(whole) > 5
    for k in whole:
        place = told.logprobs.text_offset[k]
        assert told.text[place:].startswith(told.logprobs.tokens[k])
    assert all(len(top) == 2 and math.isclose(max(top.values()), 0, abs_tol=1e-5) for top in told.logprobs.top_logprobs)


def test_biases_and_penalties_reach_the_model(client: openai.OpenAI, tokenizer: Tokenizer) -> None:
    (token,) = encode_text(tokenizer, "Z")
    asked: Any = {"model": "table", "messages": HI, "max_tokens": 4, "logit_bias": {str(token): 100}}
    assert client.chat.completions.create(**asked).choices[0].message.content == "ZZZZ"
    found = client.chat.completions.create(**asked, frequency_penalty=2, presence_penalty=2, top_p=0.5)
    assert found.choices[0].message.content == "ZZZZ", "100 is more than all penalties"
    asked["logit_bias"] = {str(token): 12}
    once = client.chat.completions.create(**asked, frequency_penalty=2, presence_penalty=2).choices[0].message.content
    assert once is not None and 0 < once.count("Z") < client.chat.completions.create(**asked).choices[
        0
    ].message.content.count("Z")  # type: ignore[union-attr]


def test_embeddings(client: openai.OpenAI) -> None:
    found = client.embeddings.create(model="embedder", input=["one two", "x"])
    assert [one.embedding[1] for one in found.data] == [1.0, 1.0] and found.data[0].embedding[0] > 1
    assert found.usage.prompt_tokens > 1


def error_of(made: Any, kind: type[openai.APIStatusError]) -> openai.APIStatusError:
    with pytest.raises(kind) as found:
        made()
    assert type(found.value) is kind
    return found.value


def test_every_class_of_errors(client: openai.OpenAI, url: str) -> None:
    ask = client.chat.completions.create
    bad = error_of(lambda: ask(model="table", messages=HI, response_format=form({"enum": []})), openai.BadRequestError)
    assert (bad.code, bad.param) == ("bad-grammar", "response_format")
    error_of(lambda: ask(model="nobody", messages=HI), openai.NotFoundError)
    with client_of(url, "wrong") as wrong:
        error_of(wrong.models.list, openai.AuthenticationError)
    failed = error_of(lambda: ask(model="broken", messages=HI), openai.InternalServerError)
    assert "secret" not in str(failed)
    # A little too large: who is still writing when the server hangs up may not read its answer.
    large: Any = [{"role": "user", "content": "x" * 20_000}]
    assert error_of(lambda: ask(model="table", messages=large), openai.APIStatusError).status_code == 413


def test_errors_of_a_server_that_is_busy_elsewhere_or_gone(models: dict[str, Any]) -> None:
    with (
        serving({"table": models["table"]}, options=Options(limits=Limits(max_waiting=0))) as url,
        client_of(url) as client,
    ):
        error_of(lambda: client.chat.completions.create(model="table", messages=HI), openai.RateLimitError)
        with httpx.Client(headers={"Host": "example.com"}) as http, client_of(url, http_client=http) as rebound:
            error_of(rebound.models.list, openai.PermissionDeniedError)
    with client_of(url) as client, pytest.raises(openai.APIConnectionError):
        client.models.list()
