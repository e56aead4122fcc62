"""What happens, as the server tells it? Server-sent events, read from what comes in pieces.

The format is that of HTML, section 9.2.6: fields `id`, `event` and `data`, ended by an empty line.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened: `kind` says what, `id` where to go on behind it."""

    kind: str
    data: Any
    id: str = ""


def events(pieces: Iterable[bytes]) -> Iterator[Event]:
    """The events in pieces of a stream, as they come; what is no JSON is passed over.

    >>> pieces = [b'event: run\\ndata: {"a"', b': 1}\\n\\n: still here\\n\\n']
    >>> [event.data for event in events(pieces)]
    [{'a': 1}]
    """
    kind, data, last, rest = "message", list[str](), "", b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            text = line.decode("utf-8", "replace").removesuffix("\r")
            if not text:
                if data:
                    value = _value("\n".join(data))
                    if value is not None:
                        yield Event(kind, value, last)
                kind, data = "message", []
                continue
            name, _, value_text = text.partition(":")
            value_text = value_text.removeprefix(" ")
            match name:
                case "event":
                    kind = value_text
                case "data":
                    data.append(value_text)
                case "id":
                    last = value_text
                case _:
                    pass  # a comment, or what later servers say


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
