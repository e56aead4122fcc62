"""Does anybody hear of failures? The command `alerts test`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from barto_cli import times
from barto_cli.client import ERROR
from barto_cli.given import Given
from barto_cli.render import Column, Format, Listing, json_text, plain

KEYS: Final = ("channel", "ok", "place", "seconds", "said")


def test(given: Given, channel: str | None) -> int:
    """Have the server send a test message; returns the exit code."""
    found: dict[str, Any] = given.client.post("/api/v1/alerts/test", {"channel": channel})
    if given.form is Format.JSON:
        given.write([json_text(found, indent=2)])
    else:
        columns = [
            Column("channel", "CHANNEL", useful=9),
            Column("result", "RESULT", useful=8),
            Column("said", "ANSWER", useful=7),
            Column("place", "TO", useful=5),
        ]
        rows = [{**one, "result": "sent" if one["ok"] else "failed"} for one in found["channels"]]
        given.emit(Listing(columns, rows, KEYS))
        if given.for_people and found["heartbeat"] is not None:
            given.write([heartbeat_line(given, found["heartbeat"])])
    beat = found["heartbeat"]
    return 0 if found["ok"] and (beat is None or beat["ok"]) else ERROR


def heartbeat_line(given: Given, beat: Mapping[str, Any]) -> str:
    """The last heartbeat, in a line."""
    at = given.screen.time(times.read(beat["at"]))
    return f"heartbeat {'sent' if beat['ok'] else 'not sent'} at {at}: {plain(beat['said'])}"
