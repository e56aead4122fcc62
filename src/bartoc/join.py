"""How a host becomes a worker: it checks the server's CA by the code, and writes bartoc.toml."""

from __future__ import annotations

import http.client
import json
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from libbarto.config import Endpoint, parse_url
from libbarto.errors import ConfigError, ConnectionClosed, UserError
from libbarto.joincode import JoinCode, decode
from libbarto.tls import client_context, fingerprint, write_private
from libbarto.toml_text import toml_text

TIMEOUT_S: Final = 10.0
ANSWER_MAX: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Joining:
    """What the server has told."""

    name: str
    ca: bytes
    api_key: str
    server_public_key: str
    labels: dict[str, str]
    server: Endpoint


def ask(url: str, word: str) -> Joining:
    """Fetch the CA, compare it with the code, and ask for what a worker needs.

    Raises `UserError` for a code or address that is none, or a CA that is another one, and
    `ConnectionClosed` where the server cannot be reached.
    """
    code, server = decode(word), parse_url(url)
    if not server.secure:
        raise UserError(f'"{url}": a worker joins by https:// only')
    unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    unverified.check_hostname = False
    unverified.verify_mode = ssl.CERT_NONE  # nothing is believed until the fingerprint fits
    status, ca = _request(server, unverified, "GET", "/api/v1/ca")
    if status != 200 or not code.fits(fingerprint(ca)):
        raise UserError(
            f"{server.url()} is not the server that made this code: its CA has another "
            "fingerprint. Get a new code there, or look who answers at that address"
        )
    body = json.dumps({"secret": f"{code.name}:{code.secret.hex()}"}).encode()
    status, text = _request(server, client_context(ca), "POST", "/api/v1/join", body)
    if status != 200:
        raise UserError(f"the server refused: {_detail(text)}")
    return _joining(code, server, ca, json.loads(text))


def _joining(code: JoinCode, server: Endpoint, ca: bytes, told: dict[str, object]) -> Joining:
    labels = told.get("labels")
    return Joining(
        name=code.name,
        ca=ca,
        api_key=str(told["api_key"]),
        server_public_key=str(told["server_public_key"]),
        labels={str(k): str(v) for k, v in labels.items()} if isinstance(labels, dict) else {},
        server=server,
    )


def write(joining: Joining, config: Path, state: Path, *, replace: bool) -> list[Path]:
    """Write bartoc.toml, the CA and the key; returns the files.

    Raises `ConfigError` where a file cannot be written, or bartoc.toml is there and not to be
    replaced.
    """
    if config.exists() and not replace:
        raise ConfigError(
            f"{config} is there already: this host has joined. To join anew, say --replace"
        )
    ca, key = state / "ca.pem", state / "api.key"
    try:
        config.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(ca, joining.ca)
        write_private(key, joining.api_key.encode() + b"\n")
        write_private(config, _config_text(joining, state, ca, key).encode())
    except OSError as error:
        raise ConfigError(f"{error.filename or config} cannot be written: {error.strerror}") from (
            error
        )
    return [config, ca, key]


def _config_text(joining: Joining, state: Path, ca: Path, key: Path) -> str:
    return f"""\
# This host as a worker of barto. Every key: docs/reference/bartoc.toml.md.
name = {toml_text(joining.name)}
state_dir = {toml_text(str(state))}
labels = {toml_text(joining.labels)}

[bartos]
url = {toml_text(joining.server.url())}
ca_cert = {toml_text(str(ca))}
api_key_file = {toml_text(str(key))}
server_public_key = {toml_text(joining.server_public_key)}
"""


def _request(
    server: Endpoint, context: ssl.SSLContext, method: str, path: str, body: bytes | None = None
) -> tuple[int, bytes]:
    connection = http.client.HTTPSConnection(
        server.host, server.port, timeout=TIMEOUT_S, context=context
    )
    headers = {} if body is None else {"content-type": "application/json"}
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read(ANSWER_MAX)
    except (OSError, http.client.HTTPException) as error:
        raise ConnectionClosed(1006, f"{server.url()} cannot be reached: {error}") from error
    finally:
        connection.close()


def _detail(text: bytes) -> str:
    try:
        told = json.loads(text)
    except ValueError:
        return text.decode("utf-8", "replace")[:200]
    return str(told.get("detail") or told.get("title") or told)
