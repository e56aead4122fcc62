"""What is scheduled? The schedules of bartos.toml and schedules.d, as typed definitions.

Both spellings are read: `[[schedule]]`, and that of barto 1.x, `[schedules.web1]`. A text counts
whole or not at all: every fault in every file is found, and named with file and line.
"""

from __future__ import annotations

import datetime
import functools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError

from libbarto.errors import ConfigError, UserError
from libbarto.identity import schedule_uid
from libbarto.realtime import Realtime, zones
from libbarto.realtime.cron import Cron
from libbarto.realtime.interval import RANDOM_ANCHOR
from libbarto.realtime.moment import parse_moment
from libbarto.selector import Selector
from libbarto.settings import (
    Duration,
    Fault,
    InvalidConfig,
    Keys,
    OneOrMore,
    Reading,
    Schema,
    Shown,
    Size,
    Texts,
    Value,
    Values,
    build,
    dotted,
    found,
    merge,
    nearest,
    read_table,
)
from libbarto.toml_lines import Document, Path, TomlError, read

_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,120}")
_SHELL_NAME: Final = re.compile(r"[A-Za-z0-9._+/-]+")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
DEFAULT_ZONE: Final = "UTC"
DEFAULT_SHELL: Final = ("/bin/sh", "-c")
BOOT: Final = "boot"
"""As a time: once for each boot of the worker's host."""
CATCH_UP_MOST: Final = 72 * 3600.0
"""No longer: a worker forgets which starts it has claimed a week ago (DESIGN section 7)."""
RETRY_DELAY_MOST: Final = 600.0
"""Delays between attempts double up to here."""
SHORTEST_EVERY: Final = 1.0


@dataclass(frozen=True, slots=True)
class Source:
    """Where a schedule is written: a file's name and a line, from 1.

    `lines` has those of its keys and commands, as `("cmds", 0)`.
    """

    file: str = ""
    line: int = 0
    lines: Mapping[Path, int] = field(default_factory=dict, repr=False, compare=False)

    def of(self, *path: str | int) -> Source:
        """Where a key of the schedule stands; the schedule's own place if it has it elsewhere."""
        return Source(self.file, self.lines.get(path, self.line))

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


# -- the keys -------------------------------------------------------------------------------------


def _zone(name: str) -> str:
    if not zones.is_zone(name):
        raise UserError(
            f'no time zone is named "{name}"{zones.suggestion(name)} (names as Europe/Berlin)'
        )
    return name


def _positive(seconds: float) -> float:
    if seconds <= 0:
        raise UserError("expected more than 0 seconds; leave it out for no limit")
    return seconds


def _shell(value: object) -> object:
    if isinstance(value, str):
        if not _SHELL_NAME.fullmatch(value):
            raise UserError(
                f'expected the name of a shell, or a list such as ["bash", "-c"]; found "{value}"'
            )
        return (value, "-c")
    if isinstance(value, list | tuple):
        if not value:
            raise UserError('expected a shell such as ["/bin/sh", "-c"], found an empty list')
        return tuple(value)
    raise UserError(
        f'expected the name of a shell, or a list such as ["bash", "-c"]; found {found(value)}'
    )


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise UserError("a NUL character cannot be handed to a program")
    return text


def _command(text: str) -> str:
    if not text.strip():
        raise UserError("a command is empty")
    return _without_nul(text)


def _directory(text: str) -> str:
    if not text.startswith("/"):
        raise UserError(f'expected an absolute path, found "{text}"')
    return _without_nul(text)


def _environment(value: dict[str, str]) -> dict[str, str]:
    for name, text in value.items():
        if not _VARIABLE.fullmatch(name):
            raise UserError(f'"{name}" is no name of a variable: letters, digits and _')
        if "\0" in text:
            raise UserError(f"{name}: a NUL character cannot be handed to a program")
        if name.startswith("BARTO_"):
            raise UserError(f"{name}: names that begin with BARTO_ are set by barto itself")
    return value


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise UserError(f'expected letters, digits, ".", "_" and "-" (at most 120), found "{text}"')
    return text


def _calendar(text: str) -> str:
    trimmed = text.strip()
    Realtime.parse(trimmed)
    return trimmed


def _cron(text: str) -> str:
    trimmed = text.strip()
    Cron.parse(trimmed)
    return trimmed


def _boot_alone_of_lines(lines: tuple[str, ...]) -> tuple[str, ...]:
    if len(lines) > 1 and any(Cron.parse(line).at_boot for line in lines):
        raise UserError("@reboot stands alone, in a schedule of its own")
    return lines


