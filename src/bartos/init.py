"""What does a server need before its first start? A file, keys, certificates: made here, once.

`ensure_initialised` makes what is missing and keeps what is there, so it may run at every start.
Nothing that a person wrote is ever changed.
"""

from __future__ import annotations

import base64
import contextlib
import ipaddress
import os
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import psutil  # type: ignore[import-untyped]  # it ships no types

from libbarto.config import read_text
from libbarto.envelope import SigningKey
from libbarto.errors import ConfigError
from libbarto.places import DEFAULT_PORT
from libbarto.realtime import zones
from libbarto.tls import (
    Certificate,
    create_ca,
    fingerprint,
    issue_server_certificate,
    why_renew,
    write_private,
)
from libbarto.toml_lines import TomlError, read
from libbarto.toml_text import toml_text

LOOPBACK: Final = "127.0.0.1"
_SECRET_BYTES: Final = 24
"""192 bits: more than any secret of barto has to have (128)."""

RandomBytes = Callable[[int], bytes]
"""Where randomness comes from: a function of a number of bytes, as `os.urandom`."""


@dataclass(frozen=True, slots=True)
class Paths:
    """Where the file and the state of a server are."""

    config: Path
    state: Path

    @property
    def signing_key(self) -> Path:
        """The Ed25519 key (base64) that signs what workers are told."""
        return self.state / "signing.key"

    @property
    def api_key(self) -> Path:
        """The secret that lets workers and operators in."""
        return self.state / "api.key"

    @property
    def ca_cert(self) -> Path:
        """The CA's certificate, that workers pin."""
        return self.state / "ca.pem"

    @property
    def ca_key(self) -> Path:
        """The CA's key."""
        return self.state / "ca.key"

    @property
    def cert(self) -> Path:
        """The server's certificate."""
        return self.state / "tls.pem"

    @property
    def key(self) -> Path:
        """The key of the server's certificate."""
        return self.state / "tls.key"


@dataclass(frozen=True, slots=True)
class Host:
    """What is known of this host: names and addresses it may be reached by, and its zone."""

    names: tuple[str, ...]
    addresses: tuple[str, ...]
    timezone: str = "UTC"

    def reached_as(self, hosts: Iterable[str]) -> Host:
        """This host, which is reached by these names or addresses as well."""
        names, addresses = list(self.names), list(self.addresses)
        for host in hosts:
            try:
                addresses.append(str(ipaddress.ip_address(host.partition("%")[0])))
            except ValueError:
                names.append(host)
        return replace(
            self, names=tuple(dict.fromkeys(names)), addresses=tuple(dict.fromkeys(addresses))
        )


@dataclass(frozen=True, slots=True)
class Initialised:
    """What there is now."""

    paths: Paths
    host: Host
    api_key: str = field(repr=False)
    signing_key: SigningKey = field(repr=False)
    ca_pem: bytes = field(repr=False)
    created: tuple[Path, ...] = ()
    """What was made just now, the file first."""
    renewed: str | None = None
    """Why the certificate was made anew, if it was."""
    advice: tuple[str, ...] = ()
    """What only a person may do: a line to write into a file that is theirs."""

    @property
    def ca_fingerprint(self) -> bytes:
        """The SHA-256 of the CA's certificate, 32 bytes."""
        return fingerprint(self.ca_pem)


def ensure_initialised(
    paths: Paths,
    now: int,
    random_bytes: RandomBytes,
    *,
    host: Host | None = None,
    reached_as: Iterable[str] = (),
    listen: str | None = None,
    port: int | None = None,
    state_dir: str | None = None,
    write_config: bool = True,
) -> Initialised:
    """Make what is missing: bartos.toml, keys, CA, certificate; renew the certificate if due.

    `now` is in microseconds. `reached_as` are names and addresses by which others know this host,
    as its configuration says; the certificate holds for them too. `listen` and `port` are to stand
    in bartos.toml; where a person has written that file, they are advice. `state_dir` is written
    into a new file. With `write_config` false the file is left alone.

    Raises `ConfigError` where something cannot be written or read.
    """
    host = (this_host() if host is None else host).reached_as(reached_as)
    created: list[Path] = []
    advice: tuple[str, ...] = ()
    if write_config:
        made, advice = _write_config(paths.config, host.timezone, listen, port, state_dir)
        created += [paths.config] if made else []
    _make_directory(paths.state)
    signing = _secret_file(paths.signing_key, lambda: random_bytes(32), created)
    api_key = _secret_file(
        paths.api_key, lambda: _printable(random_bytes(_SECRET_BYTES)).encode(), created, plain=True
    )
    ca_pem, renewed = _certificates(paths, now, random_bytes, host, created)
    return Initialised(
        paths,
        host,
        api_key,
        SigningKey.from_base64(signing),
        ca_pem,
        tuple(created),
        renewed,
        advice,
    )


