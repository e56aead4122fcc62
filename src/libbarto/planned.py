"""How does a plan read? What the server answers to `POST /api/v1/plan`, as lines for people.

`barto-cli plan` and `bartos edit` both show it, so that they say the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

SIGNS: Final = {"added": "+", "changed": "~", "removed": "-"}
COLOURS: Final = {"added": "32", "changed": "33", "removed": "31", "error": "31", "warning": "33"}
"""The colour (SGR) of a change and of a finding; the sign and the word are there in any case."""
DIM: Final = "2"
FEW: Final = 8
"""Workers that are named in a line without an end."""


def _unpainted(text: str, code: str) -> str:
    return text


@dataclass(frozen=True, slots=True)
class Look:
    """What the lines are for: `time` shows an RFC 3339 time, in the zone that `zone` names.

    `width` is None where lines may be of any length; `plain` makes text from elsewhere harmless.
    """

    time: Callable[[str], str]
    zone: str
    width: int | None = None
    plain: Callable[[str], str] = str
    paint: Callable[[str, str], str] = _unpainted


Plan = Mapping[str, Any]


def plan_lines(plan: Plan, look: Look) -> Iterator[str]:
    """The lines of a plan: what changes, how much that is, what comes next, what was doubted."""
    changes = plan["changes"]
    parts = [
        [line for change in changes for line in _change(change, look)],
        list(_whole(plan)),
        list(_starts(plan["next"], look)),
        list(_busiest(plan, look)) if changes else [],
        [finding_line(finding, look) for finding in plan["findings"]],
    ]
    for number, part in enumerate(filter(None, parts)):
        if number:
            yield ""
        yield from part


def _whole(plan: Plan) -> Iterator[str]:
    if plan["usable"]:
        yield summary(plan)
    if plan["needs_yes"]:
        yield "this removes most of the schedules: a reload waits for `bartos reload --yes`"


def summary(plan: Plan) -> str:
    """How much a plan would change, in one line.

    >>> summary({"changes": [], "unchanged": 3, "workers": 2, "told": 0})
    'nothing to do: 3 schedules stay as they are'
    """
    kinds = [change["change"] for change in plan["changes"]]
    unchanged = plan["unchanged"]
    if not kinds:
        stay = "1 schedule stays as it is" if unchanged == 1 else f"{unchanged} schedules stay as"
        return f"nothing to do: {stay}{'' if unchanged == 1 else ' they are'}"
    counts = [f"{kinds.count(kind)} {kind}" for kind in SIGNS if kind in kinds]
    workers = f"{plan['told']} of {_many(plan['workers'], 'worker')}"
    gets = "gets" if plan["told"] == 1 else "get"
    return f"{', '.join(counts)}, {unchanged} unchanged; {workers} {gets} a new version"


def finding_line(finding: Mapping[str, Any], look: Look) -> str:
    """An error, a doubt or a note, where it stands; as `bartos check` says it."""
    kind = finding["kind"]
    word = look.paint(f"{kind}: ", COLOURS.get(kind, DIM))
    message = "\n".join(map(look.plain, finding["message"].split("\n")))
    return f"{look.plain(finding['file'])}:{finding['line']}: {word}{message}"


def _many(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"


# -- what changes ---------------------------------------------------------------------------------


def _change(change: Mapping[str, Any], look: Look) -> Iterator[str]:
    kind, name = change["change"], look.plain(change["name"])
    was = f" (was {look.plain(change['was'])})" if change["was"] else ""
    state = "" if change["enabled"] else "  enabled = false"
    yield look.paint(f"{SIGNS[kind]} {name}", COLOURS[kind]) + was + state
    where = names_text(change["workers"], look, before=len("    workers  "))
    if kind == "removed":
        yield f"    was on {where}"
        return
    if kind == "added":
        yield f"    when     {look.plain(change['trigger'])}"
    yield f"    workers  {where}"
    if change["floating"]:
        yield "             one of them runs each planned start"
    for word, key in (("new", "gained"), ("gone", "lost")):
        if change[key]["count"]:
            yield f"      {word}: {names_text(change[key], look, before=12)}"
    longest = max((len(it["key"]) for it in change["keys"]), default=0)
    for it in change["keys"]:
        old, new = look.plain(it["old"]), look.plain(it["new"])
        key = f"    {it['key']:<{longest}}  "
        if look.width is not None and len(key) + len(old) + len(new) + 4 > look.width:
            yield f"{key}{old}"
            yield f"{' ' * (len(key) - 3)}-> {new}"
        else:
            yield f"{key}{old} -> {new}"


def names_text(names: Mapping[str, Any], look: Look, *, before: int = 0) -> str:
    """So many workers, by name as far as there is room.

    >>> look = Look(str, "UTC", 30)
    >>> names_text({"count": 4, "names": ["web1", "web2", "web3", "web4"]}, look)
    '4 workers: web1, and 3 more'
    """
    count, known = names["count"], list(map(look.plain, names["names"]))
    if not count:
        return "no worker"
    shown: list[str] = []
    text = f"{_many(count, 'worker')}"
    room = None if look.width is None else look.width - before
    for number, name in enumerate(known):
        left = count - number - 1
        rest = f", and {left} more" if left else ""
        line = f"{text}: {', '.join([*shown, name])}"
        if number >= FEW or (room is not None and len(line) + len(rest) > room):
            break
        shown.append(name)
    if not shown:
        return text
    rest = f", and {count - len(shown)} more" if len(shown) < count else ""
    return f"{text}: {', '.join(shown)}{rest}"


# -- when -----------------------------------------------------------------------------------------


def _starts(starts: Sequence[Mapping[str, Any]], look: Look) -> Iterator[str]:
    if not starts:
        return
    rows = [("NEXT" + (f" ({look.zone})" if look.zone else ""), "SCHEDULE", "WORKERS", "")]
    for start in starts:
        at = look.time(start["at"])
        if start["until"] is not None:
            at = f"{at} to {look.time(start['until'])[-8:]}"
        workers = str(start["workers"])
        rows.append((at, look.plain(start["schedule"]), workers, look.plain(start["note"])))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for number, (at, name, workers, note) in enumerate(rows):
        line = f"{at:<{widths[0]}}  {name:<{widths[1]}}  {workers:>{widths[2]}}  {note}".rstrip()
        yield look.paint(line, DIM) if number == 0 else line


def _busiest(plan: Plan, look: Look) -> Iterator[str]:
    if not plan["busiest"]:
        return
    about = "about " if plan["estimated"] else ""
    for number, minute in enumerate(plan["busiest"]):
        label = "busiest  " if number == 0 else "         "
        names = minute["schedules"]
        listed = ", ".join(map(look.plain, names[:3])) + (", …" if len(names) > 3 else "")
        starts = _many(minute["starts"], "start")
        yield f"{label}{look.time(minute['at'])[:-3]}  {about}{starts} in the minute: {listed}"
    before = _many(plan["busiest_before"], "start")
    yield f"         (as things are, {about}{before} at most in a minute)"
