"""What is drawn where a schedule leaves a time to chance? A number from a seed, always the same.

How it is drawn never changes between releases (docs/reference/calendar.md, "R").
"""

from __future__ import annotations

import hashlib
from typing import Final

from libbarto.identity import netstrings

DRAWN_BYTES: Final = 8
"""How much of the hash a draw reads."""


def draw(seed: bytes, text: bytes, name: str, choices: int) -> int:
    """One of 0 to `choices` - 1, for what is called `name` in what is written as `text`.

    The first 8 bytes (big-endian) of SHA-256 over the netstrings of the three, modulo `choices`.
    """
    digest = hashlib.sha256(netstrings(seed, text, name.encode())).digest()
    return int.from_bytes(digest[:DRAWN_BYTES], "big") % choices
