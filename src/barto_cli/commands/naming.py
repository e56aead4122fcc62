"""Is a schedule called so? Asked before a command goes on with a name that may be mistyped."""

from __future__ import annotations

from barto_cli.client import NO_SUCH_THING, Failure
from barto_cli.given import Given
from libbarto.harmless import safe

NAMES: str = "/api/v1/names/schedules"
LONGEST: int = 200
"""Characters of a name that the server looks for."""


def is_schedule(given: Given, name: str) -> bool:
    """Whether one is in force that is called exactly so."""
    found = given.client.get(NAMES, {"begin": name[:LONGEST]})["names"]
    return any(one["name"] == name for one in found)


def has_run(given: Given, name: str) -> bool:
    """Whether something that is called so has run, in force or not."""
    return bool(given.client.get("/api/v1/runs", {"schedule": name, "limit": 1})["runs"])


def unknown(given: Given, name: str, words: str = "no schedule is called") -> Failure:
    """What to raise where none is called so: with the nearest name that there is."""
    import difflib

    known = [str(one["name"]) for one in given.client.get(NAMES)["names"]]
    near = difflib.get_close_matches(name, known, 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return Failure(NO_SUCH_THING, safe(f'{words} "{name}"{hint}'))
