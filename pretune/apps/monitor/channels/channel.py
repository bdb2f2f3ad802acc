"""Where messages go: a table of channels. Addresses and passwords come from the environment, never from a recipe.

A webhook's address is its secret: whoever knows it can write into the chat. So a channel names a variable, and the card
of the application names it too, and holds nothing that could leak.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import ClassVar

from pretune.apps.monitor.words import Language, Message
from pretune.base.config import Choice, Variant
from pretune.base.errors import UserError


class Channel(Variant):
    """One way to reach people."""

    default_name: ClassVar[str] = ""
    language: Language = "en"
    """Language of its messages: en or zh."""

    def check(self) -> None:
        """Raise UserError where it could never deliver: a variable that is not set."""

    def send(self, message: Message, *, now: float, write: Callable[[str], object]) -> None:
        """Deliver; raises NotDelivered.

        Args:
            now: seconds since 1970.
            write: takes a line for who started the watch.
        """
        raise AssertionError(f"{type(self).__name__} has no send()")


def from_environment(variable: str) -> str:
    """The value of a variable. Raises UserError: it is not set."""
    value = os.environ.get(variable, "").strip()
    if not value:
        raise UserError(f"the environment has no {variable}, which an alert needs", hint=f"export {variable}=...")
    return value


CHANNEL = Choice(
    Channel,
    {
        "log": "pretune.apps.monitor.channels.log:LogChannel",
        "email": "pretune.apps.monitor.channels.mail:Mail",
        "webhook": "pretune.apps.monitor.channels.webhooks:Webhook",
        "slack": "pretune.apps.monitor.channels.webhooks:Slack",
        "dingtalk": "pretune.apps.monitor.channels.webhooks:DingTalk",
        "feishu": "pretune.apps.monitor.channels.webhooks:Feishu",
        "wecom": "pretune.apps.monitor.channels.webhooks:WeCom",
    },
    group="pretune.channels",
)
