"""What does bartos.toml say? The server's settings, and with schedules.d all that is scheduled."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit, urlunsplit

from pydantic import AfterValidator, Field

from bartos.alert_settings import Alerts, Heartbeat
from bartos.channels import doubts
from bartos.check import Report, check
from bartos.plan import WorkerFacts
from bartos.schedules import (
    DEFAULT_ZONE,
    MAIN_KEYS,
    Definition,
    Policies,
    read_schedules,
    syntax_fault,
)
from bartos.schedules import Loaded as Schedules
from libbarto import toml_lines
from libbarto.config import (
    COMMON_OF_1X,
    PREFIXES,
    Common,
    FilePath,
    Loaded,
    Secret,
    load,
    parse_url,
    read_text,
    secret,
)
from libbarto.errors import UserError
from libbarto.places import DEFAULT_PORT, SCHEDULES_D, places, schedule_files, shown_path
from libbarto.settings import (
    Duration,
    Fault,
    InvalidConfig,
    Keys,
    Port,
    Schema,
    Size,
    build,
    merge,
    read_environment,
    read_table,
)

PROGRAM: Final = "bartos"


class Tls(Keys):
    """Certificates other than those that `bartos init` makes."""

    cert: FilePath | None = Field(
        default=None, description="the server's certificate and what leads to its CA (PEM)"
    )
    key: FilePath | None = Field(default=None, description="the key of that certificate (PEM)")
    client_ca_cert: FilePath | None = Field(
        default=None,
        description="the CA (PEM) by which every peer must show a certificate; left out: none is "
        "asked for",
    )


class Sqlite(Keys):
    """The embedded database, which serves where `[mariadb]` is absent."""

    path: FilePath | None = Field(
        default=None, description="its file; left out: `barto.db` in the state directory"
    )


class MariaDb(Keys):
    """A MariaDB server in place of the embedded database. The table's presence switches it on."""

    host: str = Field(default="127.0.0.1", min_length=1, description="its name or address")
    port: Port = Field(default=3306, description="its port")
    socket: FilePath | None = Field(
        default=None, description="its Unix socket, in place of host and port"
    )
    database: str = Field(default="barto", min_length=1, description="the database's name")
    username: str = Field(default="barto", min_length=1, description="the account")
    password: Secret | None = Field(default=None, description="its password")
    password_file: FilePath | None = Field(
        default=None, description="a file with the password, in its place"
    )
    options: str | None = Field(
        default=None, description="options of the driver, as `ssl_ca=/etc/ssl/db.pem&charset=utf8`"
    )

    def secret(self) -> str | None:
        """The password, read from its file if it is in one. Raises `ConfigError`."""
        return secret(self.password, self.password_file, "mariadb.password")


class Retention(Keys):
    """How long what runs leave is kept. A schedule's last run and last failure always stay."""

    output: Duration = Field(default=90 * 86_400.0, description="what commands printed")
    verdicts: Duration = Field(default=400 * 86_400.0, description="that and how they ran")
    total: Size = Field(
        default=10 * 1024**3, description="all output together; the oldest goes first"
    )


_ROOT: Final = re.compile(r"(/[A-Za-z0-9._~-]+)*")
"""A sub-path that reads the same in a URL, a header and a cookie (RFC 3986 §2.3, unreserved)."""


def _public_url(text: str) -> str:
    try:
        parts = urlsplit(text.rstrip("/"))
    except ValueError as error:
        raise UserError(f'"{text}" is no address: {error}') from None
    parse_url(urlunsplit(parts._replace(path="")) if parts.netloc else text)
    if parts.scheme not in {"http", "https"}:
        raise UserError(f'"{text}" is nothing for browsers; write https://{parts.netloc}')
    if _ROOT.fullmatch(parts.path) is None:
        raise UserError(f'"{text}": a sub-path has letters, digits, ".", "_", "~" and "-" only')
    return parts.geturl()


