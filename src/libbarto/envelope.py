"""The envelope: did this message come from our server, unaltered, and not once before?

Two protocols ask it. A server of barto 1.x seals what it sends to workers (protocol-v1.md section
5): an HMAC-SHA256 with time and nonce around the message, an Ed25519 signature around that, each
only where both sides are configured for it. In barto's own protocol the server signs the parts of
what it says as netstrings, so that no byte can move from one part to the next.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import struct
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from libbarto.errors import BartoError, UserError
from libbarto.identity import netstrings

KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
REPLAY_WINDOW_S: Final = 60
"""Seconds that a message's time may be off, where nothing else is configured."""

_HEADER: Final = struct.Struct(">QQ")
_MAC_BYTES: Final = 32
_ENVELOPE_BYTES: Final = _HEADER.size + _MAC_BYTES
_FIELD: Final = 2**255 - 19
_CURVE_D: Final = -121665 * pow(121666, -1, _FIELD)


class KeyInvalid(UserError):
    """A key that is not what it should be; the message says what it should be."""


class SealBroken(BartoError, ValueError):
    """A message that is not our server's, or was altered, or is old, or came before."""


class PublicKey:
    """An Ed25519 public key: what signatures are verified with."""

    __slots__ = ("_key", "raw")

    def __init__(self, raw: bytes) -> None:
        """`raw` is the compressed point, 32 bytes; raises `KeyInvalid` if it is no point."""
        if len(raw) != KEY_BYTES or not _is_point(raw):
            raise KeyInvalid("a public key is a point of Ed25519, 32 bytes")
        self._key = Ed25519PublicKey.from_public_bytes(raw)
        self.raw = raw

    @classmethod
    def from_base64(cls, text: str) -> PublicKey:
        """Reads 32 bytes in strict base64: standard alphabet, padded, nothing else."""
        return cls(_key_bytes("a public key", text))

    def to_base64(self) -> str:
        """The text that `from_base64` reads."""
        return base64.b64encode(self.raw).decode()

    @property
    def fingerprint(self) -> str:
        """16 hex digits by which people tell keys apart: the first 8 bytes of its SHA-256."""
        return hashlib.sha256(self.raw).hexdigest()[:16]

    def verify(self, signature: bytes, message: bytes) -> None:
        """Raises `SealBroken` unless `signature` is this key's over `message`."""
        try:
            self._key.verify(signature, message)
        except InvalidSignature as error:
            raise SealBroken(f"not signed with the key {self.fingerprint}") from error

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PublicKey) and self.raw == other.raw

    def __hash__(self) -> int:
        return hash(self.raw)

    def __repr__(self) -> str:
        return f"PublicKey({self.fingerprint})"


def _is_point(raw: bytes) -> bool:
    """Whether 32 bytes are a point (RFC 8032 section 5.1.3): x² = (y² - 1) / (d y² + 1) has a root.

    OpenSSL takes any 32 bytes for a key, and lets every verification with it fail later.
    """
    y = int.from_bytes(raw, "little") & ((1 << 255) - 1)
    x_squared = (y * y - 1) * pow(_CURVE_D * y * y + 1, -1, _FIELD)
    return pow(x_squared, (_FIELD - 1) // 2, _FIELD) in (0, 1)


class SigningKey:
    """An Ed25519 private key: what the server signs with. Its seed is never shown."""

    __slots__ = ("_key", "public")

    def __init__(self, seed: bytes) -> None:
        """`seed` is 32 secret bytes (RFC 8032 section 5.1.5); raises `KeyInvalid` otherwise."""
        if len(seed) != KEY_BYTES:
            raise KeyInvalid(f"a signing key is a seed of 32 bytes, got {len(seed)}")
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = PublicKey(
            self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw),
        )

    @classmethod
    def from_base64(cls, text: str) -> SigningKey:
        """Reads 32 bytes in strict base64: standard alphabet, padded, nothing else."""
        return cls(_key_bytes("a signing key", text))

    def sign(self, message: bytes) -> bytes:
        """The 64 bytes of the signature over `message`."""
        return self._key.sign(message)

    def __repr__(self) -> str:
        return f"SigningKey({self.public.fingerprint})"