def _every(seconds: float) -> float:
    if seconds < SHORTEST_EVERY:
        raise UserError(f'expected at least "1s", found {seconds:g} seconds')
    return seconds


def _times(value: object) -> object:
    """One time or several; TOML's own dates and times count as the texts they are written as."""
    if isinstance(value, list | tuple):
        return tuple(map(_time_text, value))
    return (_time_text(value),)


def _time_text(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime.date) else value


def _boot_alone_of_times(times: tuple[str, ...]) -> tuple[str, ...]:
    if len(times) > 1 and BOOT in times:
        raise UserError(f'"{BOOT}" stands alone, in a schedule of its own')
    return times


def _catch_up(seconds: float) -> float:
    if seconds > CATCH_UP_MOST:
        raise UserError('expected at most "72h": what is older is not started any more')
    return seconds


def _retry_delay(seconds: float) -> float:
    if seconds > RETRY_DELAY_MOST:
        raise UserError('expected at most "10m", to which delays grow anyway')
    return seconds


def _workers(value: object) -> object:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        shown = " or ".join(value) or "*"
        raise UserError(f'expected one text, found a list; write "{shown}"')
    if isinstance(value, str):
        Selector.parse(value)
    return value


class Retain(Keys):
    """How long what a schedule's runs leave is kept."""

    output: Duration | None = Field(
        default=None, description="what its commands printed; left out: as bartos.toml has it"
    )
    verdicts: Duration | None = Field(
        default=None, description="that and how it ran; left out: as bartos.toml has it"
    )


class Policies(Keys):
    """How a schedule runs. Each key may stand in `[defaults]` too."""

    timezone: Annotated[str, AfterValidator(_zone)] = Field(
        default=DEFAULT_ZONE, description="the IANA time zone in which its calendar is read"
    )
    pick: Literal["all", "one"] = Field(
        default="all",
        description="`all`: each of its workers fires it by its own clock, server or not; `one`: "
        "the server gives each planned start to one of them",
    )
    timeout: Annotated[Duration, AfterValidator(_positive)] | None = Field(
        default=None, description="how long a run may take; then TERM to all its processes"
    )
    kill_after: Duration = Field(
        default=10.0, description="how long after TERM what is left gets KILL"
    )
    overlap: Literal["skip", "queue", "replace", "allow"] = Field(
        default="skip",
        description="what becomes of a start while a run of it goes on: it is skipped; it waits, "
        "the newest alone; it takes the place of the run, which is stopped; it runs beside it",
    )
    missed: Literal["latest", "all", "none"] = Field(
        default="latest",
        description="which of the starts that were missed (host off, worker stopped) are caught up",
    )
    catch_up: Annotated[Duration, AfterValidator(_catch_up)] = Field(
        default=3600.0, description="how old a start may be to be caught up; at most 72h"
    )
    retries: Annotated[int, Field(ge=0, le=1000)] = Field(
        default=0, description="how often a run that fails is tried again, as attempts of one run"
    )
    retry_delay: Annotated[Duration, AfterValidator(_retry_delay)] = Field(
        default=30.0,
        description="how long after a failure; it doubles with each, with some chance, up to 10m",
    )
    rerun_interrupted: bool = Field(
        default=False,
        description="run again what was interrupted and may or may not have done its work; at "
        "most three times. Only for commands that may run twice",
    )
    shell: Annotated[
        tuple[str, ...], BeforeValidator(_shell), Shown("list of texts, or a shell's name")
    ] = Field(
        default=DEFAULT_SHELL,
        description="what runs each command, which becomes its last argument; "
        'a name as `"bash"` means `["bash", "-c"]`',
    )
    run_as: str | None = Field(
        default=None,
        min_length=1,
        description="the user whose rights the commands have; left out: bartoc's own. "
        "Only where bartoc is root",
    )
    cwd: Annotated[str, AfterValidator(_directory)] | None = Field(
        default=None, description="the directory they start in; left out: the user's home"
    )
    env: Annotated[dict[str, str], AfterValidator(_environment)] = Field(
        default={},
        description="variables added to their environment; to those of `[defaults]` too",
    )
    nice: Annotated[int, Field(ge=-20, le=19)] = Field(
        default=0, description="their priority, as nice(1) counts: 19 is the most patient"
    )
    output_max: Size = Field(
        default=10 * 1024 * 1024,
        description="how much output of a run is kept: the first tenth and the last nine tenths, "
        "and between them a marker with exact counts. The command goes on",
    )
    retain: Retain = Field(default=Retain(), description="how long what its runs leave is kept")
    continue_on_error: bool = Field(
        default=False, description="go on with the next step when one fails"
    )
    start_within: Duration = Field(
        default=30.0, description="how late a start may be and still count as on time"
    )
    on_silence: Literal["wait", "reassign"] = Field(
        default="wait",
        description="where the server gave a start to a worker that went silent: it waits for its "
        "word, or gives the start to another, so that it may run twice",
    )
    dst_gap: Literal["next", "skip"] = Field(
        default="next",
        description="what falls into the hour that is left out in spring starts at the first "
        "instant after it, or not at all",
    )
    dst_repeat: Literal["auto", "once"] = Field(
        default="auto",
        description="in the hour that comes twice in autumn, a fixed hour starts once and `*` "
        "goes on in both, or everything starts once",
    )
    offline_max: Duration = Field(
        default=7 * 86_400.0,
        description="how long a worker goes on without a server; one for all, so only in the "
        "`[defaults]` of bartos.toml",
    )
    enabled: bool = Field(default=True, description="`false` takes it out of force")
    alerts: bool = Field(
        default=True,
        description="`false`: nobody is told when it fails, is missed or stuck, or recovers",
    )