class Settings(Common):
    """The keys of bartos.toml, beside `[defaults]` and the schedules."""

    listen: str = Field(
        default="127.0.0.1",
        min_length=1,
        description='the address to listen on: `"127.0.0.1"` is this host alone, `"0.0.0.0"` every '
        'network, `"::"` every one with IPv6',
    )
    port: Port = Field(default=DEFAULT_PORT, description="the port of pages, API and workers")
    public_url: Annotated[str, AfterValidator(_public_url)] | None = Field(
        default=None,
        description="the address that others know it by, as `https://barto.example:21526`; left "
        "out: made of this host's name and the port. Behind a proxy it may have a sub-path, as "
        "`https://ops.example/barto`: that is for browsers, and workers come straight to the port",
    )
    state_dir: FilePath | None = Field(
        default=None,
        description="keys, certificates and the embedded database; left out: /var/lib/bartos for "
        "root, else bartos in the user's data directory",
    )
    timezone: Annotated[str, *Policies.model_fields["timezone"].metadata] = Field(
        default=DEFAULT_ZONE,
        description="the IANA time zone of every schedule that does not say; `bartos init` writes "
        "this host's",
    )
    api_key: Secret | None = Field(
        default=None,
        description="the secret that lets workers and operators in; left out: the one that "
        "`bartos init` made",
    )
    api_key_file: FilePath | None = Field(
        default=None, description="a file with that secret, in its place"
    )
    signing_key: Secret | None = Field(
        default=None,
        description="the Ed25519 key (base64) that signs what workers are told; left out: the one "
        "that `bartos init` made",
    )
    tls: Tls = Field(default=Tls(), description="certificates other than those of `bartos init`")
    sqlite: Sqlite = Field(default=Sqlite(), description="the embedded database")
    mariadb: MariaDb | None = Field(default=None, description="a MariaDB server in its place")
    retain: Retention = Field(default=Retention(), description="how long things are kept")
    alerts: Alerts = Field(default=Alerts(), description="who is told of failures")
    heartbeat: Heartbeat = Field(default=Heartbeat(), description="who watches this server")
    allow_exec: bool = Field(
        default=False,
        description="whether operators may run commands that are in no schedule (`barto exec`)",
    )
    lost_after: Duration = Field(
        default=30 * 86_400.0,
        description="how long a worker may be away before planned starts that it has not told of "
        "count as *lost*; what it tells later takes their place",
    )

    @property
    def listens_everywhere(self) -> bool:
        """Whether it listens on every network of its host."""
        return self.listen in {"0.0.0.0", "::"}  # noqa: S104  # as the user asked

    @property
    def reached_as(self) -> tuple[str, ...]:
        """The names and addresses by which others know this server, as far as they are written."""
        outside = urlsplit(self.public_url).hostname if self.public_url else None
        here = None if self.listens_everywhere else self.listen
        return tuple(host for host in (here, outside) if host)

    def secret(self) -> str | None:
        """The API key of the file, read from its own file if it is in one. Raises `ConfigError`."""
        return secret(self.api_key, self.api_key_file, "api_key")


AT_ONCE: Final = frozenset(
    ("timezone", "retain", "alerts", "heartbeat", "allow_exec", "lost_after")
)
"""Settings that a reload puts in force; all others count from the next start."""


def changed_settings(old: Settings, new: Settings) -> str:
    """Which settings differ, by the names that the file has for them, and which of them wait for
    a restart; "" for none. Values are not told: some are secret.

    >>> changed_settings(Settings(), Settings(allow_exec=True, port=1, retain={"total": "1GiB"}))
    'settings [retain], allow_exec; at the next start of bartos port'
    """
    fields = type(new).model_fields
    names = [name for name in fields if getattr(old, name) != getattr(new, name)]

    def written(*, at_once: bool) -> str:
        return ", ".join(
            f"[{name}]" if any(isinstance(getattr(it, name), Keys) for it in (old, new)) else name
            for name in names
            if (name in AT_ONCE) == at_once
        )

    now, later = written(at_once=True), written(at_once=False)
    said = (f"settings {now}" if now else "", f"at the next start of bartos {later}")
    return "; ".join(part for part in (said if later else said[:1]) if part)


