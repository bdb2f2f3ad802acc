"""Who may come in, for what and how often."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from starlette.testclient import TestClient

from pretune.base.errors import BadFile, NoKey, UserError
from pretune.cli.models import serve
from pretune.infer.classify import TextClassifier
from pretune.infer.language import LanguageModel
from pretune.serve.app import create_app
from pretune.serve.documents import PATHS
from pretune.serve.keys import OPEN, SCOPES, Allowance, Key, Keys, new_key, read_keys
from tests.serve.test_app import ask, error_of

CHAT, CLASSIFY = "/v1/chat/completions", "/v1/classify"


def client_of(models: dict[str, Any], *keys: Key) -> TestClient:
    return TestClient(create_app(models, keys=keys), base_url="http://elsewhere.example")


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def test_a_new_key_is_long_and_random_and_its_entry_has_only_its_sha256(tmp_path: Path) -> None:
    secret, key = new_key("website")
    assert secret.startswith("pt-") and len(secret) == 3 + 43 and new_key("website")[0] != secret
    assert key.hash == "sha256:" + hashlib.sha256(secret.encode()).hexdigest()
    path = tmp_path / "keys.yaml"
    path.write_text(f"- {key.model_dump_json(exclude_none=True)}\n", encoding="utf-8")
    assert read_keys(path) == [key]
    found = Keys(read_keys(path)).find(secret.encode())
    assert found is not None and found.key.name == "website"
    assert Keys([key]).find(key.hash.encode()) is None  # who reads the file cannot come in with what it says


def test_a_file_of_plain_keys_has_one_a_line(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text("# ours\nfirst \n\nsésame\n", encoding="utf-8")
    assert read_keys(path) == [Key.of("first", "key-1"), Key.of("sésame", "key-2")]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("- {name: a, hash: abc}", "0.hash"),
        ("- {name: a, hash: abc, rate: 0}", "0.hash.*0.rate"),
        ("- {name: a, hash: H, scopes: [talk]}", "'talk' is no scope; there are chat, complete"),
        ("- {name: a, hash: H, scopes: []}", "0.scopes"),
        ("- {name: a, hash: H, salt: x}", "0.salt"),
        ("- {name: a, hash: H}\n- {name: a, hash: J}", "a name twice"),
        ("- {name: a, hash: H}\n- {name: b, hash: H}", "a hash twice"),
        ("- {name: a, hash: H", "list"),
        ("keys:\n- {name: a, hash: H}", "list"),
        ("---", "list"),
    ],
)
def test_mistakes_in_a_file_are_told_at_once_and_never_taken_for_keys(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "keys.yaml"
    path.write_text(text.replace("H", f"'sha256:{'a' * 64}'").replace("J", f"'sha256:{'b' * 64}'"), encoding="utf-8")
    with pytest.raises(BadFile, match=told):
        read_keys(path)


@pytest.mark.parametrize(
    "text", ["---\n- {name: a, hash: H}", "-\n  name: a\n  hash: H", "# ours\n--- # yes\n[{name: a, hash: H}]"]
)
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_no_line_of_yaml_is_taken_for_a_key_however_it_begins(tmp_path: Path, text: str, mark: str) -> None:
    path, entry = tmp_path / "keys.yaml", f"sha256:{'a' * 64}"
    path.write_text(mark + text.replace("H", f"'{entry}'"), encoding="utf-8")
    assert read_keys(path) == [Key(name="a", hash=entry)]
    path.write_text(f"{mark}first\n", encoding="utf-8")
    assert read_keys(path) == [Key.of("first", "key-1")]


def test_a_file_without_a_key_is_no_key(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("\n# none yet\n", encoding="utf-8")
    with pytest.raises(NoKey, match="there is no key in"):
        read_keys(tmp_path / "keys")


def test_every_route_is_described_and_is_401_without_a_key_but_the_two_probes(counter: TextClassifier) -> None:
    app = create_app({"m": counter}, api_key="secret")
    with TestClient(app, base_url="http://elsewhere.example") as client:
        for path, route in PATHS.items():
            method = "POST" if route.reads else "GET"
            answer = client.request(method, path.replace("{name}", "m"))
            assert answer.status_code == (200 if path in OPEN else 401), path
        assert client.get("/nowhere").status_code == 401


def test_a_scope_opens_its_route_and_no_other(talker: LanguageModel, counter: TextClassifier) -> None:
    secret, key = new_key("one")
    client = client_of({"talker": talker, "counter": counter}, key.model_copy(update={"scopes": ["classify"]}))
    assert client.post(CLASSIFY, json={"model": "counter", "input": "a"}, headers=bearer(secret)).status_code == 200
    for path in set(SCOPES) - {CLASSIFY}:
        method = "GET" if path == "/metrics" else "POST"
        assert error_of(client.request(method, path, headers=bearer(secret)), 403)["code"] == "wrong_scope"
    assert client.get("/v1/models", headers=bearer(secret)).status_code == 200


def test_every_route_that_asks_a_model_has_a_scope_of_its_own() -> None:
    assert set(SCOPES) == {path for path, route in PATHS.items() if route.reads} | {"/metrics"}
    assert len(set(SCOPES.values())) == len(SCOPES)


def test_an_allowance_is_refilled_evenly_and_what_was_overdrawn_is_waited_for() -> None:
    allowance = Allowance(60, 60.0, now=0.0)
    assert allowance.wait(0.0) == 0
    allowance.take(60)
    assert allowance.wait(0.0) == pytest.approx(1)
    assert allowance.wait(0.5) == pytest.approx(0.5)
    assert allowance.wait(1.0) == 0
    allowance.take(100)  # 99 more than there was
    assert allowance.wait(1.0) == pytest.approx(100)
    assert allowance.wait(1e6) == 0 and allowance.level == 60  # an hour of rest does not save up an hour


def test_the_request_beyond_the_rate_is_429_and_says_when_to_come_back(counter: TextClassifier) -> None:
    now = [0.0]
    secret, key = new_key("slow")
    holder = Keys([key.model_copy(update={"rate": 2})], clock=lambda: now[0]).find(secret.encode())
    assert holder is not None
    assert [holder.refusal(CLASSIFY) for _ in range(2)] == [None, None]
    refused = holder.refusal(CLASSIFY)
    assert refused is not None and (refused.status, refused.retry_after) == (429, 30)
    now[0] = 30.0
    assert holder.refusal(CLASSIFY) is None and holder.refusal(CLASSIFY) is not None
    client = client_of({"counter": counter}, key.model_copy(update={"rate": 1}))
    body = {"input": "a"}
    assert client.post(CLASSIFY, json=body, headers=bearer(secret)).status_code == 200
    answer = client.post(CLASSIFY, json=body, headers=bearer(secret))
    assert error_of(answer, 429)["code"] == "rate_limit_exceeded" and 50 <= int(answer.headers["retry-after"]) <= 60


@pytest.mark.parametrize("stream", [False, True])
def test_tokens_read_and_written_are_counted_and_the_next_request_waits_for_them(
    talker: LanguageModel, stream: bool
) -> None:
    secret, key = new_key("few")
    other, free = new_key("many")
    read = len(talker.chat_prompt([{"role": "user", "content": "你好"}]))
    client = client_of({"talker": talker}, key.model_copy(update={"tokens": read + 5}), free)
    body = ask(max_tokens=4, stream=stream)  # one token is left
    for status in (200, 200, 429):
        answer = client.post(CHAT, json=body, headers=bearer(secret))
        assert answer.status_code == status
    wait = int(answer.headers["retry-after"])
    per_token = 86_400 / (read + 5)
    assert (read + 4 - 1) * per_token <= wait + 5 and wait <= (read + 4) * per_token + 1
    assert client.post(CHAT, json=body, headers=bearer(other)).status_code == 200


def test_the_command_prints_a_new_key_once_and_apart_from_its_entry(tmp_path: Path) -> None:
    told = CliRunner().invoke(serve, ["--new-key", "website"])
    assert told.exit_code == 0
    secret = told.stdout.strip()
    path = tmp_path / "keys.yaml"
    path.write_text(told.stderr.splitlines()[-1], encoding="utf-8")
    assert read_keys(path) == [Key.of(secret, "website")] and secret not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--limit", "max_second=1"], "did you mean 'max_seconds'"),
        (["--limit", "max_n=many"], "the limit max_n is 'many'"),
        (["--memory", "much"], "'much' is no size"),
        (["--memory", "1GB", "--adapters", "."], "for whole models"),
    ],
)
def test_a_wrong_option_of_the_server_is_told_before_a_model_is_read(words: list[str], told: str) -> None:
    found = CliRunner().invoke(serve, ["no-such-model", "--port", "0", *words]).exception
    assert isinstance(found, UserError) and told in f"{found} {found.hint}"
