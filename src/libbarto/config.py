"""Where does a program's configuration come from? Flags, environment, a file, defaults: in this
order of precedence, read here once, and handed on as typed settings.

An absent or empty file is as good as one that repeats the defaults. Which file was read, and
where each value came from, is kept, so that every program can say so.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Final, Generic, Literal, TypeAlias, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from libbarto import toml_lines, tracing
from libbarto.errors import ConfigError, UserError
from libbarto.places import DEFAULT_PORT, Places, places, shown_path
from libbarto.settings import (
    Count,
    Fault,
    InvalidConfig,
    Keys,
    Port,
    Schema,
    Shown,
    Values,
    build,
    dotted,
    found,
    merge,
    read_environment,
    read_flags,
    read_table,
)

PREFIXES: Final = {"bartos": "BARTOS_", "bartoc": "BARTOC_", "barto-cli": "BARTO_CLI_"}
"""What the variables of each program begin with."""
_FILE_LIMIT: Final = 16 * 1024 * 1024
"""More bytes than any configuration has (ten thousand schedules are some two million)."""


def _to_path(value: object) -> object:
    if isinstance(value, str):
        if not value or "\0" in value:
            raise UserError(f'expected a path, found "{value}"')
        return Path(value).expanduser()
    if not isinstance(value, Path):
        raise UserError(f"expected a path in quotes, found {found(value)}")
    return value


FilePath: TypeAlias = Annotated[Path, BeforeValidator(_to_path), Shown("path")]
"""A path; `~` is the user's home. Relative ones are taken from where the program runs."""


# -- what the three programs share ----------------------------------------------------------------


class LogFile(Keys):
    """A file for the log, beside standard error or journald."""

    path: FilePath | None = Field(
        default=None, description="the file; left out: none. `--tracing-absolute-path`"
    )


class Tracing(Keys):
    """Where the log goes."""

    file: LogFile = Field(default=LogFile(), description="a file for the log")


class Common(Keys):
    """Keys that all three programs have."""

    SHARED: ClassVar[frozenset[str]] = frozenset({"verbose", "quiet", "tracing", "bartos"})
    """Top-level keys that `BARTO_…` may set for whichever program runs."""

    verbose: Count = Field(default=0, description="how many levels more the log has; `-v`, `-vv`")
    quiet: Count = Field(default=0, description="how many levels less the log has; `-q`, `-qq`")
    tracing: Tracing = Field(default=Tracing(), description="where the log goes")


_LAYER: Final = (
    *("with_target", "with_thread_ids", "with_thread_names", "with_line_number", "with_level"),
    "directives",
)
COMMON_OF_1X: Final[dict[str, None]] = dict.fromkeys(
    [
        "enable_std_output",
        *(f"tracing.stdout.{key}" for key in _LAYER),
        *("tracing.file.quiet", "tracing.file.verbose"),
        *(f"tracing.file.layer.{key}" for key in _LAYER),
    ]
)
"""Keys of barto 1.x for what a line of its logs looks like; they have no effect."""


# -- loading --------------------------------------------------------------------------------------

M = TypeVar("M", bound=Keys)


@dataclass(frozen=True, slots=True)
class Loaded(Generic[M]):
    """Settings, and where they came from."""

    settings: M
    path: Path
    """The file that was read, or would have been."""
    exists: bool
    places: Places
    document: toml_lines.Document = field(repr=False)  # it holds secrets as they were written
    sources: Mapping[str, str] = field(default_factory=dict)
    """For each key that was given, dotted: `file:line`, a variable, or a flag."""
    notes: tuple[Fault, ...] = ()
    """What was accepted and has no effect; for `-v`."""
    warnings: tuple[Fault, ...] = ()
    """Variables that mean nothing to this program."""

    @property
    def described(self) -> str:
        """Which file was read, in words for a banner or a log line."""
        return str(self.path) if self.exists else f"{self.path} (not there: defaults)"