SCHEMA: Final = Schema(
    Settings,
    wrong={
        "bind": 'the address is written listen = "…"',
        "host": 'the address is written listen = "…"',
        "address": 'the address is written listen = "…"',
        "ip": 'the address is written listen = "…"',
        "tz": 'the zone is written timezone = "…"',
        "database": "the database is set by [mariadb] or [sqlite]",
        "mysql": "the database is set by [mariadb]",
        "default": "the defaults of schedules stand in [defaults]",
        "tls.ca": "the CA of peers' certificates is written client_ca_cert",
        "alert": "who is told of failures stands in [alerts]",
        "smtp": "the mail server stands in [alerts.smtp]",
        "alerts.email": "an address of mail is written mail",
        "alerts.url": "the address is written webhook",
        "alerts.smtp.from": "from whom mail comes is written sender",
        "alerts.smtp.user": "the account is written username",
        "mariadb.user": "the account is written username",
        "mariadb.name": "the database's name is written database",
    },
    later={"insecure": (False,)},
    renamed={
        "hmac_key": None,
        "actix.workers": None,
        "actix.ip": "listen",
        "actix.port": "port",
        "actix.tls.ip": "listen",
        "actix.tls.port": "port",
        "actix.tls.cert_file_path": "tls.cert",
        "actix.tls.key_file_path": "tls.key",
        "actix.tls.client_ca_cert": "tls.client_ca_cert",
        "mariadb.output_table": None,
        "mariadb.status_table": None,
        **COMMON_OF_1X,
    },
    elsewhere=MAIN_KEYS - {"timezone"},
)


@dataclass(frozen=True, slots=True)
class Configuration:
    """All that the files say: settings, where they came from, and schedules."""

    loaded: Loaded[Settings]
    definitions: tuple[Definition, ...]
    files: tuple[Path, ...]
    """Every file that was read, bartos.toml first; watched for changes."""
    usable: bool = True
    """Whether the schedules could be read; if not, there are none here."""

    @property
    def settings(self) -> Settings:
        """The server's settings."""
        return self.loaded.settings

    @property
    def state_dir(self) -> Path:
        """Where keys, certificates and the embedded database are."""
        return self.settings.state_dir or self.loaded.places.state

    @property
    def sqlite_path(self) -> Path:
        """The embedded database's file."""
        return self.settings.sqlite.path or self.state_dir / "barto.db"

    @property
    def described(self) -> str:
        """Which files were read, for the banner."""
        if not self.usable:
            return f"{self.loaded.path} (faulty)"
        more = ", schedules.d" if len(self.files) > 1 else ""
        count = len(self.definitions)
        schedules = f"{count} schedule{'' if count == 1 else 's'}"
        return f"{self.loaded.described}{more} ({schedules})"


def load_settings(
    path: Path | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, object] | None = None,
) -> Loaded[Settings]:
    """The server's settings alone; see `libbarto.config.load`. Raises `ConfigError`."""
    loaded = load(SCHEMA, Settings, PROGRAM, path=path, environment=environment, flags=flags)
    tls = loaded.settings.tls
    if (tls.cert is None) is not (tls.key is None):
        given, other = ("cert", "key") if tls.key is None else ("key", "cert")
        place = loaded.sources[f"tls.{given}"]
        raise InvalidConfig([Fault(place, f"tls.{given} is given without tls.{other}")])
    return loaded


def load_all(
    path: Path | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, object] | None = None,
    more: Sequence[Path] = (),
) -> Configuration:
    """Settings and schedules, whole. `more` are files that are read as those of schedules.d are.

    Raises `InvalidConfig` with every fault of every file, `ConfigError` for one that cannot be
    read.
    """
    gathered = _gather(path, environment, flags, more)
    if gathered.faults or gathered.loaded is None:
        raise InvalidConfig(gathered.faults)
    return Configuration(gathered.loaded, gathered.schedules.definitions, gathered.files)


@dataclass(frozen=True, slots=True)
class _Gathered:
    loaded: Loaded[Settings] | None
    schedules: Schedules
    files: tuple[Path, ...]
    faults: tuple[Fault, ...]
    zone_given: bool
    """Whether anybody wrote a time zone."""


def _gather(
    path: Path | None,
    environment: Mapping[str, str] | None,
    flags: Mapping[str, object] | None,
    more: Sequence[Path],
) -> _Gathered:
    """Read everything, and find all that is wrong with it."""
    faults: list[Fault] = []
    loaded: Loaded[Settings] | None = None
    try:
        loaded = load_settings(path, environment=environment, flags=flags)
    except InvalidConfig as error:
        faults += error.faults
    main = loaded.path if loaded is not None else main_file(path, environment)
    others = schedule_files(main)
    others += [file for file in more if file.resolve() not in {it.resolve() for it in others}]
    documents, syntax = read_documents([main, *others] if loaded is None else others)
    timezone = None
    if loaded is not None:
        documents = [loaded.document, *documents]
        timezone = loaded.settings.timezone
    schedules = read_schedules(documents, timezone=timezone)
    # What both readers of bartos.toml find is said once.
    faults = list(dict.fromkeys([*faults, *syntax, *schedules.faults]))
    zone_given = (loaded is not None and "timezone" in loaded.sources) or any(
        _mentions(document.data, "timezone") for document in documents
    )
    return _Gathered(loaded, schedules, (main, *others), tuple(faults), zone_given)


