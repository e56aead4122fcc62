"""One word that lets a worker in: the server's secret, and how to know the server.

`bartoc join https://ADDRESS CODE` takes it. It holds the secret, the first half of the SHA-256 of
the CA's certificate, the worker's name, and a checksum that finds a slip of the hand. The alphabet
is that of URLs (RFC 4648 section 5), so that no shell or browser changes it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass, field
from typing import Final

from libbarto.errors import UserError

FINGERPRINT_BYTES: Final = 16
"""128 bits of the CA's fingerprint: nobody makes a second certificate that has them."""
_PREFIX: Final = "barto1-"
"""Says what the word is, and in which form."""
_CHECK_BYTES: Final = 4
_LIMIT: Final = 1024
_ALPHABET: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


@dataclass(frozen=True, slots=True)
class JoinCode:
    """What a join code carries: a secret (1 to 255 bytes), the CA, and the worker's name."""

    secret: bytes = field(repr=False)
    fingerprint: bytes
    name: str

    def __post_init__(self) -> None:
        """Raises `UserError` where a part has a length that no code can carry."""
        if not 1 <= len(self.secret) <= 255:
            raise UserError(f"a join code's secret has 1 to 255 bytes, not {len(self.secret)}")
        if len(self.fingerprint) not in {FINGERPRINT_BYTES, 32}:
            raise UserError(f"a fingerprint has 32 bytes, not {len(self.fingerprint)}")
        # A whole SHA-256 is cut here, so that a code read back equals the code that was made.
        object.__setattr__(self, "fingerprint", self.fingerprint[:FINGERPRINT_BYTES])
        if not 1 <= len(self.name.encode()) <= 255:
            raise UserError("a worker's name has 1 to 255 bytes")

    def fits(self, fingerprint: bytes) -> bool:
        """Whether the CA with this SHA-256 (32 bytes) is the one that the code means."""
        return len(fingerprint) == 32 and fingerprint[:FINGERPRINT_BYTES] == self.fingerprint


def encode(code: JoinCode) -> str:
    """The word. `decode(encode(code)) == code`."""
    length = bytes([len(code.secret)])
    return _encode_body(length + code.secret + code.fingerprint + code.name.encode())


def _encode_body(body: bytes) -> str:
    text = base64.urlsafe_b64encode(body + _check(body)).decode("ascii").rstrip("=")
    return _PREFIX + text


def decode(text: str) -> JoinCode:
    """What the word says.

    Raises `UserError` that tells a word that is none from one with a slip in it.
    """
    word = text.strip()
    if not word.startswith(_PREFIX):
        raise UserError(
            f'this is no join code: one begins with "{_PREFIX}"; '
            "`barto-cli worker add NAME` on the server prints one"
        )
    payload = word[len(_PREFIX) :]
    strange = next((character for character in payload if character not in _ALPHABET), None)
    if strange is not None or len(word) > _LIMIT:
        what = f"{strange!r} is not part of one" if strange is not None else "it is too long"
        raise UserError(f"the join code is damaged: {what}; copy it again")
    try:
        data = base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
    except binascii.Error:
        raise UserError(
            "the join code is damaged: a part of it is missing; copy it again"
        ) from None
    body, check = data[:-_CHECK_BYTES], data[-_CHECK_BYTES:]
    # The last character may hold bits that no byte uses: they must be as `encode` leaves them.
    canonical = base64.urlsafe_b64encode(data).decode("ascii").rstrip("=") == payload
    if not canonical or len(body) < 1 or check != _check(body):
        raise UserError(
            "the join code is damaged: its checksum is wrong, so a character was changed or lost; "
            "copy it again"
        )
    split = 1 + body[0]
    try:
        name = body[split + FINGERPRINT_BYTES :].decode()
        return JoinCode(body[1:split], body[split : split + FINGERPRINT_BYTES], name)
    except ValueError as error:
        raise UserError("the join code is damaged; make another one") from error


def _check(body: bytes) -> bytes:
    """Not a secret's proof, only a guard against slips: anyone can compute it."""
    return hashlib.sha256(b"barto join code" + body).digest()[:_CHECK_BYTES]
