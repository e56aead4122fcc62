"""By which ways do alerts leave the server? A program, a webhook, and mail."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate
from typing import Final, Protocol
from urllib.parse import urlsplit

from bartos.alert_settings import Alerts, Smtp
from bartos.alert_text import Message
from bartos.outgoing import (
    MailServer,
    Posted,
    Undelivered,
    fetch,
    is_there,
    mail,
    run_program,
    sendmail,
)
from libbarto.errors import ConfigError

COMMAND: Final = "command"
WEBHOOK: Final = "webhook"
MAIL: Final = "mail"
NAMES: Final = (COMMAND, WEBHOOK, MAIL)
LOCALHOST: Final = "localhost"
PORTS: Final = {"tls": 465, "starttls": 587, "none": 25}


class Channel(Protocol):
    """A way by which messages go."""

    @property
    def place(self) -> str:
        """Where it leads, for people; without any secret."""

    async def send(self, message: Message) -> str:
        """Hand a message over; returns what was answered. Raises `outgoing.Undelivered`, and of
        that `outgoing.Refused` where it may take another."""


@dataclass(frozen=True, slots=True)
class CommandChannel:
    """A program that gets the message as JSON on its input, and its parts as variables."""

    command: Sequence[str]

    @property
    def place(self) -> str:
        """The program's name: its arguments may hold secrets."""
        return self.command[0]

    async def send(self, message: Message) -> str:
        return await run_program(self.command, json_of(message), message.as_environment())


@dataclass(frozen=True, slots=True)
class WebhookChannel:
    """An address that takes the message as JSON. The whole of it counts as a secret."""

    url: str

    @property
    def place(self) -> str:
        """Its host."""
        return urlsplit(self.url).hostname or ""

    async def send(self, message: Message) -> str:
        return await fetch(self.url, Posted(json_of(message)))


@dataclass(frozen=True, slots=True)
class MailChannel:
    """Mail: handed to a server, or to this host's sendmail(8)."""

    to: Sequence[str]
    sender: str
    server: MailServer | None
    sendmail: str = ""

    @property
    def place(self) -> str:
        """To whom, and by which way."""
        by = self.sendmail if self.server is None else f"{self.server.host}:{self.server.port}"
        return f"{', '.join(self.to)} by {by}"

    async def send(self, message: Message) -> str:
        try:
            written = letter(message, self.sender, self.to)
        except (ValueError, MessageError) as error:
            raise Undelivered(f"{self.sender} is no address of mail: say sender") from error
        if self.server is not None:
            return await mail(self.server, written)
        command = [self.sendmail, "-i", "-f", self.sender, "--", *self.to]
        # sendmail(8) takes the lines of its host.
        data = written.as_bytes(policy=SMTP.clone(linesep="\n"))
        return await run_program(command, data, {})


def letter(message: Message, sender: str, to: Sequence[str]) -> EmailMessage:
    """The message as mail. What others wrote stands in no header but the subject, on one line."""
    written = EmailMessage(policy=SMTP)
    written["From"] = Address("barto", addr_spec=sender)
    written["To"] = [Address(addr_spec=one) for one in to]
    written["Subject"] = f"[barto] {message.subject}"
    written["Date"] = formatdate()
    written["Message-ID"] = f"<{message.alert_id}@{sender.rpartition('@')[2]}>"
    written["Auto-Submitted"] = "auto-generated"
    written["X-Barto-Event"] = message.event
    written.set_content(f"{message.text}\n", charset="utf-8")
    return written


def json_of(message: Message) -> bytes:
    """The message as it goes to programs and webhooks."""
    return json.dumps(message.as_json(), ensure_ascii=False).encode()


Channels = Mapping[str, Channel]


# -- out of the configuration ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BrokenChannel:
    """A channel that is configured and cannot work."""

    place: str
    fault: str

    async def send(self, message: Message) -> str:
        raise Undelivered(self.fault)


def channels_of(alerts: Alerts, host: str) -> Channels:
    """The channels that are configured, by name. `host` is this host's name."""
    found: dict[str, Channel] = {}
    if alerts.command is not None:
        found[COMMAND] = CommandChannel(alerts.command)
    if alerts.webhook is not None:
        found[WEBHOOK] = WebhookChannel(alerts.webhook.get_secret_value())
    if alerts.mail is not None:
        found[MAIL] = _mail_channel(alerts.mail, alerts.smtp, host)
    return found


def _mail_channel(to: Sequence[str], smtp: Smtp, host: str) -> Channel:
    sender = smtp.sender or f"barto@{host}"
    program = sendmail()
    if smtp.host is None and program is not None:
        return MailChannel(to, sender, None, program)
    try:
        password = smtp.secret()
    except ConfigError as error:
        return BrokenChannel(", ".join(to), str(error))
    server = smtp.host or LOCALHOST
    tls = smtp.tls or _tls_of(server, smtp.port)
    port = PORTS[tls] if smtp.port is None else smtp.port
    return MailChannel(to, sender, MailServer(server, port, tls, smtp.username, password))


def _tls_of(server: str, port: int | None) -> str:
    if port == PORTS["tls"]:
        return "tls"
    return "none" if is_this_host(server) else "starttls"


def is_this_host(name: str) -> bool:
    """Whether a name or an address leads to this host alone."""
    if name == LOCALHOST:
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def doubts(alerts: Alerts) -> Iterator[tuple[str, str]]:
    """What of these settings will not work, or was hardly meant: keys, and what is wrong."""
    smtp = alerts.smtp
    if alerts.command is not None and not is_there(alerts.command[0]):
        yield "alerts.command", f"there is no program {alerts.command[0]}"
    if alerts.webhook is not None:
        parts = urlsplit(alerts.webhook.get_secret_value())
        if parts.scheme == "http" and not is_this_host(parts.hostname or ""):
            yield "alerts.webhook", "http shows everybody on the way what is in it; use https"
    if alerts.mail is None:
        if smtp != Smtp():
            yield "alerts.smtp", "it has no effect without alerts.mail"
        return
    if smtp.host is None and sendmail() is None:
        yield (
            "alerts.mail",
            "there is no sendmail here, so mail goes to port 25 of this host; if nothing listens "
            'there, say host = "…" in [alerts.smtp]',
        )
    if smtp.host is None and sendmail() is not None and smtp != Smtp(sender=smtp.sender):
        yield "alerts.smtp", "without a host mail goes by this host's sendmail, and this is unused"
    if smtp.username is not None and smtp.password is None and smtp.password_file is None:
        yield "alerts.smtp.username", "there is no password for it"
    if (
        smtp.username is not None
        and smtp.tls == "none"
        and not is_this_host(smtp.host or LOCALHOST)
    ):
        yield "alerts.smtp.tls", "without TLS everybody on the way sees the password"
