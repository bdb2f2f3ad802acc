"""The routes, in this process: shapes, limits, keys and errors (traps 35, 36)."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient
from tokenizers import Tokenizer

from pretune.infer.chat import ChatFormat
from pretune.infer.classify import TextClassifier
from pretune.infer.language import LanguageModel
from pretune.infer.predictor import Facts
from pretune.infer.spans import SpanFinder
from pretune.infer.tag import Tagger
from pretune.serve.app import create_app
from pretune.serve.requests import Limits
from pretune.tokens.encode.tokenizer import Specials, encode_text
from tests.infer.conftest import Script
from tests.serve.conftest import CHATML, Babbler

Client = Callable[..., TestClient]
CHAT, TEXT, CLASSIFY, TAG = "/v1/chat/completions", "/v1/completions", "/v1/classify", "/v1/tag"
ANSWER = "/v1/answer"
HI = [{"role": "user", "content": "你好"}]
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "北京"}'}}
ROUTES = [
    ("GET", "/"),
    ("GET", "/metrics"),
    ("GET", "/openapi.json"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/talker"),
    ("GET", "/nowhere"),
]
ROUTES += [("POST", CHAT), ("POST", TEXT), ("POST", CLASSIFY), ("POST", TAG), ("POST", ANSWER), ("DELETE", CHAT)]


@pytest.fixture
def client(talker: LanguageModel, counter: TextClassifier, completer: LanguageModel, finder: SpanFinder) -> Client:
    def make(key: str | None = None, base: str = "http://localhost", **limits: int) -> TestClient:
        models = {"talker": talker, "counter": counter, "completer": completer, "finder": finder}
        app = create_app(models, api_key=key, limits=Limits(**limits))
        return TestClient(app, base_url=base, raise_server_exceptions=False)

    return make


def error_of(answer: Any, status: int) -> dict[str, Any]:
    """The error object; every error has the same four fields."""
    assert answer.status_code == status, answer.text
    tree = answer.json()
    assert set(tree) == {"error"} and set(tree["error"]) == {"message", "type", "code", "param"}
    found: dict[str, Any] = tree["error"]
    return found


def ask(**settings: Any) -> dict[str, Any]:
    return {"model": "talker", "messages": HI, **settings}


def test_plain_answer_has_the_shape_and_the_counts_of_openai(client: Client, talker: LanguageModel) -> None:
    tree = client().post(CHAT, json=ask(max_tokens=5)).json()
    prompt = talker.chat_prompt(HI)
    assert tree["object"] == "chat.completion" and tree["id"].startswith("chatcmpl-") and tree["model"] == "talker"
    assert tree["choices"][0]["message"]["role"] == "assistant" and tree["choices"][0]["finish_reason"] == "length"
    assert tree["usage"] == {"prompt_tokens": len(prompt), "completion_tokens": 5, "total_tokens": len(prompt) + 5}


def test_without_max_tokens_the_answer_stops_by_itself(client: Client, talker: LanguageModel) -> None:
    choice = client().post(CHAT, json=ask()).json()["choices"][0]
    assert choice["finish_reason"] == "stop"
    assert choice["message"]["content"] == talker.reply(HI).text


def test_n_answers_are_drawn_with_seeds_of_their_own_and_again_the_same(client: Client) -> None:
    body = ask(n=3, temperature=1.5, seed=7, max_tokens=20)
    first, again = (client().post(CHAT, json=body).json()["choices"] for _ in range(2))
    texts = [choice["message"]["content"] for choice in first]
    assert len(set(texts)) == 3 and [choice["index"] for choice in first] == [0, 1, 2]
    assert texts == [choice["message"]["content"] for choice in again]


def test_without_a_seed_two_draws_differ(client: Client) -> None:
    body = ask(temperature=2, max_tokens=20)
    texts = {client().post(CHAT, json=body).json()["choices"][0]["message"]["content"] for _ in range(2)}
    assert len(texts) == 2


def events_of(answer: Any) -> list[Any]:
    parts = answer.text.split("\n\n")
    assert parts[-1] == "" and parts[-2] == "data: [DONE]"
    return [json.loads(part.removeprefix("data: ")) for part in parts[:-2]]


def test_stream_ends_with_done_and_carries_usage_when_asked(client: Client) -> None:
    body = ask(stream=True, stream_options={"include_usage": True}, max_tokens=6)
    answer = client().post(CHAT, json=body)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["x-accel-buffering"] == "no"
    events = events_of(answer)
    assert events[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert events[-1]["choices"] == [] and events[-1]["usage"]["completion_tokens"] == 6
    assert len({event["id"] for event in events}) == 1


@pytest.mark.parametrize(
    "settings", [{}, {"temperature": 1.3, "seed": 3}, {"stop": ["e", "你"]}, {"n": 2, "max_tokens": 9}]
)
def test_joined_stream_is_the_plain_answer(client: Client, settings: dict[str, Any]) -> None:
    plain = client().post(CHAT, json=ask(**settings)).json()["choices"]
    events = events_of(client().post(CHAT, json=ask(stream=True, **settings)))
    for choice in plain:
        mine = [e["choices"][0] for e in events if e["choices"][0]["index"] == choice["index"]]
        assert "".join(e["delta"]["content"] for e in mine) == choice["message"]["content"]
        assert [e["finish_reason"] for e in mine if e["finish_reason"]] == [choice["finish_reason"]]


def test_completions_take_several_prompts(client: Client, completer: LanguageModel) -> None:
    body = {"model": "completer", "prompt": ["Hello", "你好"], "max_tokens": 7}
    tree = client().post(TEXT, json=body).json()
    assert tree["object"] == "text_completion"
    from pretune.infer.sampling import Sampling

    wanted = [completer.complete(text, Sampling(max_tokens=7)).text for text in ("Hello", "你好")]
    assert [choice["text"] for choice in tree["choices"]] == wanted
    events = events_of(client().post(TEXT, json={**body, "stream": True}))
    joined = ["".join(e["choices"][0]["text"] for e in events if e["choices"][0]["index"] == k) for k in (0, 1)]
    assert joined == wanted


def test_classify_takes_a_text_or_several_and_gives_every_score(client: Client) -> None:
    one = client().post(CLASSIFY, json={"model": "counter", "input": "a"}).json()
    assert one["data"][0]["label"] == "短" and sum(one["data"][0]["scores"].values()) == pytest.approx(1)
    two = client().post(CLASSIFY, json={"model": "counter", "input": ["a", "Hello world, how are you? " * 3]}).json()
    assert [row["label"] for row in two["data"]] == ["短", "long"]


def test_pairs_are_scored_and_a_model_of_scores_is_asked_at_its_own_route(counter: TextClassifier) -> None:
    facts = Facts("regress", "score", 64, more={"scale": [10.0, 2.0]})
    served = TestClient(create_app({"m": replace(counter, facts=facts)}), base_url="http://localhost")
    pair = {"text": "a", "second": "b"}
    found = served.post("/v1/score", json={"input": [pair, "a"]}).json()["data"]
    assert [row["score"] for row in found] == [10.0 + 2.0 * tokens for tokens in (2, 1)]
    assert served.post("/v1/score", json={"input": pair}).json()["data"] == found[:1]
    refused = error_of(served.post(CLASSIFY, json={"input": "a"}), 400)
    assert refused["message"] == "the model 'm' cannot do this; ask it at /v1/score"


def test_answers_are_pieces_of_the_context_with_their_places(client: Client) -> None:
    asked = [{"question": "谁？", "context": context} for context in ("Hello world", " 你好，世界 🙂")]
    data = client().post(ANSWER, json={"model": "finder", "input": asked}).json()["data"]
    assert [(row["answer"], row["start"]) for row in data] == [("Hello", 0), ("你好", 1)]
    assert set(data[0]) == {"index", "answer", "start", "score", "others"}
    one = client().post(ANSWER, json={"model": "finder", "input": asked[0]}).json()["data"]
    assert one == data[:1]


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ({"question": "who"}, "input.context"),
        ("who", "input"),
        ([{"question": "", "context": "a"}], "input.0.question"),
    ],
)
def test_a_question_without_its_context_is_named(client: Client, given: Any, place: str) -> None:
    assert error_of(client().post(ANSWER, json={"model": "finder", "input": given}), 400)["param"] == place
    assert "/v1/answer" in error_of(client().post(CLASSIFY, json={"model": "finder", "input": "a"}), 400)["message"]


def test_tag_gives_entities_at_their_places_and_a_classifier_does_not(client: Client, counter: TextClassifier) -> None:
    class Names:
        max_length = 64

        def logits(self, rows: list[list[int]]) -> list[np.ndarray]:
            return [np.tile(np.array([0.0, 1.0], np.float32), (len(row), 1)) for row in rows]

    model = Tagger(Names(), counter.tokenizer, Facts("tag", "tags", 64, ("O", "B-PER")))
    app = TestClient(create_app({"names": model}), base_url="http://localhost")
    one = app.post(TAG, json={"input": "Hello 🙂"}).json()["data"][0]
    assert one["tags"] == ["B-PER", "B-PER"] and one["unread"] == 0
    assert one["entities"][1] == {"text": "🙂", "start": 6, "end": 7, "label": "PER"}
    assert len(app.post(TAG, json={"input": ["Hello", ""]}).json()["data"]) == 2
    assert "/v1/classify" in error_of(client().post(TAG, json={"model": "counter", "input": "a"}), 400)["message"]


def test_models_are_listed_with_their_task(client: Client) -> None:
    data = client().get("/v1/models").json()["data"]
    assert {row["id"]: row["task"] for row in data} == {
        "talker": "chat",
        "counter": "classify",
        "completer": "complete",
        "finder": "answer",
    }
    assert client().get("/v1/models/talker").json()["object"] == "model"


def schema_of(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}


def choice_of(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


WRONG: list[tuple[str, dict[str, Any], str, str | None]] = [
    (CHAT, {"model": "talker"}, "missing_required_parameter", "messages"),
    (CHAT, ask(messages=[]), "invalid_value", "messages"),
    (CHAT, ask(messages=[{"role": "wizard", "content": "x"}]), "invalid_value", "messages.0.role"),
    (CHAT, ask(messages=[{"role": "user", "content": 5}]), "invalid_value", None),
    (CHAT, ask(messages=[{"role": "user", "content": [{"type": "image_url"}]}]), "invalid_value", None),
    (CHAT, ask(messages=[{"role": "user", "content": "\ud800"}]), "invalid_json", None),
    (CHAT, ask(model="\ud800"), "invalid_json", None),
    (CHAT, ask(temperature="hot"), "invalid_value", "temperature"),
    (CHAT, ask(temperature=-1), "invalid_value", "temperature"),
    (CHAT, ask(top_p=0), "invalid_value", "top_p"),
    (CHAT, ask(max_tokens=0), "invalid_value", "max_tokens"),
    (CHAT, ask(max_tokens=True), "invalid_value", "max_tokens"),
    (CHAT, ask(max_completion_tokens=10**6), "invalid_value", "max_tokens"),
    (CHAT, ask(n=99), "invalid_value", "n"),
    (CHAT, ask(stop=["a"] * 5), "invalid_value", None),
    (CHAT, ask(logit_bias={"5": 101}), "invalid_value", "logit_bias.5"),
    (CHAT, ask(logit_bias={"x": 1}), "invalid_value", None),
    (CHAT, ask(logit_bias={"100000": 1}), "invalid_value", "logit_bias"),
    (CHAT, ask(presence_penalty=2.5), "invalid_value", "presence_penalty"),
    (CHAT, ask(top_logprobs=3), "invalid_value", None),
    (CHAT, ask(logprobs=True, top_logprobs=21), "invalid_value", "top_logprobs"),
    (CHAT, ask(response_format={"type": "xml"}), "invalid_value", "response_format.type"),
    (CHAT, ask(response_format={"type": "json_schema"}), "invalid_value", "response_format"),
    (CHAT, ask(response_format=schema_of({"not": {}})), "bad-grammar", "response_format"),
    (CHAT, ask(response_format=schema_of({"type": "integer", "minimum": 5, "maximum": 3})), "bad-grammar", None),
    (CHAT, ask(response_format=schema_of({"enum": ["x" * 40_000]})), "bad-grammar", "response_format"),
    (CHAT, ask(response_format=schema_of({}), stop="a"), "bad-grammar", "response_format"),
    (CHAT, ask(response_format=schema_of({}), guided_regex="a"), "invalid_value", "guided_regex"),
    (CHAT, ask(guided_json={"anyOf": [{"multipleOf": 1e308}] * 4000}), "bad-grammar", "guided_json"),
    (CHAT, ask(guided_choice=[]), "invalid_value", "guided_choice"),
    (CHAT, ask(guided_json={"$ref": "#"}), "bad-grammar", "guided_json"),
    (CHAT, ask(tool_choice="required"), "bad-grammar", "tool_choice"),
    (CHAT, ask(tools=[TOOL], tool_choice=choice_of("f")), "invalid_value", "tool_choice"),
    (CHAT, ask(tools=[TOOL], tool_choice="some"), "invalid_value", "tool_choice"),
    (CHAT, ask(functions=[{"name": "f"}]), "unsupported_parameter", "functions"),
    (CHAT, ask(tools=[{"type": "function"}]), "invalid_value", "tools.0"),
    (CHAT, ask(messages=[{**HI[0], "tool_calls": [CALL]}]), "invalid_value", "messages.0"),
    (CHAT, ask(messages=[*HI, {"role": "assistant", "content": None}]), "invalid_value", "messages.1.content"),
    (CHAT, ask(chat_template="{{ 1 }}"), "unsupported_parameter", "chat_template"),
    (CHAT, ask(guided_regex="(?=a+)+"), "bad-grammar", "guided_regex"),
    (CHAT, ask(model="completer"), "not-supported", None),
    (CHAT, ask(model="counter"), "wrong_model_kind", "model"),
    (CHAT, ask(model=None), "missing_required_parameter", "model"),
    (CHAT, ask(messages=[{"role": "user", "content": "x" * 999}]), "context_length_exceeded", "messages"),
    (TEXT, {"model": "talker", "prompt": "x" * 999}, "context_length_exceeded", "prompt"),
    (TEXT, {"model": "talker", "prompt": ["a"] * 200, "n": 8}, "invalid_value", "n"),
    (TEXT, {"model": "talker", "prompt": []}, "invalid_value", None),
    (TEXT, {"model": "talker", "prompt": "a", "echo": True, "logprobs": 1}, "invalid_value", None),
    (TEXT, {"model": "talker", "prompt": "a", "logprobs": 6}, "invalid_value", "logprobs"),
    (TEXT, {"model": "talker", "prompt": "a", "logprobs": True}, "invalid_value", "logprobs"),
    (TEXT, {"model": "talker", "prompt": "a", "best_of": 2}, "unsupported_parameter", "best_of"),
    (TEXT, {"model": "talker", "prompt": ["a"] * 300}, "invalid_value", "prompt"),
    (CLASSIFY, {"model": "counter", "input": ["a"] * 300}, "invalid_value", "input"),
    (CLASSIFY, {"model": "talker", "input": "a"}, "wrong_model_kind", "model"),
]


@pytest.mark.parametrize(("route", "body", "code", "param"), WRONG)
@pytest.mark.parametrize("stream", [False, True])
def test_wrong_request_is_refused_with_its_code_and_setting(
    client: Client, route: str, body: dict[str, Any], code: str, param: str | None, stream: bool
) -> None:
    body = {**body, "stream": True} if stream and route != CLASSIFY else body
    text = json.dumps(body, ensure_ascii=True)
    found = error_of(client().post(route, content=text, headers={"Content-Type": "application/json"}), 400)
    assert found["code"] == code
    assert param is None or found["param"] == param
    assert found["message"] and "pydantic" not in found["message"]


def test_neutral_values_of_unsupported_settings_are_accepted(client: Client) -> None:
    body = ask(
        max_tokens=1, tools=None, logprobs=False, frequency_penalty=0, response_format={"type": "text"}, user="me"
    )
    assert client().post(CHAT, json=body).status_code == 200


@pytest.mark.parametrize("body", ["{", "[1]", "", "[" * 20000, '{"messages": NaN}', b"\xff\xfe"])
def test_broken_json_is_told_as_an_error_object(client: Client, body: str | bytes) -> None:
    answer = client().post(CHAT, content=body, headers={"Content-Type": "application/json"})
    assert error_of(answer, 400)["code"] == "invalid_json"


def test_body_that_is_too_big_is_refused_whatever_length_it_claims(client: Client) -> None:
    big = json.dumps(ask(messages=[{"role": "user", "content": "x" * 5000}])).encode()
    head = {"Content-Type": "application/json"}
    assert (
        error_of(client(max_body_bytes=1000).post(CHAT, content=big, headers=head), 413)["code"] == "request_too_large"
    )
    chunked = client(max_body_bytes=1000).post(CHAT, content=iter([big[:600], big[600:]]), headers=head)
    assert error_of(chunked, 413)["code"] == "request_too_large"


def test_a_form_of_another_web_page_is_refused(client: Client) -> None:
    answer = client().post(CHAT, content=json.dumps(ask()), headers={"Content-Type": "text/plain"})
    assert error_of(answer, 415)["code"] == "unsupported_media_type"


def test_unknown_model_and_unknown_route_are_404(client: Client) -> None:
    assert error_of(client().post(CHAT, json=ask(model="gpt-9")), 404)["code"] == "model_not_found"
    assert error_of(client().get("/nowhere"), 404)["code"] == "not_found"
    assert error_of(client().get(CHAT), 405)["code"] == "method_not_allowed"


@pytest.mark.parametrize(("method", "route"), ROUTES)
def test_every_route_needs_the_key(client: Client, method: str, route: str) -> None:
    served = client(key="sésame")
    assert error_of(served.request(method, route), 401)["code"] == "invalid_api_key"
    wrong = {"Authorization": "Bearer " + "x" * 6}
    assert "wrong" in error_of(served.request(method, route, headers=wrong), 401)["message"]
    right = {"Authorization": "Bearer sésame".encode()}
    assert served.request(method, route, headers=right).status_code != 401


@pytest.mark.parametrize("key", ["voilà", "钥匙你", "Å"])
def test_a_key_may_end_in_any_character(client: Client, key: str) -> None:
    head = {"Authorization": f"Bearer {key} ".encode()}
    assert client(key=key).get("/v1/models", headers=head).status_code == 200


def test_browser_is_asked_for_the_key_and_may_send_it_as_a_password(client: Client) -> None:
    served = client(key="secret")
    assert served.get("/").headers["www-authenticate"].startswith("Basic")
    assert served.get("/", auth=("anyone", "secret")).status_code == 200
    assert served.get("/v1/models", auth=("anyone", "wrong")).status_code == 401


@pytest.mark.parametrize("header", ["Basic !!!", "Basic", "Bearer", "Bearer  ", "Digest x", "secret"])
def test_broken_authorization_is_refused(client: Client, header: str) -> None:
    error_of(client(key="secret").get("/v1/models", headers={"Authorization": header}), 401)


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "127.example.0.1", "localhost.evil.example:8000", "[::1].evil", ""],
)
def test_without_a_key_only_this_machines_names_are_answered(client: Client, host: str) -> None:
    assert error_of(client().get("/v1/models", headers={"Host": host}), 403)["code"] == "wrong_host"


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1:1", "127.8.8.8:80", "[::1]:8000", "[::1]"])
def test_this_machines_names_are_answered(client: Client, host: str) -> None:
    assert client().get("/health", headers={"Host": host}).json() == {"status": "ok"}


def test_no_other_origin_is_allowed(client: Client) -> None:
    answer = client().get("/v1/models", headers={"Origin": "https://evil.example"})
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_page_loads_nothing_from_elsewhere_and_writes_no_html(client: Client) -> None:
    answer = client().get("/")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    for forbidden in ("http://", "https://", "innerHTML", "insertAdjacentHTML", "document.write", "src="):
        assert forbidden not in answer.text
    assert "发送" in answer.text and "Send" in answer.text


def test_bug_in_a_model_is_an_error_object_without_details_plain_and_streaming(
    client: Client, talker: LanguageModel
) -> None:
    talker.decoder.fail_after = 3  # type: ignore[attr-defined]
    found = error_of(client().post(CHAT, json=ask()), 500)
    assert "secret" not in found["message"]
    talker.decoder.fed = 0  # type: ignore[attr-defined]
    events = events_of(client().post(CHAT, json=ask(stream=True)))
    assert events[-1]["error"]["code"] == "internal_error" and "secret" not in json.dumps(events)


def test_a_bug_inside_a_stream_stands_in_the_servers_log_with_its_traceback(
    client: Client, talker: LanguageModel, caplog: pytest.LogCaptureFixture
) -> None:
    talker.decoder.fail_after = 3  # type: ignore[attr-defined]
    events = events_of(client().post(CHAT, json=ask(stream=True)))
    assert events[-1]["error"]["message"] == "the server failed; its log says why"
    (record,) = caplog.records
    assert record.name == "uvicorn.error" and record.levelname == "ERROR"
    assert "RuntimeError: secret detail" in caplog.text and "in feed" in caplog.text


def test_weights_that_are_damaged_stand_in_the_log_too_and_a_mistake_of_the_client_does_not(
    client: Client, talker: LanguageModel, caplog: pytest.LogCaptureFixture
) -> None:
    size = talker.engine.vocab_size
    talker.decoder.feed = lambda state, ids_BL: (np.full((len(ids_BL), size), np.nan), state)  # type: ignore[method-assign]
    error_of(client().post(CHAT, json=ask(response_format=schema_of({"not": {}}))), 400)
    error_of(client().post(CHAT, json=ask(model="completer")), 400)
    assert caplog.records == []
    error_of(client().post(CHAT, json=ask()), 500)
    assert [record.levelname for record in caplog.records] == ["ERROR"] and "NotFinite" in caplog.text


IMAGE = {"type": "image_url", "image_url": {"url": "http://x"}}
NEAREST = [
    (CHAT, ask(stop=list("abcde")), "stop: List should have at most 4 items after validation, not 5"),
    (CHAT, ask(stop=["a", ""]), "stop.1: String should have at least 1 character"),
    (CHAT, ask(stop=""), "stop: String should have at least 1 character"),
    (CHAT, ask(stop=7), "stop: Input should be a valid string or a valid list"),
    (CHAT, ask(messages=[{"role": "user", "content": [IMAGE]}]), "messages.0.content.0.type: Input should be 'text'"),
    (CHAT, ask(messages=[{"role": "user", "content": None}]), "messages.0.content: Input should be a valid string or a valid list"),
    (TEXT, {"model": "talker", "prompt": []}, "prompt: List should have at least 1 item after validation, not 0"),
    (TEXT, {"model": "talker", "prompt": ["a", 3]}, "prompt.1: Input should be a valid string"),
    (CLASSIFY, {"model": "counter", "input": 7}, "input: Input should be a valid string or a valid dictionary or a valid list"),
    (CLASSIFY, {"model": "counter", "input": [{"text": "a"}]}, "input.0.second: Field required"),
]  # fmt: skip


@pytest.mark.parametrize(("route", "body", "message"), NEAREST)
def test_where_a_text_or_a_list_may_stand_the_mistake_of_what_stands_there_is_told(
    client: Client, route: str, body: dict[str, Any], message: str
) -> None:
    found = error_of(client().post(route, json=body), 400)
    assert found["message"] == message
    assert found["param"] == message.partition(":")[0]


def test_a_mistake_of_two_settings_together_has_no_place(client: Client) -> None:
    found = error_of(client().post(CHAT, json=ask(top_logprobs=3)), 400)
    assert (found["message"], found["param"]) == ("top_logprobs needs logprobs: true", None)


def test_full_queue_is_told_to_come_back(client: Client) -> None:
    assert error_of(client(max_waiting=0).post(CHAT, json=ask()), 429)["code"] == "rate_limit_exceeded"
    assert error_of(client(max_waiting=0).post(CHAT, json=ask(stream=True)), 429)["code"] == "rate_limit_exceeded"


def speaking(tokenizer: Tokenizer, text: str) -> TestClient:
    """A server whose model says one text, whatever it is asked."""
    end = tokenizer.token_to_id("<|im_end|>")
    chat = ChatFormat(CHATML, tokenizer, Specials(eos=0))
    decoder = Script(tokenizer.get_vocab_size(), (*encode_text(tokenizer, text), end))
    model = LanguageModel(decoder, tokenizer, tuple(chat.ends), chat)
    return TestClient(create_app({"talker": model}), base_url="http://localhost")


CALLING = 'Wait. <tool_call>{"name": "weather", "arguments": {"city": "北京"}}</tool_call>'


def test_calls_are_given_as_openai_does_plain_and_at_the_end_of_a_stream(tokenizer: Tokenizer) -> None:
    body = ask(tools=[TOOL])
    (choice,) = speaking(tokenizer, CALLING).post(CHAT, json=body).json()["choices"]
    message = choice["message"]
    assert (message["content"], choice["finish_reason"]) == ("Wait.", "tool_calls")
    (call,) = message["tool_calls"]
    assert call.pop("id").startswith("call_")
    assert call == {key: value for key, value in CALL.items() if key != "id"}
    events = events_of(speaking(tokenizer, CALLING).post(CHAT, json={**body, "stream": True}))
    deltas = [event["choices"][0]["delta"] for event in events]
    assert "".join(delta.get("content", "") for delta in deltas) == "Wait."
    assert [[c["function"] for c in delta["tool_calls"]] for delta in deltas if "tool_calls" in delta] == [
        [CALL["function"]]
    ]
    assert events[-1]["choices"][0]["finish_reason"] == "tool_calls" and deltas[-1]["tool_calls"][0]["index"] == 0


@pytest.mark.parametrize("settings", [{}, {"tools": []}, {"tools": [TOOL], "tool_choice": "none"}])
def test_who_may_call_nothing_calls_nothing(tokenizer: Tokenizer, settings: dict[str, Any]) -> None:
    (choice,) = speaking(tokenizer, CALLING).post(CHAT, json=ask(**settings)).json()["choices"]
    assert (choice["message"], choice["finish_reason"]) == ({"role": "assistant", "content": CALLING}, "stop")


def test_what_was_called_and_came_back_is_asked_with(client: Client, talker: LanguageModel) -> None:
    said = {"role": "assistant", "content": None, "tool_calls": [CALL]}
    back = {"role": "tool", "tool_call_id": "call_1", "content": "cold"}
    found = client().post(CHAT, json=ask(messages=[*HI, said, back], tools=[TOOL], max_tokens=1)).json()
    messages = [*HI, {**said, "content": ""}, {"role": "tool", "content": "cold"}]
    assert found["usage"]["prompt_tokens"] == len(talker.chat_prompt(messages, [TOOL]))


@dataclass
class Few(Babbler):
    """It never says but the first tokens."""

    def feed(self, state: Any, ids_BL: np.ndarray) -> tuple[np.ndarray, Any]:
        logits_BV, state = super().feed(state, ids_BL)
        logits_BV[:, 15:] = -np.inf
        return logits_BV, state


@pytest.mark.parametrize("settings", [{"top_logprobs": 20}, {"guided_choice": ["zz"]}])
def test_what_a_model_never_says_has_a_log_probability_that_json_can_write(
    talker: LanguageModel, settings: dict[str, Any]
) -> None:
    few = replace(talker, decoder=Few(talker.decoder.vocab_size, 2))
    client = TestClient(create_app({"talker": few}), base_url="http://localhost", raise_server_exceptions=False)
    body = ask(max_tokens=2, logprobs=True, **settings)
    (choice,) = client.post(CHAT, json=body).json()["choices"]
    told = choice["logprobs"]["content"]
    assert len(told) == 2
    assert min(one["logprob"] for t in told for one in (t, *t["top_logprobs"])) == -9999.0
    events = events_of(client.post(CHAT, json={**body, "stream": True}))
    streamed = [e["choices"][0]["logprobs"] for e in events if e["choices"][0].get("logprobs")]
    assert [one for chunk in streamed for one in chunk["content"]] == told
