"""When does a schedule run? The command `calendar`: without a server, and without a configuration.

It imports little, so that it answers at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, TextIO

from barto_cli import times
from barto_cli.asked import Wanted
from barto_cli.files import read_file
from barto_cli.render import Column, Format, Listing, Row, Screen, json_text, lines_of, many, plain
from libbarto.errors import UserError
from libbarto.identity import calendar_seed, schedule_uid
from libbarto.places import schedule_files, shown_path
from libbarto.realtime import Realtime, words, zones
from libbarto.realtime.doubts import Asked, Doubt, doubts
from libbarto.realtime.preview import Rules, Start, is_span, upcoming

FOUND: Final = 1
"""How a check ends that found something (DESIGN section 9)."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where and how the answer is written."""

    out: TextIO
    screen: Screen
    form: Format
    utc: bool

    def write(self, lines: Iterable[str]) -> None:
        """Write lines."""
        for line in lines:
            self.out.write(f"{line}\n")


def answer(wanted: Wanted, form: Format, utc: bool) -> int:
    """Answer on standard output, and return the exit code; as `run`."""
    from barto_cli.given import screen_of, standard_output

    codes: list[int] = []  # none where whoever read it has gone
    with standard_output() as out:
        codes.append(run(wanted, Surroundings(out, screen_of(out, utc=utc), form, utc)))
    return sum(codes)


def run(wanted: Wanted, to: Surroundings) -> int:
    """Answer, and return the exit code. Raises `UserError` for what cannot be read."""
    if wanted.check is not None:
        if wanted.expressions:
            raise UserError("--check reads a file: leave the expressions out")
        return check(Path(wanted.check), wanted.workers, to)
    if not wanted.expressions:
        raise UserError("name a calendar, as 'Mon..Fri 02:30', or a file with --check")
    for key, valid in (("dst_gap", ("next", "skip")), ("dst_repeat", ("auto", "once"))):
        if getattr(wanted, key) not in valid:
            flag = f"--{key.replace('_', '-')}"
            raise UserError(f"{flag} is {' or '.join(valid)}, not {getattr(wanted, key)}")
    shown = _shown(wanted, to)
    if to.form is Format.JSON:
        to.write([json_text(_facts(shown, to.screen.now), indent=2)])
    elif to.form is Format.TABLE:
        to.write(_for_people(shown, to))
    else:
        rows = [_row(start, shown.kind, to.screen.now) for start in shown.starts]
        to.write(lines_of(Listing((), rows, _KEYS), to.form, to.screen))
    return 0


# -- what is shown --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Shown:
    """What is known of the calendars: `kind` is "exact", "range" or "example" of times."""

    calendars: tuple[Realtime, ...]
    meaning: str
    rules: Rules
    starts: tuple[Start, ...]
    kind: str
    boot: bool
    doubts: tuple[Doubt, ...]


def _shown(wanted: Wanted, to: Surroundings) -> Shown:
    calendars, boot = _read(wanted)
    skip = wanted.systemd
    rules = Rules(
        _zone(wanted.tz, to),
        "skip" if skip else wanted.dst_gap,
        "once" if skip else wanted.dst_repeat,
    )
    zone = times.Zone(rules.timezone, zones.load(rules.timezone).tzinfo)
    since = to.screen.now if wanted.since is None else times.when(wanted.since, to.screen.now, zone)
    after = (since - zones.EPOCH) // timedelta(microseconds=1)
    if wanted.since is not None:
        after -= 1  # from this time on: the time itself counts
    bound, kind = _bound(calendars, wanted)
    meaning = [words.describe_boot()] if boot else []
    meaning += [words.describe_all(calendar.parts for calendar in calendars)] if calendars else []
    asked = Asked(
        calendars, rules.timezone, dst_gap=rules.dst_gap, dst_repeat=rules.dst_repeat, workers=1
    )
    return Shown(
        calendars,
        "; ".join(meaning),
        rules,
        tuple(upcoming(bound, after, wanted.limit, rules)),
        kind,
        boot,
        tuple(doubts(asked, after)),
    )


def _read(wanted: Wanted) -> tuple[tuple[Realtime, ...], bool]:
    """The calendars, and whether the boot is meant too."""
    if not wanted.cron:
        return tuple(Realtime.parse(text.strip()) for text in wanted.expressions), False
    from libbarto.realtime.cron import Cron

    lines = [Cron.parse(text.strip()) for text in wanted.expressions]
    texts = dict.fromkeys(text for line in lines for text in line.expressions)
    return tuple(map(Realtime.parse, texts)), any(line.at_boot for line in lines)


def _zone(tz: str | None, to: Surroundings) -> str:
    """The zone that is named, else the reader's, as far as that is an IANA name."""
    if tz is not None:
        return zones.load(tz).name  # raises where there is none
    here = "UTC" if to.utc else times.zone_here().name
    return here if zones.is_zone(here) else "UTC"


