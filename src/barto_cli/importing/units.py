"""What does a timer of systemd, with the service that it starts, mean as a schedule?

The texts of both units go in, each with its drop-ins in the order in which they count; what comes
out says what is lost. Rules: systemd.timer(5), systemd.service(5), systemd.exec(5),
systemd.unit(5), systemd.syntax(7), systemd.time(7).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from barto_cli.importing.execs import Exec, read_exec, words
from barto_cli.importing.jobs import Found, Job, Left, description, is_text
from libbarto.errors import UserError
from libbarto.quantity import DURATION_LIMIT, format_duration
from libbarto.realtime import Realtime

TRIGGERS: Final = (
    *("OnCalendar", "OnActiveSec", "OnBootSec", "OnStartupSec", "OnUnitActiveSec"),
    "OnUnitInactiveSec",
)
CATCH_UP_MOST: Final = 72 * 3600.0
ACCURATE: Final = 60.0
"""Seconds by which a timer may be late where it does not say."""
OUTPUTS: Final = frozenset(("", "inherit", "journal", "journal+console", "kmsg", "syslog"))
NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_TIMES: Final[Mapping[str, float]] = {
    **dict.fromkeys(("", "s", "sec", "second", "seconds"), 1.0),
    **dict.fromkeys(("m", "min", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hr", "hour", "hours"), 3600.0),
    **dict.fromkeys(("d", "day", "days"), 86_400.0),
    **dict.fromkeys(("w", "week", "weeks"), 604_800.0),
    **dict.fromkeys(("M", "month", "months"), 2_629_800.0),
    **dict.fromkeys(("y", "year", "years"), 31_557_600.0),
    **dict.fromkeys(("ms", "msec"), 1e-3),
    **dict.fromkeys(("us", "usec", "µs", "μs"), 1e-6),
    **dict.fromkeys(("ns", "nsec"), 1e-9),
}
_TERM: Final = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-zµμ]*)")
_HARMLESS: Final = frozenset(
    (
        *("Description", "Documentation", "After", "Before", "DefaultDependencies", "Wants"),
        *("StartLimitIntervalSec", "StartLimitBurst", "RefuseManualStart", "RefuseManualStop"),
        *("Type", "ExecStart", "ExecStartPre", "ExecStartPost", "User", "WorkingDirectory"),
        *("Environment", "Nice", "TimeoutStartSec", "TimeoutSec", "RuntimeMaxSec"),
        *("TimeoutStopSec", "SyslogIdentifier", "RemainAfterExit", "GuessMainPID", "SyslogLevel"),
        *("WantedBy", "Also", "RequiredBy", "Alias", "KillMode", "SendSIGKILL", "SyslogFacility"),
    )
)
"""Keys of a service that are carried over, or mean nothing for one that a timer starts."""
_WAYS: Final[Mapping[str, str]] = {
    "EnvironmentFile": "write its variables into env, or begin the command with `. FILE;`",
    "OnFailure": 'a schedule with after = "…" and when = "failed" runs when this one fails',
    "Restart": "retries and retry_delay try again",
    "Group": "the user's own group is used",
    "UMask": "begin the command with `umask …;`",
    "ExecStop": "write it as a further command",
    "ExecStopPost": "write it as a further command",
    "ExecCondition": "begin the command with it and `||  exit 0`",
    "SuccessExitStatus": "end the command so that it ends with 0",
    "Slice": "each run has a cgroup of its own",
}


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit: its name, and the values of its keys by section, in order.

    An assignment of nothing has emptied what stood before it.
    """

    name: str
    sections: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)

    def values(self, section: str, key: str) -> Sequence[str]:
        """All values of a key."""
        return self.sections.get(section, {}).get(key, ())

    def value(self, section: str, key: str) -> str:
        """The last value of a key, or nothing."""
        return next(reversed(self.values(section, key)), "")


@dataclass(frozen=True, slots=True)
class Timer:
    """A timer and its service, None where that is not there.

    `user` is whose rights its commands have where the service does not say, `home` says that they
    start in the user's home and not in `/`, `zone` where its calendar is read.
    """

    timer: Unit
    service: Unit | None
    user: str
    zone: str
    home: bool = False


def parse_unit(name: str, texts: Iterable[str]) -> Unit:
    """A unit from its texts: its file, then its drop-ins (systemd.syntax(7))."""
    sections: dict[str, dict[str, list[str]]] = {}
    for text in texts:
        section = ""
        for line in _lines(text):
            header = re.fullmatch(r"\[([^\]]*)\]", line)
            if header is not None:
                section = header[1]
                continue
            key, equals, value = line.partition("=")
            if not equals:
                continue
            held = sections.setdefault(section, {}).setdefault(key.strip(), [])
            if value.strip():
                held.append(value.strip())
            else:
                held.clear()
    return Unit(name, sections)


