"""Who is who: uids of schedules, ids of occurrences, and the chain of tags over records.

Which run is this, computed rather than minted: the same slot of the same schedule on the same
worker has the same id on every machine and after every loss (DESIGN section 4).
"""

from __future__ import annotations

import enum
import hashlib
from typing import Final

ID_BYTES: Final = 16
TAG_BYTES: Final = 8
NO_TAG: Final = bytes(TAG_BYTES)
"""The tag before a lane's first record."""


class Kind(enum.IntEnum):
    """Why an occurrence came to be."""

    CALENDAR = 0
    FOLLOW = 1
    MANUAL = 2
    EXEC = 3


def netstring(part: bytes) -> bytes:
    """`part` as a netstring: its length in decimal, a colon, its bytes, a comma.

    >>> netstring(b"hello")
    b'5:hello,'
    """
    return b"%d:%b," % (len(part), part)


def netstrings(*parts: bytes) -> bytes:
    """The netstrings of all parts in a row: no two lists of parts give the same bytes.

    >>> netstrings(b"schedule", b"backup")
    b'8:schedule,6:backup,'
    """
    return b"".join(map(netstring, parts))


def schedule_uid(name: str, id_: str | None = None) -> bytes:
    """The 16 bytes that a schedule keeps for life: of its `id` if it has one, else of its name.

    >>> schedule_uid("backup").hex()
    'ef67e8951335c71ddc805b8fd12d655b'
    """
    text = name if id_ is None else id_
    return hashlib.sha256(netstrings(b"schedule", text.encode())).digest()[:ID_BYTES]


def occurrence_id(
    kind: Kind, schedule_uid: bytes, worker_uid: bytes, slot: int, cause: bytes = b""
) -> bytes:
    """The id of what is due at `slot` (microseconds since 1970, UTC): a UUIDv8 as 16 bytes.

    `worker_uid` is empty only for `pick = "one"`. `cause` is empty for a calendar's slot, the
    parent's occurrence id for a follow-up, the request's UUID for a manual start. The first 48
    bits are the slot in milliseconds (RFC 9562 section 5.8 leaves them to us), so ids sort by time.
    Slots before 1970 count as 1970 in those bits alone.
    """
    digest = hashlib.sha256(
        netstrings(kind.name.lower().encode(), schedule_uid, worker_uid, str(slot).encode(), cause)
    ).digest()
    value = bytearray(min(max(slot // 1000, 0), (1 << 48) - 1).to_bytes(6, "big") + digest[:10])
    value[6] = 0x80 | value[6] & 0x0F
    value[8] = 0x80 | value[8] & 0x3F
    return bytes(value)


def calendar_seed(schedule_uid: bytes, worker_uid: bytes) -> bytes:
    """What `R` is drawn from; `worker_uid` empty for `pick = "one"`.

    The rule is in docs/reference/calendar.md, "R".
    """
    return netstrings(schedule_uid, worker_uid)


def next_tag(previous: bytes, record: bytes) -> bytes:
    """The tag of `record` (its encoded bytes) that follows a record with the tag `previous`.

    Two lanes that agree on a tag agree on every record up to it (DESIGN section 6).
    """
    return hashlib.sha256(previous + record).digest()[:TAG_BYTES]


def uuid_text(value: bytes) -> str:
    """16 bytes in the usual spelling of a UUID, lower case with hyphens."""
    text = value.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