class Definition(Policies):
    """A schedule as configured, with every default filled in."""

    name: str = Field(
        description="unique; letters, digits, `.`, `_` and `-`. Another name is another schedule, "
        "unless `id` is given"
    )
    workers: Annotated[str, BeforeValidator(_workers), Shown("selector")] = Field(
        description='where it runs: a name, a glob as `"web*"`, or a selector as '
        '`"os=debian and not role=canary"`; `"*"` is every worker. '
        "Beside `after` it may be left out: the worker of the run that it follows"
    )
    on_calendar: Annotated[
        tuple[Annotated[str, AfterValidator(_calendar)], ...],
        *OneOrMore.__metadata__,
    ] = Field(
        default=(),
        description="when it is due: calendar expressions; several are a union. A schedule has one "
        "of `on_calendar`, `cron`, `every`, `at` and `after`",
    )
    cron: Annotated[
        tuple[Annotated[str, AfterValidator(_cron)], ...],
        *OneOrMore.__metadata__,
        AfterValidator(_boot_alone_of_lines),
    ] = Field(
        default=(),
        description='or as in a crontab: `"0 2 * * 1-5"`, `"@daily"`, `"@reboot"`; several are a '
        "union",
    )
    every: Annotated[Duration, AfterValidator(_every)] | None = Field(
        default=None, description='or at a fixed interval, as `"15m"`: at least a second'
    )
    anchor: Annotated[str, BeforeValidator(_time_text), Shown('time, or "R"')] | None = Field(
        default=None,
        description="an instant from which `every` counts, forwards and backwards; left out: "
        '1970-01-01 00:00 UTC. `"R"` gives each worker a phase of its own',
    )
    at: Annotated[
        tuple[str, ...],
        BeforeValidator(_times),
        Shown("time, or a list of times"),
        AfterValidator(_boot_alone_of_times),
    ] = Field(
        default=(),
        description='or once, at a time as `"2027-01-01T06:00:00Z"` (without an offset: in its '
        '`timezone`); `"boot"` is once for each boot of the host',
    )
    after: str | None = Field(
        default=None,
        min_length=1,
        description="or when a run of the schedule of this name has ended, on the same worker; "
        'with `workers` or `pick = "one"` on one that the server chooses',
    )
    when: Literal["ok", "failed", "always"] = Field(
        default="ok", description="how the run must have ended that it comes `after`"
    )
    cmds: Annotated[tuple[Annotated[str, AfterValidator(_command)], ...], *Texts.__metadata__] = (
        Field(default=(), description="its steps, in order, each in a shell of its own")
    )
    script: Annotated[str, AfterValidator(_command)] | None = Field(
        default=None, description="in place of `cmds`: one step of many lines"
    )
    id: Annotated[str, AfterValidator(_name)] | None = Field(
        default=None, description="what it is known by, so that `name` may change"
    )
    description: str = Field(default="", description="what it is for, shown beside its name")
    tags: Texts = Field(default=(), description="words to find it by")
    runbook: str = Field(default="", description="a link that is shown with every failure")
    source: Annotated[Source, Shown("")] = Field(default=Source(), exclude=True)
    parent: Annotated[str, Shown("")] = Field(
        default="", description="the uid, in hexadecimal, of the schedule that it follows"
    )
    same_worker: Annotated[bool, Shown("")] = Field(
        default=False,
        description="whether it follows on its parent's worker; `workers` is the parent's then",
    )

    @functools.cached_property
    def uid(self) -> bytes:
        """What it keeps for life: 16 bytes (DESIGN section 4)."""
        return schedule_uid(self.name, self.id)

    @functools.cached_property
    def selector(self) -> Selector:
        """`workers`, read."""
        return Selector.parse(self.workers)

    @property
    def floating(self) -> bool:
        """Whether the server gives its starts to workers, one by one, rather than the schedule."""
        return self.pick == "one" or (self.after is not None and not self.same_worker)

    @property
    def parent_uid(self) -> bytes | None:
        """The uid of the schedule that it follows, or None."""
        return bytes.fromhex(self.parent) or None

    @functools.cached_property
    def calendars(self) -> tuple[str, ...]:
        """Its calendar expressions in normalised form, also those that its crontab lines mean."""
        own = [str(Realtime.parse(text)) for text in self.on_calendar]
        lines = [text for line in self.cron for text in Cron.parse(line).expressions]
        return tuple(dict.fromkeys((*own, *lines)))

    @functools.cached_property
    def instants(self) -> tuple[int, ...]:
        """When it is due `at`, in microseconds since 1970 (UTC), ascending."""
        times = (text for text in self.at if text != BOOT)
        return tuple(sorted({parse_moment(text, self.timezone) for text in times}))

    @property
    def on_boot(self) -> bool:
        """Whether it is due once for each boot."""
        return BOOT in self.at or any(Cron.parse(line).at_boot for line in self.cron)

    @property
    def anchor_us(self) -> int:
        """What `every` counts from, in microseconds since 1970 (UTC); 0 where that is drawn."""
        if self.anchor in (None, RANDOM_ANCHOR):
            return 0
        return parse_moment(str(self.anchor), self.timezone)

    @property
    def steps(self) -> tuple[str, ...]:
        """The commands of a run, in order."""
        return self.cmds if self.script is None else (self.script,)

    @property
    def bare_name(self) -> str:
        """Its name without the worker that the spelling of barto 1.x puts before it."""
        return self.name.rpartition("/")[2]