def _bound(calendars: Sequence[Realtime], wanted: Wanted) -> tuple[tuple[Realtime, ...], str]:
    """The calendars with `R` drawn, or as they are where its range is to be shown."""
    if not any(calendar.has_random for calendar in calendars):
        return tuple(calendars), "exact"
    named = wanted.worker is not None or wanted.schedule is not None
    if not named and all(map(is_span, calendars)):
        return tuple(calendars), "range"
    uid = _uid(wanted.worker or "")
    seed = calendar_seed(schedule_uid(wanted.schedule or ""), uid or _stand_in(wanted.worker))
    kind = "exact" if uid is not None and wanted.schedule is not None else "example"
    return tuple(calendar.bind(seed) for calendar in calendars), kind


def _uid(text: str) -> bytes | None:
    """A worker's uid, with or without hyphens, or None for what is none."""
    digits = text.replace("-", "")
    try:
        return bytes.fromhex(digits) if len(digits) == 32 else None
    except ValueError:
        return None


def _stand_in(name: str | None) -> bytes:
    """A uid for an example: a worker's own is known to its state directory and the server."""
    return schedule_uid(name or "")


# -- for programs ---------------------------------------------------------------------------------

_KEYS: Final = ("at", "local", "zone", "until", "in_seconds", "note")


def _moment(instant: int, zone: str) -> datetime:
    return (zones.EPOCH + timedelta(microseconds=instant)).astimezone(zones.load(zone).tzinfo)


def _row(start: Start, kind: str, now: datetime) -> dict[str, object]:
    at = _moment(start.at, "UTC")
    return {
        "at": at,
        "local": _moment(start.at, start.zone).isoformat(),
        "zone": start.zone,
        "until": _moment(start.until, "UTC") if kind == "range" else None,
        "in_seconds": (at - now).total_seconds(),
        "note": start.note,
    }


def _facts(shown: Shown, now: datetime) -> dict[str, object]:
    """All of it as one object."""
    return {
        "calendars": [
            {"normalized": str(calendar), "words": calendar.describe()}
            for calendar in shown.calendars
        ],
        "normalized": "; ".join(map(str, shown.calendars)),
        "words": shown.meaning,
        "zone": shown.rules.timezone,
        "dst_gap": shown.rules.dst_gap,
        "dst_repeat": shown.rules.dst_repeat,
        "at_boot": shown.boot,
        "times": shown.kind,
        "next": [_row(start, shown.kind, now) for start in shown.starts],
        "doubts": [_doubt(doubt) for doubt in shown.doubts],
    }


def _doubt(doubt: Doubt) -> dict[str, object]:
    return {
        "code": doubt.code,
        "message": doubt.message,
        "fix": doubt.fix,
        "may_be_meant": doubt.gentle,
    }


# -- for people -----------------------------------------------------------------------------------


def _for_people(shown: Shown, to: Surroundings) -> Iterator[str]:
    for calendar in shown.calendars:
        yield from _labelled("normalised", str(calendar), to.screen)
    yield from _labelled("in words", shown.meaning, to.screen)
    yield from _labelled("zone", shown.rules.timezone, to.screen)
    remark = _remark(shown)
    if remark:
        yield from _labelled("times", remark, to.screen)
    yield ""
    if not shown.starts:
        yield "only then" if shown.boot and not shown.calendars else "never: nothing is planned"
    rows = [
        {"start": start, "seconds": _row(start, shown.kind, to.screen.now)["in_seconds"]}
        for start in shown.starts
    ]
    yield from lines_of(Listing(_columns(shown, to), rows), Format.TABLE, to.screen)
    told = [doubt for doubt in shown.doubts if shown.starts or doubt.code.startswith("never")]
    if told:
        yield ""
    for doubt in told:
        yield from _labelled("note", str(doubt), to.screen)


def _labelled(label: str, text: str, screen: Screen) -> Iterator[str]:
    """`label  text`, in as many lines as the terminal needs."""
    lead = f"{label:<10}  "
    lines = [plain(text)]
    if screen.width is not None and len(lead) + len(text) > screen.width:
        import textwrap

        lines = textwrap.wrap(plain(text), max(20, screen.width - len(lead)))
    for number, line in enumerate(lines):
        yield f"{lead if number == 0 else ' ' * len(lead)}{line}"


def _remark(shown: Shown) -> str:
    if shown.kind == "range":
        return (
            "each worker has its own, drawn once: FROM is the earliest, TO the latest; with "
            "--worker UID --schedule NAME those of one"
        )
    if shown.kind == "example":
        return (
            "each worker has its own: this is one example; --worker UID and --schedule NAME "
            "together show those of one"
        )
    if any(calendar.has_random for calendar in shown.calendars):
        return "those of this worker"
    return ""