def _mentions(value: object, key: str) -> bool:
    """Whether a key stands in a table, or in one within it."""
    if isinstance(value, Mapping):
        return key in value or any(_mentions(item, key) for item in value.values())
    return isinstance(value, list) and any(_mentions(item, key) for item in value)


@dataclass(frozen=True, slots=True)
class Texts:
    """What the texts of a configuration say: every schedule, or what is wrong with them."""

    schedules: Schedules
    faults: tuple[Fault, ...]
    zone_given: bool
    """Whether anybody wrote a time zone."""


def read_texts(
    files: Sequence[tuple[str, str]], *, environment: Mapping[str, str] | None = None
) -> Texts:
    """Read a configuration that is not (yet) where it counts: names for messages, and texts.

    The first is read as bartos.toml, with the settings in it, the others as those of schedules.d.
    """
    documents, faults = _documents(files)
    from_file = read_table(SCHEMA, documents[0].data, documents[0])
    variables = os.environ if environment is None else environment
    from_environment = read_environment(
        SCHEMA, variables, PREFIXES[PROGRAM], shared_keys=Common.SHARED
    )
    values = merge(from_file.values, from_environment.values)
    built = build(Settings, values)
    timezone = None if built.settings is None else built.settings.timezone
    schedules = read_schedules(documents, timezone=timezone)
    return Texts(
        schedules,
        tuple(dict.fromkeys((*faults, *from_file.faults, *built.faults, *schedules.faults))),
        ("timezone",) in values
        or any(_mentions(document.data, "timezone") for document in documents),
    )


def main_file(path: Path | None, environment: Mapping[str, str] | None = None) -> Path:
    """The bartos.toml that is meant: the one the user named, else the one of this host."""
    if path is not None:
        return path
    return places(PROGRAM, os.environ if environment is None else environment).files[0]


def read_documents(paths: Sequence[Path]) -> tuple[list[toml_lines.Document], list[Fault]]:
    """Read files as TOML; those that are none are faults. Raises `ConfigError`.

    The first stays the first, if only as an empty document: its defaults count for the others.
    """
    return _documents([(shown_path(path), read_text(path) or "") for path in paths])


def _documents(
    files: Sequence[tuple[str, str]],
) -> tuple[list[toml_lines.Document], list[Fault]]:
    documents, faults = [], []
    for name, text in files:
        try:
            documents.append(toml_lines.read(name, text))
        except toml_lines.TomlError as error:
            faults.append(syntax_fault(error))
            documents.append(toml_lines.read(name, ""))
    return documents, faults


def check_files(
    files: Sequence[Path] = (),
    *,
    path: Path | None = None,
    environment: Mapping[str, str] | None = None,
    workers: Sequence[WorkerFacts] | None = None,
    now: int | None = None,
) -> Report:
    """What `bartos check [FILE…]` says, offline: of bartos.toml and schedules.d, or of `files`.

    Of `files`, those in a directory schedules.d, and all but the first of the others, are read as
    files of schedules; that first is read as bartos.toml, unless `path` is. `workers` are those
    that are known, if somebody could be asked; `now` is in microseconds. Raises `ConfigError` for
    a file that cannot be read.
    """
    main, more = path, list(files)
    if main is None:
        main = next((file for file in files if file.absolute().parent.name != SCHEDULES_D), None)
        more = [file for file in files if file is not main]
    if main is None and more:
        beside = more[0].absolute().parent.parent / f"{PROGRAM}.toml"
        main = beside if beside.exists() else None
    gathered = _gather(main, environment, None, more)
    report = check(
        gathered.schedules.sound,
        gathered.faults,
        workers,
        now,
        zone_given=gathered.zone_given,
    )
    if gathered.loaded is None:
        return report
    sources = gathered.loaded.sources
    found = [
        Fault(str(sources.get(key, gathered.loaded.path)), f"{key}: {text}")
        for key, text in doubts(gathered.loaded.settings.alerts)
    ]
    return replace(report, warnings=(*found, *report.warnings))
