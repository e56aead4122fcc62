"""A new server gets what it needs, once, and nothing that a person wrote is ever changed."""

from __future__ import annotations

import os
import random
import stat
import tomllib
from pathlib import Path

import pytest

from bartos.config import Settings, load_all
from bartos.init import (
    Host,
    Initialised,
    Paths,
    config_text,
    ensure_initialised,
    host_timezone,
    report,
    this_host,
)
from libbarto.errors import ConfigError
from libbarto.realtime import zones
from libbarto.settings import InvalidConfig
from libbarto.tls import expires, fingerprint

NOW = 1_800_000_000_000_000
DAY = 86_400_000_000
HOST = Host(("vader", "vader.example"), ("127.0.0.1", "192.0.2.1"), "Europe/Berlin")


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(tmp_path / "etc" / "bartos.toml", tmp_path / "state")


def initialise(
    paths: Paths,
    now: int = NOW,
    host: Host = HOST,
    seed: int = 1,
    reached_as: tuple[str, ...] = (),
    **more: object,
) -> Initialised:
    listen, port = more.get("listen"), more.get("port")
    assert listen is None or isinstance(listen, str)
    assert port is None or isinstance(port, int)
    return ensure_initialised(
        paths,
        now,
        random.Random(seed).randbytes,
        host=host,
        reached_as=reached_as,
        listen=listen,
        port=port,
        write_config=bool(more.get("write_config", True)),
    )


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_server_gets_all_it_needs(paths: Paths) -> None:
    made = initialise(paths)
    assert made.created == (
        paths.config,
        paths.signing_key,
        paths.api_key,
        paths.ca_cert,
        paths.ca_key,
        paths.cert,
        paths.key,
    )
    assert all(path.exists() for path in made.created)
    assert len(made.api_key) == 32
    assert made.ca_fingerprint == fingerprint(paths.ca_cert.read_bytes())
    assert load_all(paths.config, environment={}).settings.timezone == "Europe/Berlin"


def test_what_is_secret_is_its_owner_s_alone_whatever_the_umask(paths: Paths) -> None:
    before = os.umask(0)
    try:
        made = initialise(paths)
    finally:
        os.umask(before)
    assert {mode(path) for path in made.created[1:]} == {0o600}
    assert mode(paths.state) == 0o700


def test_a_secret_is_not_shown(paths: Paths) -> None:
    made = initialise(paths)
    assert made.api_key not in repr(made)


def test_a_second_time_changes_nothing(paths: Paths) -> None:
    first = initialise(paths)
    before = {path: path.read_bytes() for path in first.created}
    second = initialise(paths, NOW + DAY, seed=2)
    assert second.created == ()
    assert second.renewed is None
    assert {path: path.read_bytes() for path in first.created} == before
    assert (second.api_key, second.ca_pem) == (first.api_key, first.ca_pem)
    assert second.signing_key.public == first.signing_key.public


def test_what_is_missing_is_made_and_the_rest_kept(paths: Paths) -> None:
    first = initialise(paths)
    paths.api_key.unlink()
    paths.key.unlink()
    second = initialise(paths, seed=2)
    assert second.created == (paths.api_key, paths.cert, paths.key)
    assert second.api_key != first.api_key
    assert second.ca_pem == first.ca_pem


def test_the_file_can_be_left_out(paths: Paths) -> None:
    assert paths.config not in initialise(paths, write_config=False).created
    assert not paths.config.exists()


def test_a_certificate_is_renewed_in_time(paths: Paths) -> None:
    first = initialise(paths)
    ends = expires(paths.cert.read_bytes())
    second = initialise(paths, ends - DAY, seed=2)
    assert second.renewed is not None
    assert expires(paths.cert.read_bytes()) > ends
    assert second.ca_pem == first.ca_pem


def test_a_host_with_a_new_address_gets_a_certificate_for_it(paths: Paths) -> None:
    initialise(paths)
    moved = Host(HOST.names, (*HOST.addresses, "192.0.2.9"), HOST.timezone)
    renewed = initialise(paths, host=moved, seed=2).renewed
    assert renewed is not None
    assert "192.0.2.9" in renewed