def _lines(text: str) -> Iterable[str]:
    held = ""
    for raw in text.split("\n"):
        line = raw.strip()
        if line.startswith(("#", ";")) or (not line and not held):
            continue
        if line.endswith("\\"):
            held += f"{line[:-1]} "
            continue
        yield held + line
        held = ""
    if held.strip():
        yield held


def started(timer: Unit) -> str:
    """The name of the unit that a timer starts."""
    named = resolve(timer.value("Timer", "Unit"), timer.name)
    return named or f"{timer.name.removesuffix('.timer')}.service"


def seconds(text: str) -> float | None:
    """The seconds that a time span of systemd means; None for one that cannot be read, or no end.

    >>> seconds("5min 20s"), seconds("1.5h"), seconds("90"), seconds("infinity")
    (320.0, 5400.0, 90.0, None)
    """
    total, position = 0.0, 0
    stripped = text.strip()
    while position < len(stripped):
        term = _TERM.match(stripped, position)
        if term is None or term[2] not in _TIMES:
            return None
        total += float(term[1]) * _TIMES[term[2]]
        position = term.end()
    return total if stripped and total <= DURATION_LIMIT else None


def read_timer(found: Timer) -> Found:
    """The schedules that a timer becomes: one for its calendars, one for its interval or boot."""
    timer = found.timer
    where = timer.name
    text = "; ".join(f"{key}={value}" for key in TRIGGERS for value in timer.values("Timer", key))
    if found.service is None:
        return _left(where, text, f"what it starts, {started(timer)}, is not there")
    if not text:
        return _left(where, "", "it has no trigger that could be read")
    if not all(map(is_text, (*_all(timer), *_all(found.service)))):
        return _left(where, text, "is no text in UTF-8; write the schedule by hand")
    lost: list[str] = []
    try:
        run = _run(found, found.service, lost)
    except ValueError as error:
        return _left(where, text, f"{found.service.name}: {error}")
    if not run:
        return _left(where, text, f"{found.service.name} has no ExecStart")
    jobs, left = [], []
    base = where.removesuffix(".timer")
    for suffix, keys, own, reason in _triggers(found):
        if reason:
            left.append(Left(where, text, reason))
            continue
        said = description(
            [found.service.value("Unit", "Description") or timer.value("Unit", "Description")]
        )
        whole = {**({"description": said} if said else {}), **keys, **run}
        jobs.append(
            Job(where, text, f"{base}{suffix}", whole, (*own, *_timer_losses(timer), *lost),
                unit=where)
        )  # fmt: skip
    return Found(tuple(jobs), tuple(left))


def _all(unit: Unit) -> Iterable[str]:
    return (it for keys in unit.sections.values() for values in keys.values() for it in values)


def _left(where: str, text: str, reason: str) -> Found:
    return Found((), (Left(where, text, reason),))


# -- when -----------------------------------------------------------------------------------------

_Trigger = tuple[str, dict[str, object], list[str], str]
"""What is added to the name, keys, what is lost, or why it cannot be."""


def _triggers(found: Timer) -> list[_Trigger]:
    timer = found.timer
    made: list[_Trigger] = []
    if timer.values("Timer", "OnCalendar"):
        made.append(_calendar(found))
    boots = [
        (key, value)
        for key in ("OnBootSec", "OnStartupSec", "OnActiveSec")
        for value in timer.values("Timer", key)
    ]
    again = timer.value("Timer", "OnUnitActiveSec")
    after_end = timer.value("Timer", "OnUnitInactiveSec")
    suffix = "-again" if made else ""
    if again:
        made.append(_every(suffix, again, boots))
    elif after_end:
        made.append(
            ("", {}, [], f"OnUnitInactiveSec={after_end} counts from the end of a run, and every "
             f'from its start: write every = "…", which skips a start while a run goes on')
        )  # fmt: skip
    elif boots:
        made.append(_boot("-boot" if made else "", boots))
    return made


