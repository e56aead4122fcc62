"""Where the server is: the quick way and the thorough way find the same."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from barto_cli import client
from barto_cli.client import Client, Failure, Target
from barto_cli.target import find_target, quickly, thoroughly
from libbarto.errors import ConfigError

PLAIN = [
    "",
    "# nothing but a comment\n",
    "[bartos]\n",
    '[bartos]\nurl = "https://barto.example"\n',
    '[bartos]\nurl = "https://Barto.example:8443/"\napi_key = "k"\nca_cert = "/etc/ca.pem"\n',
    '[bartos]\nurl = "http://127.0.0.1:8080"\n',
    '[bartos]\nsocket = "~/bartos.sock"\n',
    '[bartos]\nsocket = "/run/b.sock"\nurl = "https://b"\n',
]
THOROUGH = [
    'name = "me"\n[bartos]\nurl = "https://b"\n',
    '[bartos]\nhost = "b"\nport = 8443\nprefix = "wss"\napi_key = "k"\n',
    '[bartos]\nurl = "https://[::1]:1"\n',
    '[bartos]\nurl = "wss://b"\n',
    '[bartos]\napi_key = "k"\n',
    '[bartos]\nurl = "https://b"\nclient_cert = "c"\nclient_key = "k"\n',
]
WRONG = [
    "[bartos\n",
    '[bartos]\nurl = "ftp://b"\n',
    '[bartos]\nurl = "https://b:99999"\n',
    '[bartos]\nurl = "https://b/path"\n',
    "[bartos]\nurl = 5\n",
    '[bartos]\nurl = "https://b"\napi_key = ""\n',
    '[bartos]\nurll = "https://b"\n',
    'bartos = "b"\n',
    '[server]\nurl = "https://b"\n',
    '[bartos]\nport = "many"\n',
]


@pytest.mark.parametrize("text", PLAIN)
def test_the_quick_way_finds_what_the_thorough_way_finds(tmp_path: Path, text: str) -> None:
    file = tmp_path / "barto-cli.toml"
    file.write_text(text)
    assert quickly(file, {}) == thoroughly(file, {})


@pytest.mark.parametrize("text", THOROUGH)
def test_what_is_not_plain_goes_the_thorough_way(tmp_path: Path, text: str) -> None:
    file = tmp_path / "barto-cli.toml"
    file.write_text(text)
    assert quickly(file, {}) is None
    assert find_target(file, {}) == thoroughly(file, {})


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_is_told_by_the_thorough_way(tmp_path: Path, text: str) -> None:
    file = tmp_path / "barto-cli.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"barto-cli\.toml:\d"):
        find_target(file, {})


def test_variables_count_more_than_the_file(tmp_path: Path) -> None:
    file = tmp_path / "barto-cli.toml"
    file.write_text('[bartos]\nurl = "https://file"\n')
    found = find_target(file, {"BARTO_CLI_BARTOS__URL": "https://variable:1"})
    assert (found.host, found.port, found.tls) == ("variable", 1, True)


def test_a_file_that_was_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        find_target(tmp_path / "nothing.toml", {})


def test_without_an_address_the_server_is_on_this_host() -> None:
    found = find_target(None, {"CONFIGURATION_DIRECTORY": "/nowhere"})
    assert found.host is None
    assert found.sockets[-1] == Path("/var/lib/bartos/bartos.sock")


def test_the_key_may_be_in_a_file_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("secret\n")
    file = tmp_path / "barto-cli.toml"
    file.write_text(f'[bartos]\nurl = "https://b"\napi_key_file = "{tmp_path / "key"}"\n')
    assert find_target(file, {}).api_key == "secret"


def test_without_any_server_it_is_told_what_to_do(tmp_path: Path) -> None:
    target = Target(sockets=(tmp_path / "bartos.sock",), config_file="/etc/barto/barto-cli.toml")
    with pytest.raises(
        Failure, match=r"no server runs on this host.*`bartos`.*\[bartos\] url"
    ) as e:
        Client(target).get("/api/v1/runs")
    assert e.value.exit_code == 3
    with pytest.raises(Failure, match="no server is configured"):
        Client(Target()).get("/api/v1/runs")


def test_who_asks_has_a_name_without_a_login_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USER", "ann")
    assert client.who().startswith("ann@")
    monkeypatch.delenv("USER")
    assert client.who().startswith(f"{pwd.getpwuid(os.geteuid()).pw_name}@")
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_000_000)
    assert client.who().startswith("uid4000000000@")
