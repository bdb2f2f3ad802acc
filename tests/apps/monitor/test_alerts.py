"""What reaches people: the published form of each service's messages, and what happens while one of them is down."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from pretune.apps.monitor.channels.channel import CHANNEL, Channel
from pretune.apps.monitor.channels.mail import Mail
from pretune.apps.monitor.channels.webhooks import Webhook
from pretune.apps.monitor.delivery import deliver
from pretune.apps.monitor.measuring import gauges
from pretune.apps.monitor.store import Store, undelivered
from pretune.apps.monitor.words import Message, message_of
from pretune.base.errors import NotDelivered, UserError
from pretune.serve.metrics import Metrics
from tests.apps.monitor.conftest import MONDAY

ALERT = {
    **{
        "id": 1,
        "window": MONDAY + 9 * 3600,
        "until": MONDAY + 10 * 3600,
        "kind": "topic",
        "name": "R&D <b>",
        "rises": 1,
    },
    **{"sentiment": "negative", "method": "ewma", "what": "burst", "score": 8.25, "count": 31, "usual": 6.2},
    **{"acknowledged": None, "by": None},
}
SECRET = "this is secret"
FORMS: dict[str, Any] = {
    "slack": {"required": ["text"], "properties": {"text": {"type": "string", "maxLength": 40_000}}},
    "dingtalk": {
        "required": ["msgtype", "markdown"],
        "properties": {
            "msgtype": {"const": "markdown"},
            "markdown": {
                "type": "object",
                "required": ["title", "text"],
                "properties": {"title": {"type": "string"}, "text": {"type": "string"}},
            },
        },
    },
    "feishu": {
        "required": ["timestamp", "sign", "msg_type", "content"],
        "properties": {
            "timestamp": {"type": "string", "pattern": "^[0-9]{10}$"},
            "sign": {"type": "string", "pattern": "^[A-Za-z0-9+/]{43}=$"},
            "msg_type": {"const": "text"},
            "content": {"type": "object", "required": ["text"], "properties": {"text": {"type": "string"}}},
        },
    },
    "wecom": {
        "required": ["msgtype", "markdown"],
        "properties": {
            "msgtype": {"const": "markdown"},
            "markdown": {"type": "object", "required": ["content"], "properties": {"content": {"type": "string"}}},
        },
    },
}
"""The bodies that the four services publish for such a message; no other field is sent."""


@dataclass
class Service:
    """A service that answers what it is told to answer, and keeps what it was sent."""

    answers: list[tuple[int, bytes]]
    asked: list[tuple[str, Any]] = field(default_factory=list)
    port: int = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/robot/send?access_token=x"


@pytest.fixture
def service() -> Iterator[Service]:
    kept = Service([])

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            kept.asked.append((self.path, json.loads(body)))
            status, answer = kept.answers.pop(0) if len(kept.answers) > 1 else kept.answers[0]
            if status == 0:  # what is no HTTP at all
                self.wfile.write(b"hello\r\n\r\n")
                return
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", "/elsewhere")
            self.end_headers()
            self.wfile.write(answer)

        def do_GET(self) -> None:
            kept.asked.append((self.path, "GET"))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    kept.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield kept
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch, service: Service) -> None:
    for name in ("SLACK", "DINGTALK", "FEISHU", "WECOM", "WEBHOOK"):
        monkeypatch.setenv(f"PRETUNE_{name}", service.address)
        monkeypatch.setenv(f"PRETUNE_{name}_SECRET", SECRET)


def message(number: int = 1, language: str = "en") -> Message:
    return message_of([ALERT] * number, seconds=3600, language=language)  # type: ignore[arg-type]


def test_an_alert_is_a_sentence_in_both_languages() -> None:
    english = "negative texts on R&D <b> surged: 31 in an hour, usually 6.2"
    assert message().lines == (f"2026-01-05 09:00  {english}",)
    assert message().title == english
    assert message(language="zh").title == "关于“R&D <b>”的“negative”文本激增：一小时内 31 条，通常 6.2 条"
    assert message(3).title == f"3 alerts: {english} ..."


@pytest.mark.parametrize("kind", FORMS)
@pytest.mark.usefixtures("secrets")
def test_a_message_has_the_form_that_its_service_publishes(kind: str) -> None:
    channel = CHANNEL(kind)
    assert isinstance(channel, Webhook)
    for number in (1, 500):  # a message that is too long is cut, not refused
        payload = channel.payload(message(number, "zh"), now=MONDAY)
        jsonschema.validate(payload, {**FORMS[kind], "type": "object", "additionalProperties": False})
        texts = [t for t in _texts(payload) if len(t) > 60]
        assert all(len(text.encode()) <= channel.most_bytes for text in texts)
        assert texts
    assert ("&lt;b&gt;" in payload.get("text", "")) == (kind == "slack")


@pytest.mark.parametrize("kind", FORMS)
@pytest.mark.usefixtures("secrets")
def test_no_name_calls_people_or_shows_a_link(kind: str) -> None:
    names = ("<@all>", '<at user_id="all">all</at>', "<!channel>", "![x](http://x/y.png)", "[x](http://x)", "<font>")
    for name in names:
        told = message_of([{**ALERT, "name": name}], seconds=3600, language="zh", late=True)
        channel = CHANNEL(kind)
        assert isinstance(channel, Webhook)
        texts = "\n".join(_texts(channel.payload(told, now=MONDAY)))
        assert "激增" in texts
        assert "<" not in texts
        assert kind == "slack" or "](" not in texts  # Slack writes a link as <http://x|x>


def test_a_name_is_a_part_of_one_line() -> None:
    told = message_of([{**ALERT, "name": "A\r\n> B\x1b[2J\u2028C"}], seconds=3600, language="en")
    assert told.title == "negative texts on A > B [2J C surged: 31 in an hour, usually 6.2"


def _texts(tree: object) -> list[str]:
    if isinstance(tree, dict):
        return [text for value in tree.values() for text in _texts(value)]
    return [tree] if isinstance(tree, str) else []


@pytest.mark.usefixtures("secrets")
def test_dingtalk_signs_time_and_secret_with_the_secret_and_feishu_nothing_with_both() -> None:
    # printf '1767571200000\nthis is secret' | openssl dgst -sha256 -hmac 'this is secret' -binary | base64
    said = urllib.parse.parse_qs(urllib.parse.urlsplit(CHANNEL("dingtalk").address(now=MONDAY)).query)  # type: ignore[attr-defined]
    assert said["timestamp"] == [f"{MONDAY}000"]
    assert said["sign"] == ["PHXZUq2HoTpNQiV0iJLW9DzI96220mV3IPvJj8k8wt8="]
    # printf '' | openssl dgst -sha256 -mac HMAC -macopt hexkey:$(printf '1767571200\nthis is secret' | xxd -p) -binary | base64
    payload = CHANNEL("feishu").payload(message(), now=MONDAY)  # type: ignore[attr-defined]
    assert payload["sign"] == "45TpFJaEI6QDLPzS6qOwkyzh3oYc0PLxg8TF6/hsZ9k="


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        ("dingtalk", b'{"errcode": 310000, "errmsg": "sign not match"}'),
        ("wecom", b'{"errcode": 93000, "errmsg": "invalid webhook url"}'),
        ("feishu", b'{"code": 19021, "msg": "sign match fail"}'),
    ],
)
@pytest.mark.usefixtures("secrets")
def test_a_service_that_answers_200_to_what_it_refuses_is_not_believed(
    kind: str, answer: bytes, service: Service
) -> None:
    service.answers = [(200, answer)]
    with pytest.raises(NotDelivered, match="refused the message"):
        CHANNEL(kind).send(message(), now=MONDAY, write=print)
    service.answers = [(200, b'{"errcode": 0, "code": 0}')]
    CHANNEL(kind).send(message(), now=MONDAY, write=print)


def kept_alert(kept: Store) -> None:
    with kept.state.writing() as db:
        names = ", ".join(ALERT)
        db.execute(f"insert into alerts ({names}) values ({', '.join('?' * len(ALERT))})", tuple(ALERT.values()))
        for channel in kept.channels:
            sql = "insert into messages (window, channel, alerts, made) values (?, ?, '[1]', ?)"
            db.execute(sql, (ALERT["window"], channel, MONDAY))


@pytest.mark.usefixtures("secrets")
def test_a_webhook_that_is_down_gets_its_message_when_it_is_back_once(
    store: Callable[..., Store], service: Service
) -> None:
    service.answers = [(503, b""), (503, b""), (200, b"ok")]
    kept, lines, channels = store(channels=["slack", "log"]), list[str](), {n: CHANNEL(n) for n in ("slack", "log")}
    kept_alert(kept)

    def tried(now: float) -> int:
        return deliver(kept.state, channels, seconds=3600, utc_offset=8, now=MONDAY + now, write=lines.append)

    assert tried(0) == 1  # the log took it
    assert undelivered(kept.state) == {"log": 0, "slack": 1}
    assert lines == [
        "an alert for slack did not arrive and is tried again in 10 s: slack answers 503",
        "alert: 2026-01-05 17:00  negative texts on R&D <b> surged: 31 in an hour, usually 6.2",
    ]
    assert [tried(now) for now in (5, 11, 12, 30, 32, 5000)] == [0, 0, 0, 0, 1, 0]
    assert len(service.asked) == 3
    assert undelivered(kept.state) == {"log": 0, "slack": 0}
    assert len(lines) == 2  # it complains once


@pytest.mark.usefixtures("secrets")
def test_a_message_is_given_up_after_two_days_and_stays_told(store: Callable[..., Store], service: Service) -> None:
    service.answers = [(404, b"no_service")]
    kept, lines = store(channels=["slack"]), list[str]()
    kept_alert(kept)
    for hours in range(0, 60):
        now = MONDAY + hours * 3700
        deliver(kept.state, {"slack": CHANNEL("slack")}, seconds=3600, utc_offset=0, now=now, write=lines.append)
    assert len(service.asked) < 50
    assert lines[-1] == "an alert for slack did not arrive and is given up: slack answers 404"
    assert undelivered(kept.state) == {"slack": 1}


def test_no_message_tells_the_address_which_is_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = ("http://127.0.0.1:9/TOPSECRET", "ftp://host/TOPSECRET", "TOPSECRET", "http://[TOPSECRET")
    for address in (*wrong, "http://host/TOP SECRET TOPSECRET", "http://a:TOPSECRET@host/"):
        monkeypatch.setenv("PRETUNE_SLACK", address)
        with pytest.raises(NotDelivered) as caught:
            CHANNEL("slack").send(message(), now=MONDAY, write=print)
        assert "TOPSECRET" not in str(caught.value)


@pytest.mark.usefixtures("secrets")
@pytest.mark.parametrize(("status", "said"), [(0, "does not answer: BadStatusLine"), (302, "answers 302: its address")])
def test_what_is_no_answer_to_a_message_is_no_delivery(status: int, said: str, service: Service) -> None:
    service.answers = [(status, b"")]
    with pytest.raises(NotDelivered, match=said):
        CHANNEL("slack").send(message(), now=MONDAY, write=print)
    assert [what for _, what in service.asked] != ["GET"]
    assert len(service.asked) == 1  # nobody was asked in its place


@pytest.mark.usefixtures("secrets")
def test_a_channel_that_is_down_is_asked_once_a_round_and_holds_up_no_other(
    store: Callable[..., Store], service: Service
) -> None:
    service.answers = [(503, b"")]
    kept, lines = store(channels=["slack"] * 150 + ["log"]), list[str]()
    kept_alert(kept)
    channels = {name: CHANNEL(name) for name in ("slack", "log")}
    assert deliver(kept.state, channels, seconds=3600, utc_offset=0, now=MONDAY, write=lines.append) == 1
    assert len(service.asked) == 1


@pytest.mark.usefixtures("secrets")
def test_of_two_watches_over_one_state_one_sends_a_message(store: Callable[..., Store], service: Service) -> None:
    kept, other, sent = store(channels=["slack"]), store(channels=["slack"]), list[int]()
    kept_alert(kept)

    class Both(Channel):
        kind: str = "both"

        def send(self, message: Message, **_: Any) -> None:  # while it is sent, the other one looks
            sent.append(deliver(other.state, {"slack": self}, seconds=3600, utc_offset=0, now=MONDAY, write=print))

    assert deliver(kept.state, {"slack": Both()}, seconds=3600, utc_offset=0, now=MONDAY, write=print) == 1
    assert sent == [0]


def test_a_channel_whose_variable_is_not_set_is_refused_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PRETUNE_WECOM", raising=False)
    with pytest.raises(UserError, match="PRETUNE_WECOM"):
        CHANNEL("wecom").check()


def test_a_mail_has_its_alerts_in_utf8_and_no_header_of_theirs() -> None:
    alert = {**ALERT, "name": "x\nBcc: all@example.com"}
    told = message_of([alert], seconds=3600, language="zh")
    mail = Mail(to=("a@example.com", "b@example.com")).mail(told)
    assert sorted(mail.keys()) == ["Content-Transfer-Encoding", "Content-Type", "From", "MIME-Version", "Subject", "To"]
    assert mail["To"] == "a@example.com, b@example.com"
    assert "文本激增" in mail["Subject"]
    assert "激增" in mail.get_content()


def test_a_mail_server_that_is_away_is_told_as_not_delivered() -> None:
    channel: Channel = Mail(to=("a@example.com",), host="127.0.0.1", port=9)
    with pytest.raises(NotDelivered, match="did not take the mail"):
        channel.send(message(), now=MONDAY, write=print)


def test_a_mail_that_some_get_is_not_sent_again_and_the_others_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    class Server:
        def __enter__(self) -> Server:
            return self

        def __exit__(self, *_: object) -> None: ...

        def send_message(self, mail: object) -> dict[str, tuple[int, bytes]]:
            return {"gone@example.com": (550, b"no such user")}

    monkeypatch.setattr("pretune.apps.monitor.channels.mail.smtplib.SMTP", lambda *_, **__: Server())
    lines, channel = list[str](), Mail(to=("a@example.com", "gone@example.com"), host="mail")
    channel.send(message(), now=MONDAY, write=lines.append)
    assert lines == ["mail:587 did not take the mail for gone@example.com"]


def test_the_rules_for_prometheus_fire_as_their_tests_say(tmp_path: Path) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool (Debian's package prometheus) is not installed")
    rules = files("pretune.apps.monitor").joinpath("prometheus-rules.yaml").read_text("utf-8")
    (tmp_path / "prometheus-rules.yaml").write_text(rules, encoding="utf-8")
    tests = Path(__file__).with_name("prometheus-rules.test.yaml").read_text(encoding="utf-8")
    (tmp_path / "test.yaml").write_text(tests, encoding="utf-8")
    command = ["promtool", "test", "rules", "test.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, encoding="utf-8", timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_metric_of_the_rules_is_measured(store: Callable[..., Store]) -> None:
    kept = store(channels=["slack"])
    kept_alert(kept)
    with kept.state.writing() as db:
        db.execute("insert into sources (name, last) values ('a.jsonl', 0)")
        db.execute("update watch set first = 0, upto = 0")
    measured = Metrics().text(gauges(kept, is_running=True, now=100.0))
    assert 'pretune_monitor_alerts_open{kind="topic",name="R&D <b>",sentiment="negative",method="ewma"} 1' in measured
    assert 'pretune_monitor_seconds_since_text{source="a.jsonl"} 100.0' in measured
    rules = files("pretune.apps.monitor").joinpath("prometheus-rules.yaml").read_text("utf-8")
    for word in {
        w for line in rules.splitlines() if "expr:" in line for w in line.replace("(", " ").replace(")", " ").split()
    }:
        assert not word.startswith("pretune_") or f"\n{word}{{" in measured or f"\n{word} " in measured