def _calendar(found: Timer) -> _Trigger:
    timer = found.timer
    texts = []
    for text in timer.values("Timer", "OnCalendar"):
        try:
            texts.append(str(Realtime.parse(text)))
        except UserError as error:
            said = str(error).split("\n")[0]
            return "", {}, [], f"OnCalendar={text} cannot be read: {said}"
    lost: list[str] = []
    delay = timer.value("Timer", "RandomizedDelaySec")
    if delay and (length := seconds(delay)) != 0:
        spread = [None if length is None else spread_text(text, length) for text in texts]
        if None in spread:
            lost.append(
                f"RandomizedDelaySec={delay}: every worker starts at the very time; R in "
                "on_calendar, as in *-*-* 02:R, gives each one a time of its own"
            )
        else:
            texts = [text for text in spread if text is not None]
    keys: dict[str, object] = {
        "on_calendar": texts[0] if len(texts) == 1 else texts,
        "timezone": found.zone,
        "dst_gap": "skip",
        "dst_repeat": "once",
    }
    if is_true(timer.value("Timer", "Persistent")):
        keys |= {"missed": "latest", "catch_up": format_duration(CATCH_UP_MOST)}
        lost.append("Persistent=yes: what was missed more than 72h ago is not caught up")
    else:
        keys["missed"] = "none"
    return "", keys, lost, ""


def spread_text(text: str, delay: float) -> str | None:
    """A calendar whose start is drawn within `delay` seconds after its own, each worker's for
    good, where `R` can say that; else None.

    >>> spread_text("*-*-* 02:00:00", 3600), spread_text("Mon *-*-* 02:10:00", 900)
    ('*-*-* 02:R:00', 'Mon *-*-* 02:R(10..24):00')
    """
    found = re.fullmatch(r"(?:(.*) )?([^ :]+):([0-5][0-9]):([0-5][0-9])( [A-Za-z/_+-]+)?", text)
    if found is None:
        return None
    date, hour, minute, second, zone = found.groups(default="")
    if second != "00":
        return None
    if delay % 60 == 0 and delay > 60:
        last = int(minute) + int(delay) // 60 - 1
        drawn = f"{hour}:{_range(int(minute), last)}:00"
    elif delay == int(delay) and 1 < delay <= 60:
        last = int(delay) - 1
        drawn = f"{hour}:{minute}:{_range(0, last)}"
    else:
        return None
    if last > 59:
        return None
    return str(Realtime.parse(f"{date} {drawn}{zone}"))


def _range(first: int, last: int) -> str:
    return "R" if (first, last) == (0, 59) else f"R({first:02}..{last:02})"


def _every(suffix: str, again: str, boots: Sequence[tuple[str, str]]) -> _Trigger:
    length = seconds(again)
    if length is None or length < 1:
        return suffix, {}, [], f"OnUnitActiveSec={again} is no interval that could be read"
    lost = [
        f"OnUnitActiveSec={again} counts from the last start, and from the boot; every counts from "
        "midnight of 1970 in UTC (anchor moves that), and goes on while the host sleeps"
    ]
    if boots:
        lost.append(f"{_said(boots)}: the first start after a boot is that of the interval")
    return suffix, {"every": format_duration(length), "missed": "none"}, lost, ""


def _boot(suffix: str, boots: Sequence[tuple[str, str]]) -> _Trigger:
    lost = []
    if any(seconds(value) != 0 for _, value in boots):
        lost.append(f"{_said(boots)}: it starts as soon as bartoc does; begin with sleep to wait")
    return suffix, {"at": "boot"}, lost, ""


def _said(pairs: Sequence[tuple[str, str]]) -> str:
    return ", ".join(f"{key}={value}" for key, value in pairs)


def _timer_losses(timer: Unit) -> list[str]:
    lost = []
    accuracy = timer.value("Timer", "AccuracySec")
    if accuracy and (seconds(accuracy) or 0) > ACCURATE:
        lost.append(f"AccuracySec={accuracy}: it starts at the very time, and not with others")
    if is_true(timer.value("Timer", "WakeSystem")):
        lost.append("WakeSystem=yes: no host is woken; what is missed asleep is caught up")
    return lost + [
        f"{key}=yes: a change of the clock starts nothing"
        for key in ("OnClockChange", "OnTimezoneChange")
        if is_true(timer.value("Timer", key))
    ]


# -- what, and how --------------------------------------------------------------------------------


def _run(found: Timer, service: Unit, lost: list[str]) -> dict[str, object]:
    """What a service runs, and how; empty where that is nothing. Raises `ValueError`."""
    steps: list[str] = []
    for key in ("ExecStartPre", "ExecStart", "ExecStartPost"):
        for text in service.values("Service", key):
            for command in _specified(text, service.name, lost):
                steps.append(command.as_step)
                lost += [f"{key}={it}" for it in command.lost]
    if not service.values("Service", "ExecStart"):
        return {}
    keys: dict[str, object] = {
        "run_as": resolve(service.value("Service", "User"), service.name) or found.user
    }
    _directory(found, service, keys, lost)
    _variables(service, keys, lost)
    nice = service.value("Service", "Nice")
    if re.fullmatch(r"-?[0-9]{1,2}", nice) and -20 <= int(nice) <= 19:
        keys["nice"] = int(nice)
    _limits(service, keys, lost)
    keys["cmds"] = steps
    _service_losses(service, lost)
    return keys