_WRONG: Final = {
    "on": 'a calendar is written on_calendar = "…"',
    "calendar": 'a calendar is written on_calendar = "…"',
    "schedule": 'a calendar is written on_calendar = "…"',
    "oncalendar": 'a calendar is written on_calendar = "…"',
    "OnCalendar": 'a calendar is written on_calendar = "…"',
    "hosts": 'the machines are written workers = "…"',
    "host": 'the machines are written workers = "…"',
    "worker": 'the machines are written workers = "…"',
    "targets": 'the machines are written workers = "…"',
    "command": 'commands are written cmds = ["…"]',
    "commands": 'commands are written cmds = ["…"]',
    "cmd": 'commands are written cmds = ["…"]',
    "run": 'commands are written cmds = ["…"]',
    "tz": 'the zone is written timezone = "…"',
    "time_zone": 'the zone is written timezone = "…"',
    "user": 'the user is written run_as = "…"',
    "environment": 'variables are written env = { NAME = "…" }',
    "working_directory": 'the directory is written cwd = "…"',
    "workdir": 'the directory is written cwd = "…"',
    "dir": 'the directory is written cwd = "…"',
    "disabled": "a schedule is switched off by enabled = false",
    "crontab": 'a crontab line is written cron = "…"',
    "interval": 'an interval is written every = "…"',
    "depends_on": 'what it follows is written after = "…"',
    "needs": 'what it follows is written after = "…"',
    "retry": "further attempts are written retries = 3",
    "max_retries": "further attempts are written retries = 3",
    "concurrency": 'what becomes of a start while a run goes on is written overlap = "…"',
    "roaming": "is of a worker: it stands in bartoc.toml",
    "max_running": "is of a worker: it stands in bartoc.toml",
}
_TRIGGERS: Final = ("on_calendar", "cron", "every", "at", "after")
_LISTS: Final = {
    "on_calendar": 'a calendar such as "*-*-* 02:00"',
    "cron": 'a crontab line such as "0 2 * * *"',
    "at": 'a time such as "2027-01-01T06:00:00Z"',
}
_COMPANIONS: Final = {"anchor": "every", "when": "after"}
"""Keys that mean nothing without another."""
_HIDDEN: Final = {
    "source": "no such key",
    "parent": 'what it follows is written after = "…"',
    "same_worker": "no such key; it is so where workers is left out beside after",
}
"""Fields that are not keys, with what is said to whoever writes one."""
SCHEDULE: Final = Schema(Definition, wrong=_WRONG, elsewhere=frozenset(_HIDDEN))
DEFAULTS: Final = Schema(
    Policies,
    wrong={
        **_WRONG,
        **dict.fromkeys(
            ("name", "id", "workers", "cmds", "script", *_TRIGGERS, *_COMPANIONS),
            "each schedule has its own; it has no default",
        ),
        **dict.fromkeys(
            ("description", "tags", "runbook"), "is no policy; write it in the schedule"
        ),
    },
)

