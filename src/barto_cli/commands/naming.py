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
    return Failure(NO_SUCH_THING, _none(given, NAMES, name, words))


def mistyped(given: Given, *, schedule: str | None = None, worker: str | None = None) -> str:
    """That a name which is filtered by is nobody's, neither now nor in the history, with the
    nearest that there is; "" where all are known."""
    said = []
    for kind, name in (("schedule", schedule), ("worker", worker)):
        if name and not _known(given, kind, name):
            said.append(_none(given, f"/api/v1/names/{kind}s", name, f"no {kind} is called"))
    return "; ".join(said)


def _known(given: Given, kind: str, name: str) -> bool:
    found = given.client.get(f"/api/v1/names/{kind}s", {"begin": name[:LONGEST]})["names"]
    if any(one["name"] == name for one in found):
        return True
    asked = {kind: name, "limit": 1}
    return any(given.client.get(f"/api/v1/{what}", asked)[what] for what in ("runs", "ranges"))


def _none(given: Given, path: str, name: str, words: str) -> str:
    import difflib

    # Of very many names only the first are told: those that begin alike come as well.
    known = {
        str(one["name"])
        for begin in (None, name[:1])
        for one in given.client.get(path, {"begin": begin})["names"]
    }
    near = difflib.get_close_matches(name, sorted(known), 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return safe(f'{words} "{name}"{hint}')