def _secret_file(
    path: Path, make: Callable[[], bytes], created: list[Path], *, plain: bool = False
) -> str:
    """The text of a secret's file, which is made if it is not there: as base64, or `plain`."""
    text = read_text(path)
    if text is None:
        secret = make()
        text = secret.decode() if plain else base64.b64encode(secret).decode("ascii")
        _write(path, f"{text}\n".encode())
        created.append(path)
    text = text.strip()
    if not text:
        raise ConfigError(f"{path} is empty; remove it, and `bartos init` makes another")
    return text


def _printable(secret: bytes) -> str:
    return base64.urlsafe_b64encode(secret).decode("ascii").rstrip("=")


def _certificates(
    paths: Paths, now: int, random_bytes: RandomBytes, host: Host, created: list[Path]
) -> tuple[bytes, str | None]:
    def serial() -> int:
        return int.from_bytes(random_bytes(20)) >> 1 or 1

    ca_pem, ca_key = _read(paths.ca_cert), _read(paths.ca_key)
    if ca_pem is None:
        ca = create_ca(f"barto CA of {host.names[0]}", now=now, serial=serial())
        # The key first: a certificate without its key could never be used.
        _write(paths.ca_key, ca.key)
        _write(paths.ca_cert, ca.pem)
        created += [paths.ca_cert, paths.ca_key]
        ca_pem, ca_key = ca.pem, ca.key
    pem, key = _read(paths.cert), _read(paths.key)
    reason = None
    if pem is not None and key is not None:
        reason = why_renew(pem, ca_pem, host.names, host.addresses, now=now)
        if reason is None:
            return ca_pem, None
    if ca_key is None:
        raise ConfigError(
            f"{paths.ca_key} is missing, and the server's certificate is to be made anew"
            f"{f' ({reason})' if reason else ''}; put the key back, or remove {paths.ca_cert} too "
            "(then every worker joins again)"
        )
    issued = issue_server_certificate(
        Certificate(ca_pem, ca_key), host.names, host.addresses, now=now, serial=serial()
    )
    _write(paths.key, issued.key)
    _write(paths.cert, issued.pem)
    if reason is None:
        created += [paths.cert, paths.key]
    return ca_pem, reason


# -- the file -------------------------------------------------------------------------------------


def config_text(
    timezone: str, listen: str = LOOPBACK, port: int = DEFAULT_PORT, state_dir: str | None = None
) -> str:
    """The commented bartos.toml of a new server."""

    def setting(key: str, value: object, default: object) -> str:
        text = f"{key} = {toml_text(value)}"
        return f"# {text}" if value == default else text

    address = setting("listen", listen, LOOPBACK)
    number = setting("port", port, DEFAULT_PORT)
    state = ""
    if state_dir is not None:
        state = f"""
# Keys, certificates and the embedded database.
state_dir = {toml_text(state_dir)}
"""
    return f"""\
# What bartos does, and when. Every key: docs/reference/bartos.toml.md, docs/reference/schedule.md.
# A key that is commented out shows its default. After a change: `bartos check`.

# The zone of every schedule that does not say.
timezone = {toml_text(timezone)}

# Who can reach this server: "127.0.0.1" is this host alone, "0.0.0.0" every network.
{address}
{number}
{state}
# How long things are kept. A schedule's last run and last failure always stay.
# retain = {{ output = "90d", verdicts = "400d", total = "10GiB" }}

# The database is a file in the state directory, or a MariaDB server:
# [mariadb]
# host = "127.0.0.1"
# database = "barto"
# username = "barto"
# password_file = "/etc/barto/mariadb.password"

# What holds for every schedule that does not say.
[defaults]
# timeout = "2h"
# shell = ["bash", "-euo", "pipefail", "-c"]

# A schedule: a name, the workers it runs on, when, and what. Remove the # to try it.
# [[schedule]]
# name = "hello"
# workers = "*"
# on_calendar = "*:0/5"
# cmds = ["echo hello from $(hostname)"]
# description = "says hello every five minutes"
"""