def test_the_certificate_holds_for_what_others_call_the_server(paths: Paths) -> None:
    made = initialise(paths, reached_as=("127.0.0.2", "ops.example", "fe80::1%eth0"))
    assert made.host.names[-1] == "ops.example"
    assert made.host.addresses[-2:] == ("127.0.0.2", "fe80::1")
    assert initialise(paths, reached_as=("127.0.0.2", "ops.example", "fe80::1")).renewed is None
    told = initialise(paths, reached_as=("new.example",)).renewed
    assert told is not None
    assert "new.example" in told


def test_what_others_call_the_server_is_where_it_listens_and_what_is_public() -> None:
    assert Settings(listen="0.0.0.0").reached_as == ()
    assert Settings(listen="::", public_url="https://ops.example:1/x").reached_as == (
        "ops.example",
    )
    assert Settings(listen="192.0.2.1").reached_as == ("192.0.2.1",)


def test_a_certificate_cannot_be_renewed_without_the_ca_s_key(paths: Paths) -> None:
    initialise(paths)
    paths.ca_key.unlink()
    assert initialise(paths).created == ()
    with pytest.raises(ConfigError, match=r"ca\.key is missing.*it lacks 192\.0\.2\.9"):
        initialise(paths, host=Host(("vader",), ("192.0.2.9",)))
    paths.cert.unlink()
    with pytest.raises(ConfigError, match=r"put the key back, or remove .*ca\.pem too"):
        initialise(paths)


def test_an_empty_secret_is_refused(paths: Paths) -> None:
    initialise(paths)
    paths.api_key.write_text("\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"api\.key is empty"):
        initialise(paths)


def test_a_state_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"the directory .*state cannot be made: Not a directory"):
        initialise(Paths(tmp_path / "bartos.toml", tmp_path / "file" / "state"))


def test_what_cannot_be_read_or_written_is_named(paths: Paths) -> None:
    paths.ca_cert.mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"ca\.pem cannot be read: Is a directory"):
        initialise(paths)
    paths.ca_cert.rmdir()
    paths.ca_key.mkdir()
    with pytest.raises(ConfigError, match=r"ca\.key cannot be"):
        initialise(paths)


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(ConfigError, match="cannot be read: Not a directory"):
        initialise(Paths(tmp_path / "file" / "etc" / "bartos.toml", tmp_path / "state"))


# -- the file -------------------------------------------------------------------------------------


def test_the_new_file_says_what_the_defaults_are(tmp_path: Path) -> None:
    plain = tmp_path / "plain.toml"
    plain.write_text(config_text("UTC"), encoding="utf-8")
    assert load_all(plain, environment={}).definitions == ()
    assert set(tomllib.loads(plain.read_text(encoding="utf-8"))) == {"timezone", "defaults"}


def test_the_new_file_without_its_comment_signs_is_one_too(tmp_path: Path) -> None:
    lines = config_text("UTC").split("\n")
    bare = [line.removeprefix("# ") if "=" in line or "[" in line else line for line in lines]
    path = tmp_path / "bartos.toml"
    path.write_text("\n".join(bare), encoding="utf-8")
    try:
        configuration = load_all(path, environment={})
    except InvalidConfig as error:
        pytest.fail(str(error))
    assert [one.name for one in configuration.definitions] == ["hello"]
    defaults = load_all(plain_file(tmp_path), environment={}).settings
    assert configuration.settings.retain == defaults.retain
    assert (configuration.settings.listen, configuration.settings.port) == (
        defaults.listen,
        defaults.port,
    )


def plain_file(tmp_path: Path) -> Path:
    path = tmp_path / "empty.toml"
    path.write_text("", encoding="utf-8")
    return path


def test_another_address_is_written_into_a_new_file(paths: Paths) -> None:
    initialise(paths, listen="0.0.0.0", port=1234)
    settings = load_all(paths.config, environment={}).settings
    assert (settings.listen, settings.port) == ("0.0.0.0", 1234)