MAIN_KEYS: Final = frozenset({"timezone", "defaults", "schedule", "schedules"})
"""The top-level keys that this module reads."""


# -- reading --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the files define, in order of files and lines; or, with faults, nothing."""

    definitions: tuple[Definition, ...] = ()
    faults: tuple[Fault, ...] = ()
    sound: tuple[Definition, ...] = ()
    """Those without a fault of their own, also where others have one: to be judged, not used."""

    def require(self) -> tuple[Definition, ...]:
        """The definitions. Raises `InvalidConfig` with every fault there is."""
        if self.faults:
            raise InvalidConfig(self.faults)
        return self.definitions


@dataclass(slots=True)
class _Collected:
    definitions: list[Definition] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    names: dict[str, Source] = field(default_factory=dict)
    """Where each name was first given, also by a schedule that is wrong otherwise."""
    homeless: set[str] = field(default_factory=set)
    """The names of those that follow another and do not say where they run."""


def load_schedules(files: Iterable[tuple[str, str]]) -> tuple[Definition, ...]:
    """The schedules of `files`: (name for messages, text), bartos.toml first, then schedules.d.

    Raises `InvalidConfig` with every fault of every file.
    """
    documents, faults = [], []
    for file, text in files:
        try:
            documents.append(read(file, text))
        except TomlError as error:
            faults.append(syntax_fault(error))
    loaded = read_schedules(documents)
    return Loaded(loaded.definitions, (*faults, *loaded.faults)).require()


def syntax_fault(error: TomlError) -> Fault:
    """The fault that a text is not TOML."""
    return Fault(f"{error.file}:{error.line}", error.message, error.file, error.line)


def read_schedules(documents: Sequence[Document], *, timezone: str | None = None) -> Loaded:
    """The schedules of documents: bartos.toml first, then those of schedules.d in order.

    The `timezone` and `[defaults]` of the first count for all, those of another for itself.
    `timezone`, if given, stands for the first document's, and is right.
    """
    collected = _Collected()
    common: Values = {}
    for number, document in enumerate(documents):
        own = _defaults(document, collected, main=number == 0)
        if number == 0 and timezone is not None:
            own.setdefault(("timezone",), Value(timezone, ("timezone",), document))
        defaults = _merged(common, own)
        if number == 0:
            common = defaults
        else:
            _no_other_keys(document, collected)
        for value, name in _tables(document, collected):
            _read_one(value, name, defaults, collected)
    _no_doubles(collected)
    _follow(collected)
    sound = tuple(collected.definitions)
    if collected.faults:
        return Loaded((), InvalidConfig(collected.faults).faults, sound)
    return Loaded(sound, (), sound)


def _defaults(document: Document, collected: _Collected, *, main: bool) -> Values:
    """What holds for the schedules of a document that do not say, as far as it is right."""
    values: Values = {}
    zone = document.data.get("timezone")
    if zone is not None:
        values["timezone",] = Value(zone, ("timezone",), document)
    table = document.data.get("defaults", {})
    if isinstance(table, Mapping):
        reading = read_table(DEFAULTS, table, document, ("defaults",), subject="[defaults] ")
    else:
        reading = Reading()
        collected.faults.append(
            Value(None, ("defaults",), document).fault(f"expected a table, found {found(table)}")
        )
    offline = reading.values.get(("offline_max",))
    if offline is not None and not main:
        reading.faults.append(_offline_fault(offline, "[defaults] "))
        del reading.values["offline_max",]
    collected.faults += reading.faults
    values |= reading.values
    # Judged here once, not in each schedule; what is wrong is left out, to find more.
    for path, value in list(values.items()):
        subject = "[defaults] " if value.path[0] == "defaults" else ""
        faults = build(Policies, {path: value}, subject=subject).faults
        if faults:
            collected.faults += faults
            del values[path]
    return values


