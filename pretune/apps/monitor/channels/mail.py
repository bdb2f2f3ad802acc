"""Alerts by e-mail."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Callable
from email.message import EmailMessage

from pydantic import Field

from pretune.apps.monitor.channels.channel import Channel, from_environment
from pretune.apps.monitor.words import Message
from pretune.base.errors import NotDelivered

TIMEOUT = 20.0
"""Seconds that the server may take."""


class Mail(Channel):
    """A mail for the alerts of a window, over SMTP; encrypted whenever there is a password."""

    kind: str = "email"
    to: tuple[str, ...] = Field(min_length=1)
    """Who gets it."""
    sender: str = "pretune@localhost"
    """Whom it is from."""
    host: str = "localhost"
    """The server that takes it."""
    port: int = Field(587, gt=0, lt=65536)
    """465 speaks TLS at once; others begin plain and change to TLS (STARTTLS) if there is a user."""
    user: str | None = None
    """Who signs in; nobody does where it is not given."""
    password_env: str = "PRETUNE_SMTP_PASSWORD"
    """The variable of the environment that has the password."""

    def check(self) -> None:
        if self.user is not None:
            from_environment(self.password_env)

    def mail(self, message: Message) -> EmailMessage:
        """The mail. A line break in a title would begin another header: EmailMessage refuses it, so it is a blank."""
        mail = EmailMessage()
        mail["From"], mail["To"] = self.sender, ", ".join(self.to)
        mail["Subject"] = " ".join(message.title.split())
        mail.set_content(message.text)
        return mail

    def send(self, message: Message, *, now: float, write: Callable[[str], object]) -> None:
        try:
            with self._connected() as server:
                if self.user is not None:
                    server.login(self.user, from_environment(self.password_env))
                refused = server.send_message(self.mail(message))
        except (smtplib.SMTPException, OSError, ValueError) as error:  # ValueError: a password or header it cannot say
            raise NotDelivered(f"{self.host}:{self.port} did not take the mail: {error}") from None
        if refused:  # the others have it, and would get it again with every try
            write(f"{self.host}:{self.port} did not take the mail for {', '.join(sorted(refused))}")

    def _connected(self) -> smtplib.SMTP:
        if self.port == 465:
            return smtplib.SMTP_SSL(self.host, self.port, timeout=TIMEOUT, context=ssl.create_default_context())
        server = smtplib.SMTP(self.host, self.port, timeout=TIMEOUT)
        if self.user is not None:
            server.starttls(context=ssl.create_default_context())
        return server
