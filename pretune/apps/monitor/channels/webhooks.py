"""Alerts as messages of chats: what each service wants to be sent, and what it answers when it took it.

    slack      {"text": ...}                                       200 and "ok"
    dingtalk   {"msgtype": "markdown", "markdown": {title, text}}  {"errcode": 0}; signed in the address
    feishu     {"msg_type": "text", "content": {"text": ...}}      {"code": 0}; signed in the body
    wecom      {"msgtype": "markdown", "markdown": {"content"}}    {"errcode": 0}; at most 4,096 bytes
    webhook    {"title", "text", "alerts": [...]}                  any 2xx

Three of them answer 200 to what they refuse: only their own code says whether it arrived.
Names come from texts that anybody may have written, and `<@id>` (wecom) or `<at user_id="all">` (feishu) in one would
call people, `[](...)` show a link or load a picture. Slack publishes how such signs are escaped; the others do not, so
there they are written wide: ＜ ＞ ［ ］ begin nothing.
Forms: docs.slack.dev/messaging/sending-messages-using-incoming-webhooks; open.dingtalk.com (custom robots, signature);
open.feishu.cn (custom bots); developer.work.weixin.qq.com/document/path/91770.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from typing import ClassVar

from pretune.apps.monitor.channels.channel import Channel, from_environment
from pretune.apps.monitor.words import Message
from pretune.apps.outbox import Stays
from pretune.base.errors import NotDelivered
from pretune.base.json import Json

TIMEOUT, MOST_ANSWER = 10.0, 1 << 16
"""Seconds that a service may take; bytes of its answer that are read."""

WIDE = str.maketrans("<>[]", "＜＞［］")


class Webhook(Channel):
    """The alerts as JSON, to an address of your own."""

    kind: str = "webhook"
    address_env: str = "PRETUNE_WEBHOOK"
    """The variable of the environment that has the address."""
    most_bytes: ClassVar[int] = 1 << 20
    code: ClassVar[str] = ""
    """The field of the answer that is 0 when the message was taken; "": the status says all."""

    def check(self) -> None:
        from_environment(self.address_env)

    def payload(self, message: Message, *, now: float) -> Json:
        """The body of the request."""
        return {"title": message.title, "text": message.text, "alerts": list(message.alerts)}

    def address(self, *, now: float) -> str:
        """Where it goes."""
        return from_environment(self.address_env)

    def send(self, message: Message, *, now: float, write: Callable[[str], object]) -> None:
        answer = _posted(self.address(now=now), self.payload(message, now=now), self.kind)
        if self.code and answer.get(self.code) != 0:
            raise NotDelivered(f"{self.kind} refused the message: {json.dumps(answer, ensure_ascii=False)[:200]}")


class Slack(Webhook):
    """A message in a Slack channel, by an incoming webhook."""

    kind: str = "slack"
    address_env: str = "PRETUNE_SLACK"
    """The variable of the environment that has the webhook's address."""
    most_bytes: ClassVar[int] = 40_000

    def payload(self, message: Message, *, now: float) -> Json:
        # In Slack's mrkdwn these three begin links and entities; all else is text.
        text = message.text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        return {"text": cut(text, self.most_bytes)}


class DingTalk(Webhook):
    """A message in a DingTalk group, by a custom robot with a signature."""

    kind: str = "dingtalk"
    address_env: str = "PRETUNE_DINGTALK"
    """The variable of the environment that has the robot's address, access_token included."""
    secret_env: str | None = "PRETUNE_DINGTALK_SECRET"
    """The variable that has the secret of the signature (SEC...); null for a robot without one."""
    code: ClassVar[str] = "errcode"
    most_bytes: ClassVar[int] = 20_000

    def check(self) -> None:
        from_environment(self.address_env)
        if self.secret_env:
            from_environment(self.secret_env)

    def payload(self, message: Message, *, now: float) -> Json:
        title, text = cut(plain(message.title), 200), "\n\n".join(f"- {plain(line)}" for line in message.lines)
        return {"msgtype": "markdown", "markdown": {"title": title, "text": cut(text, self.most_bytes)}}

    def address(self, *, now: float) -> str:
        address = from_environment(self.address_env)
        if not self.secret_env:
            return address
        stamp, secret = str(round(now * 1000)), from_environment(self.secret_env)
        signed = urllib.parse.urlencode({"timestamp": stamp, "sign": signature(secret, f"{stamp}\n{secret}")})
        return f"{address}&{signed}"