def _offline_fault(value: Value, subject: str) -> Fault:
    whole = value.fault("")
    message = "is one for all workers; write it in the [defaults] of bartos.toml"
    return Fault(whole.place, f"{subject}offline_max: {message}", whole.file, whole.line)


def _merged(below: Values, above: Values) -> Values:
    """Values of two layers; variables of the environment add up."""
    merged = merge(below, above)
    lower, upper = below.get(("env",)), above.get(("env",))
    if lower and upper and isinstance(lower.value, dict) and isinstance(upper.value, dict):
        merged["env",] = Value({**lower.value, **upper.value}, upper.path, upper.document)
    return merged


def _no_other_keys(document: Document, collected: _Collected) -> None:
    for key in document.data:
        if key not in MAIN_KEYS:
            message = f"no such key in a file of schedules{nearest(key, sorted(MAIN_KEYS))}"
            collected.faults.append(Value(None, (key,), document).fault(message))


def _tables(document: Document, collected: _Collected) -> list[tuple[Value, str | None]]:
    """The tables of schedules in a document; with the worker, where barto 1.x's spelling has it."""
    tables: list[tuple[Value, str | None]] = []

    def fault(path: Path, message: str) -> None:
        collected.faults.append(Value(None, path, document).fault(message))

    own = document.data.get("schedule", [])
    if isinstance(own, list):
        for index, item in enumerate(own):
            path: Path = ("schedule", index)
            if isinstance(item, dict):
                tables.append((Value(item, path, document), None))
            else:
                fault(path, f"expected a table, found {found(item)}")
    elif isinstance(own, dict) and all(isinstance(item, dict) for item in own.values()) and own:
        name = next(iter(own))
        message = f'write [[schedule]], and in it name = "{name}"'
        fault(("schedule", name), message)
    else:
        fault(("schedule",), "a schedule begins with [[schedule]], in double brackets")

    old = document.data.get("schedules", {})
    if isinstance(old, list):
        fault(("schedules",), "each schedule is written [[schedule]], without s")
    elif not isinstance(old, dict):
        fault(("schedules",), f"expected [[schedule]], found {found(old)}")
    else:
        for worker, entry in old.items():
            tables += _old_tables(document, worker, entry, collected)
    return tables


def _old_tables(
    document: Document, worker: str, entry: object, collected: _Collected
) -> list[tuple[Value, str | None]]:
    at: Path = ("schedules", worker)
    if isinstance(entry, dict):
        for key in entry:
            if key != "schedules":
                message = 'expected schedules = [ { name = "…", on_calendar = "…", cmds = ["…"] } ]'
                collected.faults.append(Value(None, (*at, key), document).fault(message))
        at, entry = (*at, "schedules"), entry.get("schedules", [])
    if not isinstance(entry, list):
        message = f"expected a list of schedules, found {found(entry)}"
        collected.faults.append(Value(None, at, document).fault(message))
        return []
    tables: list[tuple[Value, str | None]] = []
    for index, item in enumerate(entry):
        if isinstance(item, dict):
            tables.append((Value(item, (*at, index), document), worker))
        else:
            message = f"expected a table, found {found(item)}"
            collected.faults.append(Value(None, (*at, index), document).fault(message))
    return tables


