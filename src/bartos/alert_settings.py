"""Who is told of failures, and by which ways? The keys of `[alerts]` and `[heartbeat]`."""

from __future__ import annotations

import re
from email.errors import MessageError
from email.headerregistry import Address
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr

from libbarto.config import FilePath, Secret, secret
from libbarto.errors import UserError
from libbarto.settings import Keys, OneOrMore, Port, Texts

_ADDRESS: Final = re.compile(r"[^@\s<>\"(),:;\x00-\x1f]+@[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?")


def _mail_address(text: str) -> str:
    wrong = UserError(f'"{text}" is no address of mail; write ops@example.org')
    if not _ADDRESS.fullmatch(text):
        raise wrong
    try:
        Address(addr_spec=text)
    except (ValueError, MessageError):
        raise wrong from None
    return text


def _mail_addresses(addresses: tuple[str, ...]) -> tuple[str, ...]:
    if not addresses:
        raise UserError("expected an address of mail, found an empty list")
    return tuple(map(_mail_address, addresses))


def _program(command: tuple[str, ...]) -> tuple[str, ...]:
    if not command or not command[0].strip():
        raise UserError('expected a program and its arguments, as ["/usr/local/bin/tell", "ops"]')
    if any("\0" in part for part in command):
        raise UserError("a NUL character cannot be handed to a program")
    return command


def _secret_url(secret: SecretStr) -> SecretStr:
    # Not shown in a message: it is a secret.
    text = secret.get_secret_value()
    wrong = UserError("it is no address; write https://HOST/PATH")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise wrong from None
    if parts.scheme not in {"https", "http"} or not parts.hostname or port == 0:
        raise wrong
    if re.search(r"[^\x21-\x7e]", text):
        raise wrong
    if "@" in parts.netloc:
        raise UserError("user and password in an address are not sent; leave them out")
    return secret


class Smtp(Keys):
    """By which server mail goes. Left out: by this host's sendmail(8), else by port 25 of it."""

    host: str | None = Field(
        default=None,
        min_length=1,
        description="its name or address; left out: this host's sendmail(8) where there is one, "
        "else `localhost`",
    )
    port: Port | None = Field(
        default=None, description="its port; left out: what goes with `tls`: 465, 587 or 25"
    )
    tls: Literal["starttls", "tls", "none"] | None = Field(
        default=None,
        description="`tls` from the first byte, `starttls`, or `none`; left out: what goes with "
        "the port: 465 `tls`, 25 on this host `none`, else `starttls`",
    )
    username: str | None = Field(default=None, min_length=1, description="the account, if any")
    password: Secret | None = Field(default=None, description="its password")
    password_file: FilePath | None = Field(
        default=None, description="a file with the password, in its place"
    )
    sender: Annotated[str, AfterValidator(_mail_address)] | None = Field(
        default=None, description="from whom mail comes; left out: `barto@` and this host's name"
    )

    def secret(self) -> str | None:
        """The password, read from its file if it is in one. Raises `ConfigError`."""
        return secret(self.password, self.password_file, "alerts.smtp.password")


class Alerts(Keys):
    """Who is told when a schedule fails for the first time, recovers, was missed or is stuck."""

    command: Annotated[Texts, AfterValidator(_program)] | None = Field(
        default=None,
        description='a program and its arguments, as `["/usr/local/bin/tell", "ops"]`; it gets the '
        "message as JSON on its input and as `BARTO_ALERT_…` in its environment",
    )
    webhook: Annotated[Secret, AfterValidator(_secret_url)] | None = Field(
        default=None,
        description="an address (https) to which the message is sent as JSON; Slack, Mattermost, "
        "Discord and others take it",
    )
    mail: Annotated[OneOrMore, AfterValidator(_mail_addresses)] | None = Field(
        default=None, description="an address of mail, or a list of them"
    )
    smtp: Smtp = Field(default=Smtp(), description="by which mail server")


class Heartbeat(Keys):
    """Another service that watches this server: its address is fetched each minute that all is
    well here."""

    url: Annotated[Secret, AfterValidator(_secret_url)] | None = Field(
        default=None, description="the address (https) that is fetched"
    )