def _key_bytes(what: str, text: str) -> bytes:
    """The bytes of a key; the text is secret, so no error repeats it."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise KeyInvalid(f"{what} is 32 bytes in standard base64 with padding") from error
    # The decoder is lenient about idle bits of the last digit; one key has one text.
    if len(raw) != KEY_BYTES or base64.b64encode(raw) != text.encode():
        raise KeyInvalid(f"{what} is 32 bytes in standard base64 with padding")
    return raw


class ReplayWindow:
    """The nonces seen on one connection: lets each pass once, and no time that is too far off.

    `seconds` is how far the sender's clock may be off, either way, inclusive.
    """

    __slots__ = ("_seen", "seconds")

    def __init__(self, seconds: int = REPLAY_WINDOW_S) -> None:
        self.seconds = seconds
        self._seen: dict[int, int] = {}

    def check(self, timestamp_s: int, nonce: int, now_s: int) -> None:
        """Takes note of a nonce; raises `SealBroken` for a stale time or a nonce seen before.

        Nonces are forgotten once their time has left the window, for then it is the time that
        refuses them.
        """
        off = abs(now_s - timestamp_s)
        if off > self.seconds:
            raise SealBroken(f"the time is {off} s off, {self.seconds} s are allowed")
        kept = {n: t for n, t in self._seen.items() if abs(now_s - t) <= self.seconds}
        self._seen = kept
        if nonce in kept:
            raise SealBroken("the message was received before")
        kept[nonce] = timestamp_s

    @property
    def held(self) -> int:
        """How many nonces are remembered."""
        return len(self._seen)


def seal(
    payload: bytes,
    *,
    hmac_key: bytes | None,
    signing_key: SigningKey | None,
    timestamp_s: int,
    nonce: int,
) -> bytes:
    """What a server of barto 1.x puts into a frame: `payload` in the envelopes there are keys for.

    `hmac_key` may be of any length, also empty; `timestamp_s` is seconds since 1970, `nonce` a
    random number of 64 bits. The order is that of protocol-v1.md section 5.
    """
    if hmac_key is not None:
        header = _HEADER.pack(timestamp_s, nonce)
        payload = header + _mac(hmac_key, header, payload) + payload
    if signing_key is not None:
        payload = signing_key.sign(payload) + payload
    return payload


def unseal(
    data: bytes,
    *,
    hmac_key: bytes | None,
    public_key: PublicKey | None,
    now_s: int,
    window: ReplayWindow,
) -> bytes:
    """The message within the envelopes that this side is configured for.

    `now_s` is seconds since 1970; `window` is that of the connection. Raises `SealBroken` unless
    signature, MAC, time and nonce are all in order; the nonce counts as seen only then.
    """
    if public_key is not None:
        if len(data) < SIGNATURE_BYTES:
            raise SealBroken("too short to be signed")
        signature, data = data[:SIGNATURE_BYTES], data[SIGNATURE_BYTES:]
        public_key.verify(signature, data)
    if hmac_key is not None:
        if len(data) < _ENVELOPE_BYTES:
            raise SealBroken("too short to have a MAC")
        header, mac = data[: _HEADER.size], data[_HEADER.size : _ENVELOPE_BYTES]
        data = data[_ENVELOPE_BYTES:]
        if not hmac.compare_digest(mac, _mac(hmac_key, header, data)):
            raise SealBroken("the MAC is not that of our key")
        timestamp_s, nonce = _HEADER.unpack(header)
        window.check(timestamp_s, nonce, now_s)
    return data


def _mac(key: bytes, header: bytes, payload: bytes) -> bytes:
    return hmac.digest(key, header + payload, "sha256")


def sign(key: SigningKey, *parts: bytes) -> bytes:
    """The signature over the netstrings of all parts (DESIGN section 6): 64 bytes."""
    return key.sign(netstrings(*parts))


def verify(public: PublicKey, signature: bytes, *parts: bytes) -> None:
    """Raises `SealBroken` unless `signature` is that of `sign` over the same parts."""
    public.verify(signature, netstrings(*parts))