def _read_one(value: Value, worker: str | None, defaults: Values, collected: _Collected) -> None:
    document, table = value.document, value.value
    assert document is not None and isinstance(table, dict)
    given = table.get("name")
    subject = _subject(given, worker, value)
    reading = read_table(SCHEDULE, table, document, value.path, subject=subject)
    faults = list(reading.faults)

    def fault(message: str, *below: str) -> None:
        whole = Value(None, (*value.path, *below), document).fault("")
        faults.append(Fault(whole.place, f"{subject}{message}", whole.file, whole.line))

    own = reading.values
    homeless = False
    here = Source(
        document.file,
        document.line(value.path),
        {
            path: document.line(own[path[:1]].path + path[1:])
            for path in (
                *((key,) for key in ("workers", "run_as", "script", "every", "anchor", "after")),
                *_items(table, "on_calendar", "cron", "at", "cmds"),
            )
            if path[:1] in own
        },
    )
    for key, message in _HIDDEN.items():
        if key in table:
            fault(f"{key}: {message}", key)
    if ("offline_max",) in own:
        faults.append(_offline_fault(own.pop(("offline_max",)), subject))
    if worker is not None:
        if ("workers",) in own:
            fault(f'workers: [schedules.{worker}] says it already, "{worker}"', "workers")
        selector = worker if re.fullmatch(r"[\w.-]+", worker) else f'"{worker}"'
        own["workers",] = Value(selector, value.path, document)
    elif ("workers",) not in own and "workers" not in table:
        homeless = "after" in table
        if not homeless and not any(key in table for key in _PLACES):
            fault('workers is left out: where does it run? "*" is every worker')
        own["workers",] = Value("*", value.path, document)
    if isinstance(given, str):
        faults += _name_faults(own["name",], given, worker, subject)
        name = given if worker is None else f"{worker}/{given}"
        first = collected.names.setdefault(name, here)
        if first is not here:
            fault(f"the name is taken: it stands at {first} too", "name")
        own["name",] = Value(name, own["name",].path, document)
    elif "name" not in table:
        fault('name is left out; write name = "…"')
        own["name",] = Value("?", value.path, document)
    triggers = [key for key in table if key in _TRIGGERS]
    if not triggers and not any(key in table for key in _NEARLY_TRIGGERS):
        ways = ", ".join(_TRIGGERS[1:-1])
        fault(
            'on_calendar is left out: when does it run? As "*-*-* 02:00"; or write '
            f"{ways} or {_TRIGGERS[-1]}"
        )
    if len(triggers) > 1:
        fault(f"{' and '.join(triggers)}: a schedule has one trigger; keep one", triggers[1])
    for key, example in _LISTS.items():
        if table.get(key) == []:
            fault(f"{key}: expected {example}, found an empty list", key)
    for key, other in _COMPANIONS.items():
        if key in table and other not in table:
            fault(f"{key}: means nothing without {other}", key)
    if "cmds" in table and "script" in table:
        fault("cmds and script: give one of the two", "script")
    elif table.get("cmds") == []:
        fault("cmds: there is no command in it", "cmds")
    elif not any(key in table for key in _COMMANDS):
        fault('cmds is left out: what does it run? As cmds = ["…"]')
    built = build(
        Definition,
        _merged(defaults, own),
        missing=value,
        subject=subject,
        given={"source": here},
    )
    faults += built.faults
    if built.settings is not None:
        faults += _time_faults(built.settings, own, subject)
    if faults or built.settings is None:
        collected.faults += faults
        return
    collected.definitions.append(built.settings)
    if homeless:
        collected.homeless.add(built.settings.name)


def _time_faults(definition: Definition, own: Values, subject: str) -> Iterator[Fault]:
    """What is wrong with times, which only the schedule's zone makes instants."""
    times: list[tuple[tuple[str, *tuple[int, ...]], str]]
    times = [(("at", index), text) for index, text in enumerate(definition.at) if text != BOOT]
    if definition.anchor not in (None, RANDOM_ANCHOR):
        times.append((("anchor",), str(definition.anchor)))
    for (key, *below), text in times:
        try:
            parse_moment(text, definition.timezone)
        except UserError as error:
            value = own[key,]
            index = tuple(below) if isinstance(value.value, list) else ()
            whole = value.fault("", index)
            named = dotted((key, *index))
            yield Fault(whole.place, f"{subject}{named}: {error}", whole.file, whole.line)


def _items(table: Mapping[str, object], *keys: str) -> Iterator[Path]:
    """The paths of the items of lists."""
    for key in keys:
        value = table.get(key)
        yield from ((key, index) for index in range(len(value) if isinstance(value, list) else 1))


_NEARLY_TRIGGERS: Final = (
    *("on", "calendar", "schedule", "oncalendar", "OnCalendar"),
    *("crontab", "interval", "depends_on", "needs"),
)
_PLACES: Final = ("hosts", "host", "worker", "targets")
"""Whoever wrote one of these is told what is right at its line, not also that it is missing."""
_COMMANDS: Final = ("cmds", "script", "command", "commands", "cmd", "run")


def _subject(given: object, worker: str | None, value: Value) -> str:
    """How messages name a schedule: by its name, else by its place among the others."""
    if isinstance(given, str):
        return f'schedule "{given if worker is None else f"{worker}/{given}"}": '
    return f"{'.'.join(str(part) for part in value.path[:-1])}, the {_ordinal(value)}: "


def _ordinal(value: Value) -> str:
    number = int(value.path[-1]) + 1
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10 if number not in {11, 12, 13} else 0, "th")
    return f"{number}{ending}"


