"""What an alert says, in English and Chinese: the same words in the log, in mails, in chats and on the page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Literal

from pretune.base.json import Json, JsonMap

Language = Literal["en", "zh"]
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
"""What ends a line, or tells a terminal what to do: a name is a part of one line."""
WORDS = {
    "en": {
        "burst": "{sentiment} texts{subject} surged: {count} in {window}, usually {usual}",
        "rise": "{sentiment} texts{subject} have risen: {count} in {window}, usually {usual}",
        "fall": "{sentiment} texts{subject} have fallen: {count} in {window}, usually {usual}",
        "silence": "no texts for {hours} h, where {usual} are usual: the stream has stopped, or the watch had",
        "subject": " on {name}",
        "late": "late: {sentence}",
        "several": "{number} alerts",
        "minutes": "{number} minutes",
        "hour": "an hour",
    },
    "zh": {
        "burst": "{subject}“{sentiment}”文本激增：{window}内 {count} 条，通常 {usual} 条",
        "rise": "{subject}“{sentiment}”文本持续增多：{window}内 {count} 条，通常 {usual} 条",
        "fall": "{subject}“{sentiment}”文本持续减少：{window}内 {count} 条，通常 {usual} 条",
        "silence": "{hours} 小时没有文本，通常 {usual} 条：数据源停了，或监控停过",
        "subject": "关于“{name}”的",
        "late": "补发：{sentence}",
        "several": "{number} 个告警",
        "minutes": "{number} 分钟",
        "hour": "一小时",
    },
}


@dataclass(frozen=True)
class Message:
    """The alerts of one window.

    Args:
        title: on one line; `lines`: one for each alert, with its time; `alerts`: their facts.
    """

    title: str
    lines: tuple[str, ...]
    alerts: tuple[JsonMap, ...]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


def message_of(
    alerts: Sequence[Json], *, seconds: int, language: Language, utc_offset: float = 0, late: bool = False
) -> Message:
    """What is sent of the alerts of a window of so many seconds.

    Args:
        late: they were found long after their window.
    """
    sentences = [sentence(alert, seconds=seconds, language=language) for alert in alerts]
    if late:
        sentences = [WORDS[language]["late"].format(sentence=one) for one in sentences]
    lines = tuple(f"{_time(a['window'], utc_offset)}  {s}" for a, s in zip(alerts, sentences, strict=True))
    number = WORDS[language]["several"].format(number=len(alerts))
    title = sentences[0] if len(alerts) == 1 else f"{number}: {sentences[0]} ..."
    facts = tuple({**alert, "text": s} for alert, s in zip(alerts, sentences, strict=True))
    return Message(title, lines, facts)


def sentence(alert: JsonMap, *, seconds: int, language: Language) -> str:
    """`negative texts on Acme surged: 31 in an hour, usually 6.2`."""
    words = WORDS[language]
    what = alert["what"] if alert["what"] != "drift" else "rise" if alert["rises"] else "fall"
    minutes = words["minutes"].format(number=seconds // 60)
    return words[what].format(
        sentiment=alert["sentiment"],
        subject=words["subject"].format(name=CONTROL.sub(" ", alert["name"])) if alert["name"] else "",
        count=alert["count"],
        usual=f"{alert['usual']:.1f}",
        hours=f"{(alert['until'] - alert['window']) / 3600:.4g}",
        window=words["hour"] if seconds == 3600 else minutes,
    )


def _time(window: int, utc_offset: float) -> str:
    zone = timezone(timedelta(hours=utc_offset)) if utc_offset else UTC
    return datetime.fromtimestamp(window, zone).strftime("%Y-%m-%d %H:%M")