class Feishu(Webhook):
    """A message in a Feishu (Lark) group, by a custom bot with a signature."""

    kind: str = "feishu"
    address_env: str = "PRETUNE_FEISHU"
    """The variable of the environment that has the bot's address."""
    secret_env: str | None = "PRETUNE_FEISHU_SECRET"
    """The variable that has the secret of the signature; null for a bot without one."""
    code: ClassVar[str] = "code"
    most_bytes: ClassVar[int] = 18_000

    def check(self) -> None:
        from_environment(self.address_env)
        if self.secret_env:
            from_environment(self.secret_env)

    def payload(self, message: Message, *, now: float) -> Json:
        unsigned = {"msg_type": "text", "content": {"text": cut(plain(message.text), self.most_bytes)}}
        if not self.secret_env:
            return unsigned
        stamp = str(int(now))
        # Unlike DingTalk, time and secret are the key here, and nothing is what is signed.
        return {**unsigned, "timestamp": stamp, "sign": signature(f"{stamp}\n{from_environment(self.secret_env)}", "")}


class WeCom(Webhook):
    """A message in a WeCom (WeChat Work) group, by a group robot."""

    kind: str = "wecom"
    address_env: str = "PRETUNE_WECOM"
    """The variable of the environment that has the robot's address, key included."""
    code: ClassVar[str] = "errcode"
    most_bytes: ClassVar[int] = 4096

    def payload(self, message: Message, *, now: float) -> Json:
        text = "\n".join(f"> {plain(line)}" for line in message.lines)
        return {"msgtype": "markdown", "markdown": {"content": cut(text, self.most_bytes)}}


def plain(text: str) -> str:
    """The text without a sign that begins a mention, a tag, a link or a picture."""
    return text.translate(WIDE)


def signature(key: str, text: str) -> str:
    """HMAC-SHA256 in base64, as DingTalk and Feishu sign."""
    return base64.b64encode(hmac.new(key.encode(), text.encode(), hashlib.sha256).digest()).decode()


def cut(text: str, most_bytes: int) -> str:
    """The text in at most so many bytes of UTF-8, no character cut in two."""
    data = text.encode()
    return text if len(data) <= most_bytes else data[: most_bytes - 4].decode(errors="ignore") + " …"


def _posted(address: str, payload: Json, kind: str) -> Json:
    """What a service answers, as JSON where it is. Raises NotDelivered; the address, which is a secret, is not told."""
    data, headers = (
        json.dumps(payload, ensure_ascii=False).encode(),
        {"Content-Type": "application/json; charset=utf-8"},
    )
    try:
        request = urllib.request.Request(address, data=data, headers=headers, method="POST")
        if request.type not in ("http", "https"):
            raise NotDelivered(f"the address of {kind} is no http or https address")
        with urllib.request.build_opener(Stays).open(request, timeout=TIMEOUT) as answer:
            said = answer.read(MOST_ANSWER)
    except urllib.error.HTTPError as error:
        moved = ": its address has moved" if 300 <= error.code < 400 else ""
        raise NotDelivered(f"{kind} answers {error.code}{moved}") from None
    except urllib.error.URLError as error:
        raise NotDelivered(f"{kind} does not answer: {error.reason}") from None
    except (OSError, ValueError, HTTPException) as error:  # an InvalidURL holds the address in its words
        raise NotDelivered(f"{kind} does not answer: {type(error).__name__}") from None
    try:
        found = json.loads(said)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