def _specified(text: str, name: str, lost: list[str]) -> list[Exec]:
    commands = read_exec(resolve(text, name))
    unknown = set(re.findall(r"%([A-Za-z])", text.replace("%%", ""))) - _SPECIFIERS
    lost += [f"%{it} in the command: write what it stands for" for it in sorted(unknown)]
    return commands


_SPECIFIERS: Final = frozenset("iIjJnNpP")


def resolve(text: str, name: str) -> str:
    """A text of a unit with what its specifiers stand for, as far as the name says it.

    >>> resolve("/bin/x %i 100%%", "backup@srv-www.service")
    '/bin/x srv-www 100%'
    """
    base = name.rpartition(".")[0]
    prefix, _, instance = base.partition("@")
    known = {
        **{"n": name, "N": base, "p": prefix, "i": instance, "%": "%"},
        **{"P": unescape(prefix), "I": unescape(instance)},
        **{"j": prefix.rpartition("-")[2], "J": unescape(prefix.rpartition("-")[2])},
    }
    return re.sub(r"%([A-Za-z%])", lambda found: known.get(found[1], found[0]), text)


def unescape(text: str) -> str:
    """A part of a unit's name as it was before systemd-escape(1): `srv-www` is `srv/www`."""
    plain = text.replace("-", "/")
    return re.sub(r"\\x([0-9a-f]{2})", lambda found: chr(int(found[1], 16)), plain)


def _directory(found: Timer, service: Unit, keys: dict[str, object], lost: list[str]) -> None:
    directory = service.value("Service", "WorkingDirectory").removeprefix("-")
    if directory.startswith("/") and "\0" not in directory:
        keys["cwd"] = resolve(directory, service.name)
    elif not directory and not found.home:
        keys["cwd"] = "/"
    elif directory not in {"", "~"}:
        lost.append(f"WorkingDirectory={directory}: write it as cwd")


def _variables(service: Unit, keys: dict[str, object], lost: list[str]) -> None:
    env: dict[str, str] = {}
    for text in service.values("Service", "Environment"):
        for word, _ in words(resolve(text, service.name)):
            name, equals, value = word.partition("=")
            if equals and NAME.fullmatch(name) and not name.startswith("BARTO_"):
                env[name] = value
            else:
                lost.append(f"Environment={word}: is no variable that a schedule can have")
    if env:
        keys["env"] = env


def _limits(service: Unit, keys: dict[str, object], lost: list[str]) -> None:
    oneshot = service.value("Service", "Type") == "oneshot"
    named = ("TimeoutStartSec", "TimeoutSec") if oneshot else ("RuntimeMaxSec",)
    text = next((it for key in named if (it := service.value("Service", key))), "")
    length = seconds(text)
    if length:
        keys["timeout"] = format_duration(max(length, 1e-6))
    stop = service.value("Service", "TimeoutStopSec") or service.value("Service", "TimeoutSec")
    patience = seconds(stop)
    if patience is not None:
        keys["kill_after"] = format_duration(patience)
    kind = service.value("Service", "Type")
    if kind in {"forking", "notify", "notify-reload", "dbus"}:
        lost.append(f"Type={kind}: a run ends with its command, and with it whatever it left")


def _service_losses(service: Unit, lost: list[str]) -> None:
    """What else the service says, which no schedule does."""
    others: list[str] = []
    for section in ("Unit", "Service"):
        for key in service.sections.get(section, {}):
            value = service.value(section, key)
            if key in _HARMLESS or not value:
                continue
            if key in {"StandardOutput", "StandardError"}:
                if value not in OUTPUTS:
                    lost.append(f"{key}={value}: what it prints is kept with the run")
            elif key in {"StandardInput"} and value == "null":
                continue
            elif key in _WAYS:
                lost.append(f"{key}={value}: {_WAYS[key]}")
            elif key.startswith(("Condition", "Assert")):
                lost.append(f"{key}={value}: begin the command with a test of it")
            else:
                others.append(key)
    if others:
        lost.append(
            f"of {service.name}: {', '.join(others)}; a command that needs them can start the "
            f"service: systemctl start --wait {service.name}"
        )


def is_true(text: str) -> bool:
    """Whether a text means yes, as systemd reads it."""
    return text.strip().lower() in {"1", "yes", "y", "true", "t", "on"}
