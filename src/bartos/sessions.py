"""Who is logged in with a browser? Sessions are cookies that the server has signed, so that it
keeps nothing for them and a restart logs nobody out; links are good once, and for a minute.

The key that signs comes from the server's key: with another one, every session is over.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from libbarto.clock import Instant

LINK_SECONDS: Final = 60
SESSION_SECONDS: Final = 7 * 86_400
LINKS_MOST: Final = 100
ENDED_MOST: Final = 10_000
NAME_MOST: Final = 100
RANDOM_BYTES: Final = 16

_HEAD: Final = struct.Struct(">16sqq")
_TAG: Final = 32
_COOKIE_MOST: Final = 1024


@dataclass(frozen=True, slots=True)
class Session:
    """Someone who is logged in. `name` is what they call themselves, and no proof of it."""

    id: bytes
    since: Instant
    until: Instant
    name: str


@dataclass(slots=True)
class Sessions:
    """Makes links and cookies, and knows them again. `secret` gives the server's key in force, or
    None: then nobody logs in.

    Time and random bytes (16 of them) are passed in.

    >>> sessions = Sessions(lambda: "key")
    >>> link = sessions.link("ann", 0, bytes(16))
    >>> cookie = sessions.redeem(link, 1_000_000, bytes(16))
    >>> sessions.find(cookie, 2_000_000).name, sessions.redeem(link, 2_000_000, bytes(16))
    ('ann', None)
    """

    secret: Callable[[], str | None]
    _links: dict[bytes, tuple[str, Instant]] = field(default_factory=dict)
    _ended: dict[bytes, Instant] = field(default_factory=dict)

    def link(self, name: str, now: Instant, random: bytes) -> str:
        """The secret of a link that logs in once, within a minute. Of too many, the oldest go."""
        text = _text(random)
        self._links = {key: found for key, found in self._links.items() if found[1] > now}
        while len(self._links) >= LINKS_MOST:
            self._links.pop(next(iter(self._links)))
        self._links[_hash(text)] = (name, now + LINK_SECONDS * 1_000_000)
        return text

    def redeem(self, link: str, now: Instant, random: bytes) -> str | None:
        """The cookie for who bears a link; None where it is none of ours, used, or too old."""
        name, until = self._links.pop(_hash(link), ("", 0))
        return self.begin(name, now, random) if now < until else None

    def begin(self, name: str, now: Instant, random: bytes) -> str | None:
        """The cookie of a new session; None where the server has no key."""
        key = self._key()
        if key is None:
            return None
        head = _HEAD.pack(random, now, now + SESSION_SECONDS * 1_000_000)
        body = head + name[:NAME_MOST].encode(errors="replace")
        return _text(hmac.digest(key, body, hashlib.sha256) + body)

    def find(self, cookie: str, now: Instant) -> Session | None:
        """Whose cookie it is; None where it is none of ours, over, or was ended."""
        key = self._key()
        if key is None or len(cookie) > _COOKIE_MOST:
            return None
        try:
            data = base64.b64decode(cookie + "=" * (-len(cookie) % 4), b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        tag, body = data[:_TAG], data[_TAG:]
        if not hmac.compare_digest(tag, hmac.digest(key, body, hashlib.sha256)):
            return None
        id_, since, until = _HEAD.unpack_from(body)
        if not since <= now < until or id_ in self._ended:
            return None
        return Session(id_, since, until, body[_HEAD.size :].decode())

    def end(self, session: Session, now: Instant) -> None:
        """Let a session be over, until the server restarts (the browser forgets it for good). Of
        too many, the older half is forgotten."""
        if len(self._ended) >= ENDED_MOST:
            held = {key: until for key, until in self._ended.items() if until > now}
            self._ended = dict(list(held.items())[-ENDED_MOST // 2 :])
        self._ended[session.id] = session.until

    def _key(self) -> bytes | None:
        secret = self.secret()
        if not secret:
            return None
        return hmac.digest(secret.encode(), b"barto: sessions of browsers", hashlib.sha256)


def _hash(text: str) -> bytes:
    """By which a link is looked up, so that how long that takes tells nothing of the others."""
    return hashlib.sha256(text.encode(errors="replace")).digest()


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
