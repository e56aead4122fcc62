"""When is each schedule of a configuration due? Its triggers alone, read from TOML documents.

The server reads every key of a schedule, with all that this takes; who only wants to know when
something runs reads here, from the same files, with the standard library. Both spellings count:
`[[schedule]]`, and `[schedules.web1]` of barto 1.x. Every fault of a trigger is found, and named
with file and line; faults of other keys are none of this module's.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from libbarto.errors import UserError
from libbarto.findings import Judged, Line
from libbarto.quantity import DURATION_LIMIT, parse_duration
from libbarto.realtime import Realtime, zones
from libbarto.realtime.cron import Cron
from libbarto.realtime.interval import RANDOM_ANCHOR
from libbarto.realtime.moment import parse_moment
from libbarto.selector import Selector
from libbarto.toml_lines import Document, Path

KEYS: Final = ("on_calendar", "cron", "every", "at", "after")
"""A schedule has one of them."""
BOOT: Final = "boot"
WHENS: Final = ("ok", "failed", "always")
"""After which verdicts a schedule follows another; the first holds where nothing is said."""
ZONE: Final = "UTC"
POLICIES: Final = {"dst_gap": ("next", "skip"), "dst_repeat": ("auto", "once")}
"""What may be said about clock changes; the first is what holds where nothing is said."""

Table: TypeAlias = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that keeps a schedule from being due at all, and where it stands."""

    file: str
    number: int
    schedule: str
    message: str

    def __str__(self) -> str:
        return f'schedule "{self.schedule}": {self.message}' if self.schedule else self.message


@dataclass(frozen=True, slots=True)
class Triggers:
    """The schedules whose triggers can be read, and what is wrong with the others."""

    schedules: tuple[Judged, ...]
    problems: tuple[Problem, ...]


def read_triggers(documents: Sequence[Document], workers: int | None = None) -> Triggers:
    """The triggers in documents: bartos.toml first, then those of schedules.d in order.

    As the server does, `timezone` and `[defaults]` of the first count for all, those of another
    for itself. `workers` is how many there are, if somebody said.
    """
    found: list[tuple[_Schedule, Judged]] = []
    common: dict[str, object] = {}
    for number, document in enumerate(documents):
        defaults = {**common, **_defaults(document)}
        if number == 0:
            common = defaults
        for path, table, worker in _tables(document):
            reader = _Schedule(document, path, table, worker, defaults, workers)
            found.append((reader, reader.read()))
    _follow([reader for reader, _ in found])
    return Triggers(
        tuple(schedule for reader, schedule in found if not reader.problems),
        tuple(problem for reader, _ in found for problem in reader.problems),
    )


def _defaults(document: Document) -> dict[str, object]:
    """What a document says for the schedules that do not say."""
    table = document.data.get("defaults")
    found = dict(table) if isinstance(table, Mapping) else {}
    if "timezone" in document.data:
        found.setdefault("timezone", document.data["timezone"])
    return found


def _tables(document: Document) -> Iterator[tuple[Path, Table, str | None]]:
    """Each schedule's path and table; with the worker, where barto 1.x's spelling has it.

    What is no table is passed over: the server says what is wrong with it.
    """
    own = document.data.get("schedule")
    for index, table in enumerate(own if isinstance(own, list) else ()):
        if isinstance(table, Mapping):
            yield ("schedule", index), table, None
    old = document.data.get("schedules")
    for worker, entry in old.items() if isinstance(old, Mapping) else ():
        path: Path = ("schedules", worker)
        tables = entry
        if isinstance(entry, Mapping):
            path, tables = (*path, "schedules"), entry.get("schedules")
        for index, table in enumerate(tables if isinstance(tables, list) else ()):
            if isinstance(table, Mapping):
                yield (*path, index), table, worker


def _follow(readers: Sequence[_Schedule]) -> None:
    """Note who follows a schedule that does not exist, or in the end itself."""
    by_name = {reader.name: reader for reader in readers}
    known: set[str] = set()
    for reader in readers:
        chain: dict[str, _Schedule] = {}
        current: _Schedule | None = reader
        while current is not None and current.name not in known | chain.keys():
            chain[current.name] = current
            current = current.parent(by_name)
        if current is not None and current.name in chain:
            current.fault(("after",), "after: it follows itself")
        known.update(chain)