def _write_config(
    path: Path, timezone: str, listen: str | None, port: int | None, state_dir: str | None
) -> tuple[bool, tuple[str, ...]]:
    """Write bartos.toml if it is not there, or is still as it was written here."""
    text = read_text(path)
    wanted = config_text(
        timezone, listen or LOOPBACK, DEFAULT_PORT if port is None else port, state_dir
    )
    if text is None:
        _make_directory(path.parent, mode=0o755)
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(wanted)
        except OSError as error:
            raise ConfigError(f"{path} cannot be written: {error.strerror}") from error
        return True, ()
    if listen is None and port is None:
        return False, ()
    try:
        data = read(str(path), text).data
    except TomlError:
        data = {}
    now_listen, now_port = data.get("listen", LOOPBACK), data.get("port", DEFAULT_PORT)
    new_listen = now_listen if listen is None else listen
    new_port = now_port if port is None else port
    if (new_listen, new_port) == (now_listen, now_port):
        return False, ()
    zone, state = data.get("timezone"), data.get("state_dir")
    if (
        isinstance(zone, str)
        and isinstance(now_listen, str)
        and isinstance(now_port, int)
        and isinstance(new_listen, str)
        and isinstance(new_port, int)
        and (state is None or isinstance(state, str))
        and text == config_text(zone, now_listen, now_port, state)
    ):
        # Nobody has touched it since: it is still ours to change.
        _replace(path, config_text(zone, new_listen, new_port, state))
        return True, ()
    lines = [
        f"{key} = {toml_text(new)}"
        for key, new, old in (("listen", new_listen, now_listen), ("port", new_port, now_port))
        if new != old
    ]
    return False, (f"{path} is yours: write into it, above its first table:", *lines)


# -- this host ------------------------------------------------------------------------------------


def this_host(environment: Mapping[str, str] | None = None) -> Host:
    """The names, addresses and zone of this host, without asking the network."""
    name = socket.gethostname() or "localhost"
    names = dict.fromkeys([name, name.partition(".")[0], "localhost"])
    found = [
        address.address
        for addresses in psutil.net_if_addrs().values()
        for address in addresses
        if address.family in {socket.AF_INET, socket.AF_INET6}
    ]
    zone = host_timezone(os.environ if environment is None else environment)
    return Host(tuple(names), _reachable([LOOPBACK, "::1", *found]), zone)


def _reachable(addresses: Iterable[str]) -> tuple[str, ...]:
    """Those that others can use: no link-local ones, which mean nothing without an interface."""
    kept: dict[str, None] = {}
    for text in addresses:
        try:
            address = ipaddress.ip_address(text.partition("%")[0])
        except ValueError:
            continue
        if not address.is_link_local:
            kept[str(address)] = None
    return tuple(kept)


def host_timezone(
    environment: Mapping[str, str],
    localtime: Path = Path("/etc/localtime"),
    timezone: Path = Path("/etc/timezone"),
) -> str:
    """The IANA name of this host's zone: of TZ, /etc/localtime or /etc/timezone, else UTC."""
    candidates = [environment.get("TZ", "").lstrip(":").rpartition("zoneinfo/")[2]]
    with contextlib.suppress(OSError):
        candidates.append(str(localtime.readlink()).rpartition("zoneinfo/")[2])
    with contextlib.suppress(OSError, UnicodeDecodeError):
        candidates.append(timezone.read_text(encoding="utf-8").strip())
    names = {"Etc/UTC": "UTC", "Zulu": "UTC", "Etc/Universal": "UTC"}
    return next((names.get(name, name) for name in candidates if zones.is_zone(name)), "UTC")


# -- files ----------------------------------------------------------------------------------------


def _make_directory(path: Path, mode: int = 0o700) -> None:
    try:
        if not path.is_dir():
            path.mkdir(parents=True, exist_ok=True)
            path.chmod(mode)
    except OSError as error:
        raise ConfigError(f"the directory {path} cannot be made: {error.strerror}") from error


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error


def _write(path: Path, content: bytes) -> None:
    try:
        write_private(path, content)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error


def _replace(path: Path, text: str) -> None:
    beside = path.with_name(f".{path.name}.new")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error


# -- what is said about it ------------------------------------------------------------------------


def report(made: Initialised, *, listen: str = LOOPBACK, named: bool = False) -> str:
    """What `bartos init` prints: what was made, and the next three commands.

    `named` is true where the user named the file, so that the commands name it too.
    """
    lines = [f"made {path}" for path in made.created]
    if made.renewed:
        lines.append(f"made {made.paths.cert} anew: {made.renewed}")
    if not lines:
        lines.append("everything was there already; nothing changed")
    lines += made.advice
    option = f" -c {made.paths.config}" if named else ""
    commands = [
        (f"bartos check{option}", "after a change of the file"),
        (f"bartos{option}", "start the server"),
        ("barto-cli worker add NAME", "prints the one line with which a host joins"),
    ]
    width = max(len(command) for command, _ in commands)
    lines += ["", "Next:"]
    lines += [f"  {command:{width}}   {why}" for command, why in commands]
    if listen in {LOOPBACK, "::1", "localhost"}:
        lines += ["", "It listens for this host alone. To let others in:"]
        lines += [f"  bartos init{option} --listen 0.0.0.0"]
    return "\n".join(lines)
