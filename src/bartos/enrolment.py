"""How other hosts become workers: join codes, and what the bearer of one gets.

The secret of a code is a MAC over the worker's name with the server's key, so that nothing has to
be kept for it; labels that were asked for wait in a file of the state directory.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bartos.services import Joined
from libbarto.config import parse_url
from libbarto.errors import UserError
from libbarto.identity import netstrings
from libbarto.joincode import JoinCode, encode
from libbarto.selector import checked_labels, checked_name
from libbarto.tls import fingerprint, write_private

SECRET_BYTES = 16


@dataclass(frozen=True, slots=True)
class SharedKeyEnrolment:
    """Join codes made from the key that all workers share.

    `url` is where others reach this server, `ca` the certificate (PEM) that vouches for it, `key`
    the shared key, `public_key` the server's Ed25519 key in base64.
    """

    url: str
    ca: bytes
    key: str
    public_key: str
    labels_file: Path

    @property
    def ca_pem(self) -> str | None:
        """The CA's certificate."""
        return self.ca.decode("ascii")

    def join_code(self, name: str, labels: Mapping[str, str]) -> str:
        """A code that makes a host the worker `name`. Raises `UserError` for a name or a label
        that the worker would refuse."""
        try:
            checked_name(name)
        except UserError as error:
            raise UserError(f'"{name}" is no name for a worker: {error}') from error
        checked_labels(dict(labels))
        code = encode(JoinCode(self._secret(name), fingerprint(self.ca), name))
        waiting = self._waiting()
        if labels or name in waiting:
            waiting[name] = dict(labels)
            write_private(self.labels_file, json.dumps(waiting, sort_keys=True).encode())
        return code

    def join(self, secret: str) -> Joined | None:
        """What the bearer of `NAME:SECRET` (the code's, in hex) gets; None where it is wrong."""
        name, _, given = secret.rpartition(":")
        if not hmac.compare_digest(given.encode(), self._secret(name).hex().encode()):
            return None
        server = parse_url(self.url)
        return Joined(
            name=name,
            host=server.host,
            port=server.port,
            ca_cert=self.ca.decode("ascii"),
            api_key=self.key,
            server_public_key=self.public_key,
            labels=self._waiting().get(name, {}),
        )

    def _secret(self, name: str) -> bytes:
        message = netstrings(b"join", name.encode())
        return hmac.digest(self.key.encode(), message, hashlib.sha256)[:SECRET_BYTES]

    def _waiting(self) -> dict[str, dict[str, str]]:
        try:
            found = json.loads(self.labels_file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}