def _columns(shown: Shown, to: Surroundings) -> list[Column]:
    names = {start.zone for start in shown.starts}
    where = next(iter(names)) if len(names) == 1 else ""
    now = to.screen.now

    def time(instant: int, zone: str) -> str:
        at = _moment(instant, zone)
        text = times.shown(at, times.Zone(zone, at.tzinfo), now)
        return text + (f".{at.microsecond:06}".rstrip("0") if at.microsecond else "")

    def local(row: Row, *, until: bool = False) -> str:
        start = row["start"]
        assert isinstance(start, Start)
        instant = start.until if until else start.at
        short = start.zone if len(names) > 1 else str(_moment(instant, start.zone).tzname())
        text = time(instant, start.zone)
        return text if where == "UTC" else f"{text} {short}"

    def utc(row: Row) -> str:
        start = row["start"]
        assert isinstance(start, Start)
        return time(start.at, "UTC")

    def note(row: Row) -> str:
        start = row["start"]
        assert isinstance(start, Start)
        return start.note

    title = "FROM" if shown.kind == "range" else "WHEN"
    title += f" ({where})" if where else ""
    noted = any(start.note for start in shown.starts)
    columns = [Column("at", title, local, least=None)]
    if shown.kind == "range":
        columns.append(Column("until", "TO", lambda row: local(row, until=True), least=None))
    elif to.utc and where != "UTC":
        columns = [Column("utc", "WHEN (UTC)", utc, least=None)]
    elif where != "UTC" and not (noted and to.screen.width is not None and to.screen.width < 90):
        columns.append(Column("utc", "UTC", utc, useful=1, least=None, spare=True))
    columns.append(Column("in", "FROM NOW", lambda row: from_now(row["seconds"]), least=None))
    if noted:
        columns.append(Column("note", "NOTE", note, useful=2))
    return columns


def from_now(seconds: object) -> str:
    """How long it is until then, in two units at most.

    >>> [from_now(it) for it in (0.4, 59, 11520, 90_000, 40_000_000, -61)]
    ['now', 'in 59s', 'in 3h 12m', 'in 1d 1h', 'in 462d 23h', '1m 1s ago']
    """
    assert isinstance(seconds, int | float)
    left = int(abs(seconds))
    if left == 0:
        return "now"
    parts: list[str] = []
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count or parts:
            parts.append(f"{count}{unit}")
        if len(parts) == 2:
            break
    text = " ".join(part for part in parts if not part.startswith("0"))
    return f"in {text}" if seconds > 0 else f"{text} ago"


# -- the check ------------------------------------------------------------------------------------


def check(main: Path, workers: int | None, to: Surroundings) -> int:
    """Say what is wrong with the triggers of a file, or was probably not meant."""
    from libbarto.findings import findings
    from libbarto.toml_lines import Document, TomlError, read
    from libbarto.triggers import read_triggers

    documents: list[Document] = []
    rows: list[dict[str, object]] = []
    for path in (main, *schedule_files(main)):
        name = shown_path(path)
        try:
            documents.append(read(name, read_file(path)))
        except TomlError as error:
            documents.append(read(name, ""))
            rows.append(_finding("error", name, error.line, "", "", "toml", error.message, ""))
    triggers = read_triggers(documents, workers)
    for problem in triggers.problems:
        place = (problem.file, problem.number, problem.schedule)
        rows.append(_finding("error", *place, "", "trigger", problem.message, ""))
    now = (to.screen.now - zones.EPOCH) // timedelta(microseconds=1)
    for found in findings(triggers.schedules, now):
        doubt = found.doubt
        # That a clock change is dealt with is no doubt, and yet something to know.
        kind = "note" if doubt.gentle and doubt.code != "clock-change" else "doubt"
        rows.append(
            _finding(
                kind,
                *(found.file, found.number, found.schedule, found.text),
                *(doubt.code, doubt.message, doubt.fix),
            )
        )
    rows.sort(key=lambda row: (str(row["file"]), int(str(row["line"]))))
    count = len(triggers.schedules) + len({it.schedule for it in triggers.problems})
    if to.form is Format.TABLE:
        to.write(_report(rows, count))
    else:
        to.write(lines_of(Listing((), rows, _FINDING_KEYS), to.form, to.screen))
    return FOUND if any(row["kind"] != "note" for row in rows) else 0


_FINDING_KEYS: Final = (
    *("kind", "file", "line", "schedule", "calendar", "code", "message", "fix"),
)


def _finding(*values: object) -> dict[str, object]:
    """A row, of the values of `_FINDING_KEYS`."""
    return dict(zip(_FINDING_KEYS, values, strict=True))


def _report(rows: Sequence[Row], schedules: int) -> Iterator[str]:
    """A finding a line, as `bartos check` has them, and a summary."""
    for row in rows:
        schedule = f'schedule "{plain(row["schedule"])}": ' if row["schedule"] else ""
        calendar = f'"{plain(row["calendar"])}" ' if row["calendar"] else ""
        message = "\n".join(map(plain, str(row["message"]).split("\n")))
        fix = f"; {plain(row['fix'])}" if row["fix"] else ""
        yield (
            f"{plain(row['file'])}:{row['line']}: {row['kind']}: {schedule}{calendar}{message}{fix}"
        )
    kinds = [row["kind"] for row in rows]
    counts = [many(kinds.count(kind), kind) for kind in ("error", "doubt", "note")]
    yield f"{many(schedules, 'schedule')}: {', '.join(counts)}"
