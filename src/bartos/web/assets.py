"""Which files do the pages fetch beside themselves? Style, scripts and a picture, under names that
carry a hash of their contents: a browser keeps them for good, and a new version has new names.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

PREFIX: Final = "/static/"
_TYPES: Final = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """A file: its path in URLs, its bytes, what they are, and a strong ETag (RFC 9110 §8.8.3)."""

    path: str
    data: bytes
    media_type: str
    etag: str


def _read() -> dict[str, Asset]:
    found = {}
    for file in sorted(files("bartos.web").joinpath("static").iterdir(), key=lambda one: one.name):
        stem, _, ending = file.name.rpartition(".")
        if ending in _TYPES:
            data = file.read_bytes()
            mark = hashlib.sha256(data).hexdigest()[:12]
            path = f"{PREFIX}{stem}.{mark}.{ending}"
            found[file.name] = Asset(path, data, _TYPES[ending], f'"{mark}"')
    return found


ASSETS: Final[Mapping[str, Asset]] = _read()
"""Every file by its own name: `barto.css`."""

BY_PATH: Final[Mapping[str, Asset]] = {asset.path: asset for asset in ASSETS.values()}
"""The same by path: `/static/barto.0123456789ab.css`."""