class _Schedule:
    """One reading of one table; `problems` has what is wrong with it."""

    def __init__(
        self,
        document: Document,
        path: Path,
        table: Table,
        worker: str | None,
        defaults: Table,
        workers: int | None,
    ) -> None:
        self.document = document
        self.path = path
        self.table = table
        self.worker = worker
        self.values = {**defaults, **table}
        self.workers = workers
        self.problems: list[Problem] = []
        given = table.get("name")
        name = given if isinstance(given, str) else "?"
        self.name = name if worker is None else f"{worker}/{name}"

    def fault(self, path: Path, message: str) -> None:
        """Note what is wrong at a path below the schedule."""
        line = self.document.line((*self.path, *path))
        self.problems.append(Problem(self.document.file, line, self.name, message))

    def parent(self, by_name: Mapping[str, _Schedule]) -> _Schedule | None:
        """The schedule that it follows: in barto 1.x's spelling first a neighbour."""
        after = self.table.get("after")
        if not isinstance(after, str):
            return None
        worker, slash, _ = self.name.rpartition("/")
        neighbour = by_name.get(f"{worker}/{after}") if slash else None
        parent = neighbour or by_name.get(after)
        if parent is None:
            self.fault(("after",), f'after: no schedule is named "{after}"')
        return parent

    def read(self) -> Judged:
        """The schedule; to be used where there is no problem."""
        keys = [key for key in self.table if key in KEYS]
        if not keys:
            self.fault((), 'on_calendar is left out: when does it run? As "*-*-* 02:00"')
        elif len(keys) > 1:
            several = f"{' and '.join(keys)}: a schedule has one trigger; keep one"
            self.fault((keys[1],), several)
        zone = self.zone()
        gap, repeat = (self.policy(key) for key in POLICIES)
        for key, other in (("anchor", "every"), ("when", "after")):
            if key in self.table and other not in self.table:
                self.fault((key,), f"{key}: means nothing without {other}")
        lines, trigger = self.trigger(keys[0], zone) if keys else ((), "")
        selector = self.selector()
        return Judged(
            name=self.name,
            file=self.document.file,
            number=self.document.line(self.path),
            lines=lines,
            trigger=trigger,
            action=self.action(),
            timezone=zone,
            zone_given="timezone" in self.values,
            dst_gap=gap,
            dst_repeat=repeat,
            workers=selector,
            floating=self.values.get("pick") == "one",
            count=self.workers if selector == "*" else None,
        )

    def zone(self) -> str:
        """The zone in which its calendar is read."""
        zone = self.values.get("timezone", ZONE)
        if not isinstance(zone, str):
            self.fault(("timezone",), 'timezone: expected a text such as "Europe/Berlin"')
        elif zones.is_zone(zone):
            return zone
        else:
            near = zones.suggestion(zone)
            self.fault(("timezone",), f'timezone: no time zone is named "{zone}"{near}')
        return ZONE

    def policy(self, key: str) -> str:
        """What becomes of its times at a clock change."""
        valid = POLICIES[key]
        value = self.values.get(key, valid[0])
        if value not in valid:
            self.fault((key,), f'{key}: expected "{valid[0]}" or "{valid[1]}"')
        return str(value)

    def selector(self) -> str:
        """Where it runs; every worker, where that cannot be read."""
        selector = self.table.get("workers")
        if self.worker is not None:
            selector = f'"{self.worker}"'
        try:
            return str(Selector.parse(selector)) if isinstance(selector, str) else "*"
        except UserError:  # the server says what is wrong with it
            return "*"

    def action(self) -> tuple[str, ...]:
        """What it runs, to be compared."""
        cmds = self.table.get("cmds", self.table.get("script"))
        return tuple(map(str, cmds)) if isinstance(cmds, list) else (str(cmds),)

    def trigger(self, key: str, zone: str) -> tuple[tuple[Line, ...], str]:
        """Its lines, and what tells its trigger from another where it has none."""
        if key == "after":
            return (), self.after()
        if key == "every":
            return (), self.every(zone)
        value = self.table[key]
        items = value if isinstance(value, list) else [value]
        if not items:
            self.fault((key,), f"{key}: there is nothing in it")
        lines = []
        for index, item in enumerate(items):
            path: Path = (key,)
            named = key
            if isinstance(value, list):
                path, named = (key, index), f"{key}[{index + 1}]"
            # TOML's own dates and times count as the texts they are written as.
            text = item.isoformat() if isinstance(item, datetime.date) else item
            if not isinstance(text, str):
                self.fault(path, f"{named}: expected a text")
                continue
            try:
                lines.append(self.line(key, path, text.strip(), zone))
            except UserError as error:
                self.fault(path, f"{named}: {error}")
        known = tuple(line for line in lines if line is not None)
        if len(known) < len(lines) > 1:
            boot = "@reboot" if key == "cron" else f'"{BOOT}"'
            self.fault((key,), f"{key}: {boot} stands alone, in a schedule of its own")
        return known, "" if len(known) == len(lines) else BOOT

    def line(self, key: str, path: Path, text: str, zone: str) -> Line | None:
        """One line of a trigger; None for one that means the host's boot. Raises UserError."""
        number = self.document.line((*self.path, *path))
        if key == "on_calendar":
            return Line(text, number, (Realtime.parse(text),))
        if key == "cron":
            cron = Cron.parse(text)
            return None if cron.at_boot else Line(text, number, cron.calendars.members)
        return None if text == BOOT else Line(text, number, (), parse_moment(text, zone))

    def after(self) -> str:
        """The schedule that it follows, and after which verdicts."""
        after, when = self.table["after"], self.table.get("when", WHENS[0])
        if not isinstance(after, str):
            self.fault(("after",), "after: expected the name of a schedule")
        if when not in WHENS:
            self.fault(("when",), f"when: expected one of {', '.join(WHENS)}")
        return f"after {after} {when}"

    def every(self, zone: str) -> str:
        """An interval, with what it counts from."""
        value = self.table["every"]
        anchor = self.table.get("anchor")
        if isinstance(anchor, datetime.date):
            anchor = anchor.isoformat()
        try:
            if isinstance(value, str):
                value = parse_duration(value)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise UserError('expected an interval such as "15m"')
            if value < 1:
                raise UserError(f'expected at least "1s", found {value:g} seconds')
            if not value <= DURATION_LIMIT:  # nor what is no number
                raise UserError(f"expected at most 1000 years, found {value:g} seconds")
        except UserError as error:
            self.fault(("every",), f"every: {error}")
        try:
            counted = anchor if anchor in (None, RANDOM_ANCHOR) else parse_moment(str(anchor), zone)
        except UserError as error:
            self.fault(("anchor",), f"anchor: {error}")
            counted = None
        return f"every {value} from {counted}"