def test_a_file_that_nobody_touched_may_get_another_address(paths: Paths) -> None:
    initialise(paths)
    made = initialise(paths, listen="0.0.0.0")
    assert (made.created, made.advice) == ((paths.config,), ())
    assert paths.config.read_text(encoding="utf-8") == config_text("Europe/Berlin", "0.0.0.0")
    assert initialise(paths, listen="0.0.0.0").created == ()
    made = initialise(paths, port=9)
    assert paths.config.read_text(encoding="utf-8") == config_text("Europe/Berlin", "0.0.0.0", 9)


@pytest.mark.parametrize(
    "text", ['timezone = "UTC"\n', "", "x =", 'listen = 3\nport = "x"', "timezone = 3"]
)
def test_a_file_that_somebody_wrote_is_never_changed(paths: Paths, text: str) -> None:
    paths.config.parent.mkdir()
    paths.config.write_text(text, encoding="utf-8")
    made = initialise(paths, listen="0.0.0.0", port=9)
    assert paths.config not in made.created
    assert made.advice == (
        f"{paths.config} is yours: write into it, above its first table:",
        'listen = "0.0.0.0"',
        "port = 9",
    )
    assert paths.config.read_text(encoding="utf-8") == text


# -- this host ------------------------------------------------------------------------------------


def test_this_host_has_names_addresses_and_a_zone() -> None:
    host = this_host({"TZ": "Asia/Tokyo"})
    assert "localhost" in host.names
    assert {"127.0.0.1", "::1"} <= set(host.addresses)
    assert not any(address.startswith("fe80") for address in host.addresses)
    assert host.timezone == "Asia/Tokyo"


def test_the_zone_of_a_host_is_found_where_it_stands(tmp_path: Path) -> None:
    link, file, none = tmp_path / "localtime", tmp_path / "timezone", tmp_path / "none"
    link.symlink_to("../usr/share/zoneinfo/America/New_York")
    file.write_text("Europe/Paris\n", encoding="utf-8")
    assert host_timezone({"TZ": ":/usr/share/zoneinfo/Asia/Tokyo"}, link, file) == "Asia/Tokyo"
    assert host_timezone({}, link, file) == "America/New_York"
    assert host_timezone({"TZ": "EST5EDT,M3.2.0,M11.1.0"}, none, file) == "Europe/Paris"
    assert host_timezone({}, none, none) == "UTC"
    file.write_text("Etc/UTC\n", encoding="utf-8")
    assert host_timezone({}, none, file) == "UTC"
    assert zones.is_zone(host_timezone({}))


# -- what is said ---------------------------------------------------------------------------------


def test_what_was_made_is_told_with_the_next_commands(paths: Paths) -> None:
    lines = report(initialise(paths)).split("\n")
    assert lines[0] == f"made {paths.config}"
    after = lines[lines.index("Next:") + 1 :]
    assert [line.split("   ")[0].strip() for line in after[:3]] == [
        "bartos check",
        "bartos",
        "barto-cli worker add NAME",
    ]
    assert after[-1] == "  bartos init --listen 0.0.0.0"


def test_a_file_that_was_named_is_named_in_the_commands(paths: Paths) -> None:
    initialise(paths)
    text = report(initialise(paths), listen="0.0.0.0", named=True)
    assert text.startswith("everything was there already; nothing changed\n")
    assert f"bartos -c {paths.config}" in text
    assert "this host alone" not in text


def test_what_was_renewed_and_what_is_left_to_do_is_told(paths: Paths) -> None:
    initialise(paths)
    paths.config.write_text("", encoding="utf-8")
    moved = Host(HOST.names, ("192.0.2.9",), HOST.timezone)
    text = report(initialise(paths, host=moved, listen="0.0.0.0"), listen="0.0.0.0")
    assert f"made {paths.cert} anew: it lacks 192.0.2.9" in text
    assert 'listen = "0.0.0.0"' in text