C = TypeVar("C", bound=Common)


def start_logging(loaded: Loaded[C], verbose: int, quiet: int, file: Path | None) -> None:
    """Set logs up as flags and settings say, flags first; then tell what was warned of on reading.

    Raises `ConfigError` where the log's file cannot be opened.
    """
    settings = loaded.settings
    tracing.setup(
        verbose or settings.verbose,
        quiet or settings.quiet,
        file=file or settings.tracing.file.path,
    )
    log = logging.getLogger("barto.config")
    for warning in loaded.warnings:
        log.warning("%s", warning)
    for note in loaded.notes:
        log.debug("%s", note)


def read_text(path: Path) -> str | None:
    """The text of a configuration file, or None if there is none.

    Raises `ConfigError` where it cannot be read or is not UTF-8.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_FILE_LIMIT + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{shown_path(path)}: cannot be read: {error.strerror}") from error
    if len(data) > _FILE_LIMIT:
        raise ConfigError(f"{shown_path(path)}: is larger than {_FILE_LIMIT >> 20}MiB")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{shown_path(path)}:{line}: is not UTF-8") from error


def load(
    schema: Schema,
    model: type[M],
    program: str,
    *,
    path: Path | None = None,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, object] | None = None,
) -> Loaded[M]:
    """Load a program's settings.

    `path` is a file that the user named, and which therefore must be there. `environment` is the
    process's if not given. `flags` are values by dotted key; None is a flag that was not given.

    Raises `InvalidConfig` with all that is wrong, `ConfigError` for a file that cannot be read.
    """
    environment = os.environ if environment is None else environment
    where = places(program, environment)
    chosen, text = _find(where, path)
    name = shown_path(chosen)
    try:
        document = toml_lines.read(name, text or "")
    except toml_lines.TomlError as error:
        fault = Fault(f"{name}:{error.line}", error.message, name, error.line)
        raise InvalidConfig([fault]) from None
    from_file = read_table(schema, document.data, document)
    from_environment = read_environment(
        schema, environment, PREFIXES[program], shared_keys=Common.SHARED
    )
    from_flags = read_flags(schema, flags or {})
    values = merge(from_file.values, from_environment.values, from_flags.values)
    built = build(model, values)
    faults = [*from_file.faults, *from_environment.faults, *built.faults]
    if faults or built.settings is None:
        raise InvalidConfig(faults)
    return Loaded(
        built.settings,
        chosen,
        text is not None,
        where,
        document,
        _sources(values),
        tuple(from_file.notes),
        tuple(from_environment.notes),
    )


def _find(where: Places, path: Path | None) -> tuple[Path, str | None]:
    if path is not None:
        text = read_text(path)
        if text is None:
            raise ConfigError(f"{shown_path(path)}: there is no such file")
        return path, text
    for candidate in where.files:
        text = read_text(candidate)
        if text is not None:
            return candidate, text
    return where.files[0], None


def _sources(values: Values) -> dict[str, str]:
    return {dotted(path): value.place for path, value in values.items() if value.value != {}}


# -- secrets --------------------------------------------------------------------------------------


def secret(value: SecretStr | None, file: Path | None, key: str) -> str | None:
    """A secret that was given as it is, or in a file (whose last line break does not count).

    Raises `ConfigError` where both are given, or the file cannot be read or is empty.
    """
    if value is not None and file is not None:
        raise ConfigError(f"{key} and {key}_file: give one of the two")
    if value is not None:
        return value.get_secret_value()
    if file is None:
        return None
    text = read_text(file)
    if text is None:
        raise ConfigError(f"{key}_file: there is no file {file}")
    text = text.rstrip("\r\n")
    if not text:
        raise ConfigError(f"{key}_file: {file} is empty")
    return text


def _no_empty_secret(value: SecretStr) -> SecretStr:
    if not value.get_secret_value():
        raise UserError("is empty; an empty secret protects nothing")
    return value


Secret: TypeAlias = Annotated[SecretStr, AfterValidator(_no_empty_secret)]
"""A text that no message, log or dump shows."""


# -- the server's address, which bartoc and barto-cli share ---------------------------------------


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the server is, and whether it is spoken to through TLS."""

    host: str
    port: int
    secure: bool

    @property
    def authority(self) -> str:
        """`host:port`, with the brackets that RFC 3986 wants around an IPv6 address."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def url(self, path: str = "", *, websocket: bool = False) -> str:
        """The URL of `path` there."""
        scheme = ("ws" if websocket else "http") + ("s" if self.secure else "")
        return f"{scheme}://{self.authority}{path}"


def parse_url(text: str) -> Endpoint:
    """The server's address out of `https://host[:port]`; http, ws and wss are read as well.

    Raises `UserError`.
    """
    schemes = {"https": True, "wss": True, "http": False, "ws": False}
    try:
        parts = urlsplit(text)
        port, host = parts.port, parts.hostname
    except ValueError as error:
        raise UserError(f'"{text}" is no address: {error}') from None
    if parts.scheme not in schemes or not host:
        raise UserError(
            f'"{text}" is no address; write https://HOST or https://HOST:{DEFAULT_PORT}'
        )
    if parts.path not in {"", "/"} or parts.query or parts.fragment or "@" in parts.netloc:
        raise UserError(f'"{text}": only a scheme, a host and a port make the address')
    return Endpoint(host, DEFAULT_PORT if port is None else port, schemes[parts.scheme])


def _url(text: str) -> str:
    parse_url(text)
    return text


class Server(Keys):
    """The server's address, and what proves that it is the one, and who asks."""

    url: Annotated[str, AfterValidator(_url)] | None = Field(
        default=None,
        description="its address, as `https://barto.example:21526`; in place of `prefix`, `host` "
        "and `port`",
    )
    prefix: Literal["wss", "ws", "https", "http"] = Field(
        default="wss", description="`wss` or `https` with TLS, `ws` or `http` without"
    )
    host: str = Field(default="127.0.0.1", min_length=1, description="its name or address")
    port: Port = Field(default=DEFAULT_PORT, description="its port")
    ca_cert: FilePath | None = Field(
        default=None,
        description="the certificate (PEM) of the CA that vouches for it, and no other does; "
        "left out: the system's",
    )
    client_cert: FilePath | None = Field(
        default=None, description="a certificate to show it (PEM), where it asks for one"
    )
    client_key: FilePath | None = Field(default=None, description="the key of that certificate")
    api_key: Secret | None = Field(default=None, description="the secret that lets this program in")
    api_key_file: FilePath | None = Field(
        default=None, description="a file with that secret, in its place"
    )
    server_public_key: str | None = Field(
        default=None,
        description="the server's Ed25519 key (base64): what a worker is told to do must be "
        "signed by it",
    )

    @property
    def endpoint(self) -> Endpoint:
        """Where it is."""
        if self.url is not None:
            return parse_url(self.url)
        return Endpoint(self.host, self.port, self.prefix in {"wss", "https"})

    def secret(self) -> str | None:
        """The API key, read from its file if it is in one. Raises `ConfigError`."""
        return secret(self.api_key, self.api_key_file, "bartos.api_key")


SERVER_WRONG: Final = {
    "bartos.address": 'the address is written url = "https://HOST:PORT"',
    "bartos.ca": "the CA's certificate is written ca_cert",
    "bartos.token": "the secret is written api_key",
    "server": "the server's address stands in [bartos]",
    "url": "the server's address stands in [bartos]",
    "host": "the server's address stands in [bartos]",
}
"""What people write for the server's address."""


def host_name() -> str:
    """This host's name, without its domain: what a worker is called that has no name."""
    return socket.gethostname().partition(".")[0] or "localhost"
