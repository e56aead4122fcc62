"""Why did it run, or not? The command `why`: a paragraph, and what one may do next."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, Final

from barto_cli import times
from barto_cli.client import NO_SUCH_THING, USAGE, Failure
from barto_cli.given import Given
from barto_cli.render import COLOURS, DIM, Format, Screen, json_text, plain
from libbarto.harmless import safe_lines

Json = Mapping[str, Any]

PATH: Final = "/api/v1/why"
WIDEST: Final = 100
"""A paragraph is no wider, however wide the terminal is."""
NARROWEST: Final = 20

_RUN: Final = re.compile(r"@last|[0-9a-f]{8}[0-9a-f-]*")
_SHORT: Final = re.compile(r"[0-9a-f]{1,7}")
"""Rather a name; where no schedule has it, the beginning of a run's id."""


def why(given: Given, subject: str, *, on: str | None, at: str | None) -> None:
    """Ask, and tell it."""
    found = _asked(given, subject, on, at)
    if given.form is not Format.TABLE:
        given.write([json_text(found, indent=2 if given.form is Format.JSON else None)])
    else:
        tell(given, found)


def tell(given: Given, found: Json) -> None:
    """Write an answer for people."""
    if given.screen.terminal:
        given.write(told(found, given.screen))
    else:
        given.write([safe_lines(found["text"])])


def not_begun(given: Given, run: str) -> Json | None:
    """What is known of a start without a run that `run` names: it waits for its worker, or was
    given up. None where there is no such start."""
    zone = given.screen.zone.name
    query = {"run": run, "timezone": zone if "/" in zone or zone == "UTC" else None}
    try:
        found: Json = given.client.get(PATH, query)
    except Failure as failure:
        if failure.exit_code != NO_SUCH_THING:
            raise
        return None
    return found if found.get("order") else None


def _asked(given: Given, subject: str, on: str | None, at: str | None) -> Json:
    zone = given.screen.zone
    timezone = zone.name if "/" in zone.name or zone.name == "UTC" else None
    if on is None and at is None and _RUN.fullmatch(subject):
        try:
            answer: Json = given.client.get(PATH, {"run": subject, "timezone": timezone})
        except Failure as failure:
            if failure.exit_code != NO_SUCH_THING or subject == "@last":
                raise
        else:
            return answer
    moment = None if at is None else times.rfc3339(times.moment(at, given.screen.now, zone))
    query = {"schedule": subject, "worker": on, "at": moment, "timezone": timezone}
    try:
        asked: Json = given.client.get(PATH, query)
    except Failure as failure:
        if failure.exit_code == NO_SUCH_THING and (on or at) and _RUN.fullmatch(subject):
            raise Failure(USAGE, "a run is one start: without --on and --at") from None
        if failure.exit_code != NO_SUCH_THING or on or at or not _SHORT.fullmatch(subject):
            raise
        try:
            asked = given.client.get(PATH, {"run": subject, "timezone": timezone})
        except Failure as other:
            raise failure if other.exit_code == NO_SUCH_THING else other from None
    return asked


def told(found: Json, screen: Screen) -> Iterator[str]:
    """The answer as a terminal shows it."""
    width = max(NARROWEST, min(screen.width or WIDEST, WIDEST))
    state = str(found["state"])
    head = screen.shape(state) + plain(found["headline"])
    for line in textwrap.wrap(head, width, break_on_hyphens=False):
        yield screen.paint(line, COLOURS.get(state))
    because = " ".join(plain(one) for one in found["because"])
    yield from textwrap.wrap(because, width, break_on_hyphens=False)
    if found["lines"]:
        yield ""
        for line in found["lines"]:
            yield screen.paint("  | ", DIM) + plain(line)
        yield ""
    if found["next"]:
        yield plain(found["next"])
    steps = found["steps"]
    widest = max((len(one["words"]) for one in steps if one["command"]), default=0)
    for one in steps:
        words = plain(one["words"])
        if one["command"]:
            yield f"{words}:{' ' * (widest - len(words))}  {plain(one['command'])}"
        else:
            yield words
