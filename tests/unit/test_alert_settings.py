"""What `[alerts]` and `[heartbeat]` may say, what becomes of it, and what will not work."""

from __future__ import annotations

from pathlib import Path

import pytest

from bartos import channels
from bartos.alert_settings import Alerts
from bartos.alert_text import message_of_test
from bartos.channels import (
    BrokenChannel,
    CommandChannel,
    MailChannel,
    WebhookChannel,
    channels_of,
    doubts,
)
from bartos.config import check_files, load_all
from bartos.outgoing import MailServer, Undelivered
from libbarto.settings import InvalidConfig


@pytest.fixture(autouse=True)
def no_sendmail(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether this host has one is not what the tests are about."""
    monkeypatch.setattr(channels, "sendmail", lambda: None)


def alerts(tmp_path: Path, text: str) -> Alerts:
    file = tmp_path / "bartos.toml"
    file.write_text(text)
    return load_all(file, environment={}).settings.alerts


def fault(tmp_path: Path, text: str) -> str:
    with pytest.raises(InvalidConfig) as caught:
        alerts(tmp_path, text)
    return str(caught.value).removeprefix(str(tmp_path))


def test_without_the_table_there_is_no_channel(tmp_path: Path) -> None:
    assert channels_of(alerts(tmp_path, ""), "host") == {}


def test_every_key_is_a_channel(tmp_path: Path) -> None:
    said = """
[alerts]
command = ["/usr/local/bin/tell", "ops"]
webhook = "https://chat.example.org/hooks/s3cret"
mail = ["ops@example.org", "ann@example.org"]

[alerts.smtp]
host = "mail.example.org"
username = "barto"
password = "s3cret"
sender = "barto@example.org"
"""
    server = MailServer("mail.example.org", 587, "starttls", "barto", "s3cret")
    found = channels_of(alerts(tmp_path, said), "host")
    assert found == {
        "command": CommandChannel(("/usr/local/bin/tell", "ops")),
        "webhook": WebhookChannel("https://chat.example.org/hooks/s3cret"),
        "mail": MailChannel(("ops@example.org", "ann@example.org"), "barto@example.org", server),
    }
    assert "s3cret" not in " ".join(one.place for one in found.values())
    assert "s3cret" not in repr(alerts(tmp_path, said))


@pytest.mark.parametrize(
    ("smtp", "server"),
    [
        ("", MailServer("localhost", 25, "none")),
        ("port = 2525", MailServer("localhost", 2525, "none")),
        ('host = "::1"', MailServer("::1", 25, "none")),
        ('host = "m.example"', MailServer("m.example", 587, "starttls")),
        ('host = "m.example"\nport = 465', MailServer("m.example", 465, "tls")),
        ('host = "m.example"\nport = 25', MailServer("m.example", 25, "starttls")),
        ('host = "m.example"\ntls = "tls"', MailServer("m.example", 465, "tls")),
        ('host = "m.example"\ntls = "none"', MailServer("m.example", 25, "none")),
    ],
)
def test_port_and_tls_go_with_one_another(tmp_path: Path, smtp: str, server: MailServer) -> None:
    said = alerts(tmp_path, f'[alerts]\nmail = "ops@example.org"\n[alerts.smtp]\n{smtp}\n')
    channel = channels_of(said, "host.example")["mail"]
    assert channel == MailChannel(("ops@example.org",), "barto@host.example", server)


def test_mail_goes_by_sendmail_where_no_host_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "sendmail", lambda: "/usr/sbin/sendmail")
    said = alerts(tmp_path, '[alerts]\nmail = "ops@example.org"\n[alerts.smtp]\nport = 25\n')
    channel = channels_of(said, "host")["mail"]
    assert channel == MailChannel(("ops@example.org",), "barto@host", None, "/usr/sbin/sendmail")
    assert channel.place == "ops@example.org by /usr/sbin/sendmail"
    assert [key for key, _ in doubts(said)] == ["alerts.smtp"]


async def test_a_host_whose_name_makes_no_address_is_told_when_mail_is_sent(
    tmp_path: Path,
) -> None:
    said = alerts(tmp_path, '[alerts]\nmail = "ops@example.org"\n[alerts.smtp]\nhost = "m"\n')
    with pytest.raises(Undelivered, match="say sender"):
        await channels_of(said, "a b")["mail"].send(message_of_test("ab", 0, "https://b", "ann"))


async def test_a_password_that_cannot_be_read_is_told_when_mail_is_sent(tmp_path: Path) -> None:
    said = alerts(
        tmp_path,
        '[alerts]\nmail = "ops@example.org"\n[alerts.smtp]\nhost = "m"\nusername = "u"\n'
        'password_file = "/nonexistent/password"\n',
    )
    channel = channels_of(said, "host")["mail"]
    assert isinstance(channel, BrokenChannel)
    with pytest.raises(Undelivered, match="/nonexistent/password"):
        await channel.send(message_of_test("ab", 0, "https://b", "ann"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[alerts]\ncommand = []", "alerts.command: expected a program"),
        ('[alerts]\ncommand = ["a\\u0000"]', "alerts.command: a NUL"),
        ('[alerts]\nwebhook = "chat.example.org/s3cret"', "alerts.webhook: it is no address"),
        ('[alerts]\nwebhook = "ftp://chat/s3cret"', "alerts.webhook: it is no address"),
        ('[alerts]\nwebhook = "https://chat:0/s3cret"', "alerts.webhook: it is no address"),
        ('[alerts]\nwebhook = "https://chat/s3cret\\r\\nX: y"', "alerts.webhook: it is no address"),
        ('[alerts]\nwebhook = "https://a:s3cret@chat/"', "alerts.webhook: user and password"),
        ('[alerts]\nmail = "a..b@c"', 'alerts.mail: "a..b@c" is no address of mail'),
        ('[alerts]\nmail = "ops"', 'alerts.mail: "ops" is no address of mail'),
        ('[alerts]\nmail = "a@b\\r\\nBcc: c@d"', "alerts.mail: "),
        ("[alerts]\nmail = []", "alerts.mail: expected an address"),
        ('[alerts]\nemail = "a@b"', "alerts.email: an address of mail is written mail"),
        ('[alerts.smtp]\nfrom = "a@b"', "alerts.smtp.from: from whom mail comes is written sender"),
        ('[alerts.smtp]\nsender = "a"', "alerts.smtp.sender: "),
        ('[heartbeat]\nurl = "s3cret"', "heartbeat.url: it is no address"),
        ('[alert]\nmail = "a@b"', "alert: who is told of failures stands in [alerts]"),
    ],
)
def test_a_fault_names_file_line_and_key_and_shows_no_secret(
    tmp_path: Path, text: str, said: str
) -> None:
    message = fault(tmp_path, text)
    assert said in message
    assert "bartos.toml:" in message
    assert "s3cret" not in message


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('[alerts]\ncommand = ["/nonexistent/tell"]', "alerts.command"),
        ('[alerts]\nwebhook = "http://chat.example.org/x"', "alerts.webhook"),
        ('[alerts]\nmail = "a@b"', "alerts.mail"),
        ('[alerts.smtp]\nhost = "m"', "alerts.smtp"),
        (
            '[alerts]\nmail = "a@b"\n[alerts.smtp]\nhost = "m"\nusername = "u"',
            "alerts.smtp.username",
        ),
        (
            '[alerts]\nmail = "a@b"\n[alerts.smtp]\nhost = "m"\nusername = "u"\npassword = "p"\n'
            'tls = "none"',
            "alerts.smtp.tls",
        ),
    ],
)
def test_what_cannot_work_is_a_warning_of_the_check(tmp_path: Path, text: str, key: str) -> None:
    file = tmp_path / "bartos.toml"
    file.write_text(text)
    (warning,) = check_files([file], environment={}).warnings
    assert warning.message.startswith(f"{key}: ")
    assert "bartos.toml" in warning.place


@pytest.mark.parametrize(
    "text",
    [
        '[alerts]\ncommand = ["sh"]',
        '[alerts]\nwebhook = "http://127.0.0.1:8065/x"',
        '[alerts]\nwebhook = "http://localhost/x"',
        '[alerts]\nmail = "a@b"\n[alerts.smtp]\nhost = "m"',
    ],
)
def test_what_can_work_is_none(tmp_path: Path, text: str) -> None:
    assert list(doubts(alerts(tmp_path, text))) == []


def test_a_schedule_may_have_no_alerts(tmp_path: Path) -> None:
    file = tmp_path / "bartos.toml"
    file.write_text(
        '[defaults]\nalerts = false\n[[schedule]]\nname = "a"\nworkers = "*"\n'
        'on_calendar = "daily"\ncmds = ["true"]\n'
    )
    assert load_all(file, environment={}).definitions[0].alerts is False