def _name_faults(value: Value, given: str, worker: str | None, subject: str) -> list[Fault]:
    """barto 1.x took any text; a name of today stands in commands and links."""
    try:
        if worker is None:
            _name(given)
        elif not given or len(given) > 120 or not given.isprintable() or "/" in given:
            raise UserError(f'expected 1 to 120 printable characters without "/", found "{given}"')
    except UserError as error:
        whole = value.fault("")
        return [Fault(whole.place, f"{subject}name: {error}", whole.file, whole.line)]
    return []


def _no_doubles(collected: _Collected) -> None:
    """Two schedules with one uid would share their history: an `id` is that of another's name."""
    uids: dict[bytes, Definition] = {}
    for definition in collected.definitions:
        other = uids.setdefault(definition.uid, definition)
        if other is not definition and other.name != definition.name:
            source = definition.source
            key = "id" if definition.id is not None else "name"
            text = (
                f'schedule "{definition.name}": {key}: "{definition.id or definition.name}" '
                f'already stands for schedule "{other.name}" at {other.source}'
            )
            collected.faults.append(Fault(str(source), text, source.file, source.line))


# -- who follows whom -----------------------------------------------------------------------------


def _follow(collected: _Collected) -> None:
    """Find the parent of each schedule that follows another, and with it where it runs."""
    by_name = {definition.name: definition for definition in collected.definitions}
    followed: dict[str, Definition | None] = {}  # with its parent; None where that is at fault
    for definition in collected.definitions:
        chain: dict[str, Definition] = {}  # from a child to its parent
        current: Definition | None = definition
        while current is not None and current.name not in followed:
            if current.name in chain:
                members = list(chain.values())
                _circle(members[list(chain).index(current.name) :], collected)
                break
            chain[current.name] = current
            current = by_name.get(_parent_name(current, collected) or "")
        for name, child in reversed(chain.items()):
            parent = _parent_name(child, collected)
            if child.after is None:
                followed[name] = child
            elif parent is None:
                known = nearest(child.after, sorted(collected.names))
                message = f'no schedule is named "{child.after}"{known}'
                collected.faults.append(_after_fault(child, message))
                followed[name] = None
            else:
                followed[name] = _with_parent(child, followed.get(parent), collected)
    collected.definitions = [
        sound
        for definition in collected.definitions
        if (sound := followed[definition.name]) is not None
    ]


def _parent_name(child: Definition, collected: _Collected) -> str | None:
    """The name of the schedule that `child` follows; in barto 1.x's spelling first a neighbour."""
    if child.after is None:
        return None
    worker, slash, _ = child.name.rpartition("/")
    names = (f"{worker}/{child.after}",) if slash else ()
    return next((name for name in (*names, child.after) if name in collected.names), None)


def _with_parent(
    child: Definition, parent: Definition | None, collected: _Collected
) -> Definition | None:
    """`child` as it follows `parent`; None where it cannot."""
    if parent is None:
        return None
    found: dict[str, object] = {"after": parent.name, "parent": parent.uid.hex()}
    if child.name in collected.homeless:
        if child.pick == "all" and parent.floating:
            message = (
                f'"{parent.name}" runs on a worker that the server chooses; say where this one '
                'runs: workers = "…", or pick = "one"'
            )
            collected.faults.append(_after_fault(child, message))
            return None
        found["workers"] = parent.workers
        found["same_worker"] = child.pick == "all"
    elif "/" in child.name and child.pick == "all":
        # What stands under a worker of barto 1.x stays there, and with its neighbours.
        found["same_worker"] = child.workers == parent.workers and not parent.floating
    return child.model_copy(update=found)


def _circle(members: Sequence[Definition], collected: _Collected) -> None:
    names = " -> ".join(f'"{member.name}"' for member in (*members, members[0]))
    collected.faults.append(_after_fault(members[0], f"it follows itself: {names}"))


def _after_fault(child: Definition, message: str) -> Fault:
    place = child.source.of("after")
    text = f'schedule "{child.name}": after: {message}'
    return Fault(str(place), text, place.file, place.line)


# -- the store's form -----------------------------------------------------------------------------


def definition_json(definition: Definition) -> str:
    """All keys of a definition as JSON; where it is written is left out, as that is no change.

    The text is the same for definitions that mean the same.
    """
    return definition.model_dump_json()


def from_json(text: str) -> Definition:
    """The definition that `definition_json` wrote. Raises `ConfigError` where it cannot be used."""
    try:
        return Definition.model_validate_json(text)
    except ValidationError as error:
        raise ConfigError(f"a schedule in the database cannot be used: {error}") from error
