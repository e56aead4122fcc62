"""What decides when a schedule is due? Its trigger as a text, and the hash that names it.

Two schedules with one hash are due at the same slots on the same worker, so a worker can say with
a few bytes by which trigger it decided, and whoever knows the text can count its slots.
"""

from __future__ import annotations

import hashlib
import json
from typing import Final

from libbarto.message.v2.schedule import Schedule

HASH_BYTES: Final = 16

_FIELDS: Final = (
    "calendars",
    "timezone",
    "dst_gap",
    "dst_repeat",
    "every_us",
    "anchor_us",
    "anchor_drawn",
    "at",
    "on_boot",
)


def timing_text(spec: Schedule) -> str:
    """The trigger of `spec` as canonical JSON: equal texts, equal slots.

    >>> spec = Schedule(uid=bytes(16), name="tick", calendars=["*:0/15"], steps=["true"])
    >>> timing_text(spec)[:28]
    '{"anchor_drawn":false,"ancho'
    """
    facts = {name: getattr(spec, name) for name in _FIELDS}
    return json.dumps(facts, sort_keys=True, separators=(",", ":"))


def timing_hash(text: str) -> bytes:
    """The 16 bytes that name a trigger's text.

    >>> timing_hash("{}").hex()
    '44136fa355b3678a1146ad16f7e8649e'
    """
    return hashlib.sha256(text.encode()).digest()[:HASH_BYTES]


def spec_of_timing(text: str, uid: bytes, name: str = "") -> Schedule:
    """A schedule with this trigger and nothing to do: enough to count its slots."""
    facts = json.loads(text)
    return Schedule(uid=uid, name=name, steps=[], **{key: facts[key] for key in _FIELDS})
