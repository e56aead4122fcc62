"""What may be asked of the command `calendar`? One table of options, from which Typer makes its
command line and `barto_cli.start` reads what is plain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

SHOWN: Final = 10
MOST: Final = 1000


class Option(NamedTuple):
    """How an option is written and told: `metavar` is empty for a switch."""

    flags: tuple[str, ...]
    help: str
    metavar: str = ""


OPTIONS: Final = {
    "tz": Option(
        ("--tz",), "The zone it is read in, as Europe/Berlin; left out: this host's.", "ZONE"
    ),
    "limit": Option(("-n", "--limit"), "Planned starts at most, the next.", "N"),
    "since": Option(
        ("--from",),
        "From this time on, not from now: today, 2027-03-28, '2027-03-28 01:00', RFC 3339.",
        "TIME",
    ),
    "cron": Option(("--cron",), "What is given is crontab lines, as '0 2 * * 1-5' or @daily."),
    "worker": Option(
        ("--worker",), "For R: whose times, by its uid; a name is good for an example.", "WORKER"
    ),
    "schedule": Option(("--schedule",), "For R: the name (or id) of the schedule.", "NAME"),
    "dst_gap": Option(
        ("--dst-gap",),
        "What clocks leave out in spring: after it, or never.",
        "next|skip",
    ),
    "dst_repeat": Option(
        ("--dst-repeat",),
        "What clocks repeat in autumn: an hour of * twice, or all once.",
        "auto|once",
    ),
    "systemd": Option(("--systemd",), "As systemd does it: --dst-gap skip --dst-repeat once."),
    "check": Option(
        ("--check",),
        "Judge every schedule of this bartos.toml, and of schedules.d beside it; exit code 1 "
        "where something is found.",
        "FILE",
    ),
    "workers": Option(
        ("--workers",), "For --check: how many workers there are, which nobody can ask.", "N"
    ),
    "output": Option(
        ("-o", "--output"),
        "Write a table for people, or a form for programs.",
        "table|json|jsonl|csv",
    ),
    "utc": Option(("--utc",), "Show times in UTC, and read it in UTC where --tz is left out."),
}
"""The options of `calendar`, for the command line as Typer builds it and for the quick way."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was asked for."""

    expressions: tuple[str, ...] = ()
    tz: str | None = None
    limit: int = SHOWN
    since: str | None = None
    cron: bool = False
    worker: str | None = None
    schedule: str | None = None
    dst_gap: str = "next"
    dst_repeat: str = "auto"
    systemd: bool = False
    check: str | None = None
    workers: int | None = None
