"""Where is the server, and with what key? As barto-cli.toml, the environment and this host say.

Reading a configuration so that every fault is told with its line takes a quarter of a second on a
small machine, most of it imports. So what is plainly right is read here in a quick way; whatever
is not plain goes the thorough way of `barto_cli.config`, with the same result.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from barto_cli.client import Target
from libbarto.places import DEFAULT_PORT, SOCKET, places

PROGRAM: Final = "barto-cli"

_URL: Final = re.compile(r"(https?)://([A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)(?::(\d{1,5}))?/?")
_PLAIN: Final = frozenset({"url", "ca_cert", "api_key", "socket"})


def find_target(path: Path | None, environment: Mapping[str, str]) -> Target:
    """The server that the command line talks to; `path` is a file that the user named.

    Raises `ConfigError` for a configuration that cannot be used.
    """
    return quickly(path, environment) or thoroughly(path, environment)


def default_sockets(environment: Mapping[str, str]) -> tuple[Path, ...]:
    """Where a server on this host has its socket: the user's own, then the system's."""
    own = places("bartos", environment).state / SOCKET
    system = places("bartos", {}, root=True).state / SOCKET
    return tuple(dict.fromkeys((own, system)))


def quickly(path: Path | None, environment: Mapping[str, str]) -> Target | None:
    """The target where the configuration is plain: no file, or one that has only a few keys of
    `[bartos]`, plainly right, and no variables. None where it takes more."""
    if any(name.upper().startswith("BARTO_") for name in environment):
        return None
    files = places(PROGRAM, environment).files if path is None else (path,)
    for file in files:
        try:
            text = file.read_text(encoding="utf-8")
        except FileNotFoundError:
            continue
        except (OSError, ValueError):
            return None
        return _plain(text, file, environment)
    if path is not None:
        return None
    return Target(default_sockets(environment), config_file=str(files[0]))


def _plain(text: str, file: Path, environment: Mapping[str, str]) -> Target | None:
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None
    server = tables.get("bartos", {})
    if tables.keys() - {"bartos"} or not isinstance(server, dict) or server.keys() - _PLAIN:
        return None
    if not all(isinstance(item, str) and item and "\0" not in item for item in server.values()):
        return None
    socket, ca_cert = (
        Path(server[key]).expanduser() if key in server else None for key in ("socket", "ca_cert")
    )
    sockets = () if socket is None else (socket,)
    if "url" not in server:
        if server.keys() & {"ca_cert", "api_key"}:
            return None
        return Target(sockets or default_sockets(environment), config_file=str(file))
    url = _URL.fullmatch(server["url"])
    port = DEFAULT_PORT if url is None or url[3] is None else int(url[3])
    if url is None or port > 65535:
        return None
    return Target(
        sockets=sockets,
        host=url[2].lower(),
        port=port,
        tls=url[1] == "https",
        ca_cert=ca_cert,
        api_key=server.get("api_key"),
        config_file=str(file),
    )


def thoroughly(path: Path | None, environment: Mapping[str, str]) -> Target:
    """The target of any configuration. Raises `ConfigError` that says all that is wrong with it.

    A server on this host is found by its socket, unless an address is given anywhere.
    """
    from barto_cli.config import load_settings

    loaded = load_settings(path, environment=environment)
    server = loaded.settings.bartos
    elsewhere = any(key.startswith("bartos.") and key != "bartos.socket" for key in loaded.sources)
    if server.socket is not None:
        sockets: tuple[Path, ...] = (server.socket,)
    else:
        sockets = () if elsewhere else default_sockets(environment)
    endpoint = server.endpoint
    return Target(
        sockets=sockets,
        host=endpoint.host if elsewhere else None,
        port=endpoint.port,
        tls=endpoint.secure,
        ca_cert=server.ca_cert,
        client_cert=server.client_cert,
        client_key=server.client_key,
        api_key=server.secret(),
        name=loaded.settings.name,
        config_file=str(loaded.path),
    )
