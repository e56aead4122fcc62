"""How do the jobs of cron and systemd come under barto? The command `import`: it reads crontabs or
timers of this host and writes schedules; switched off are they only where that is asked for."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from barto_cli import times
from barto_cli.files import write_new
from barto_cli.importing.disabling import Disabler
from barto_cli.importing.host import Host
from barto_cli.importing.jobs import Found, Heading, as_toml, ending, losses, named
from libbarto.errors import UserError
from libbarto.harmless import safe_lines
from libbarto.places import places
from libbarto.realtime import zones

PROGRAM: Final = "barto-cli"
_REMARKS: Final = {
    "crontab": (
        "cron starts a job although its last run goes on, and does not catch up what it missed;",
        'so do these. barto\'s own way is overlap = "skip" and missed = "latest": take both out.',
    ),
    "systemd": (
        "A timer leaves out what clocks leave out in spring, and does not start again while its",
        "service runs; so do these.",
    ),
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was asked for."""

    kind: Literal["crontab", "systemd"]
    paths: Sequence[Path] = ()
    own: bool = False
    system: bool = False
    prefix: str | None = None
    output: Path | None = None
    disable: bool = False
    undo: bool = False
    dry_run: bool = False


def run(wanted: Wanted) -> int:
    """Do it, and return the exit code. Raises `UserError`."""
    disabler = Disabler(places(PROGRAM, os.environ).state / "imported")
    if wanted.undo:
        for line in disabler.undo():
            _tell(line)
        return 0
    if wanted.disable and wanted.output is None and not wanted.dry_run:
        raise UserError(
            "--disable takes the jobs away from where they are: say with --output FILE where the "
            "schedules are to be, as schedules.d/cron.toml"
        )
    if wanted.system and (wanted.kind != "crontab" or not wanted.paths):
        raise UserError(
            "--system says how a crontab is written that is not where cron keeps it: name its file"
        )
    host = Host(_zone())
    name = socket.gethostname().partition(".")[0] or "localhost"
    prefix = f"{name}-" if wanted.prefix is None else wanted.prefix
    if wanted.kind == "crontab":
        read = host.crontabs(wanted.paths, own=wanted.own, system=wanted.system)
    else:
        read = host.timers(wanted.paths, own=wanted.own)
    found = named(read, prefix)
    text = as_toml(found, _heading(wanted, name))
    by = "cron" if wanted.kind == "crontab" else "systemd"
    for line in losses(found):
        _tell(line)
    if wanted.output is None:
        sys.stdout.write(text)
        sys.stdout.flush()
    elif not wanted.dry_run:
        write_new(wanted.output, text)
        _tell(f"{wanted.output}: {_count(found)}")
    _switch_off(wanted, found, disabler, by)
    return 0


def _switch_off(wanted: Wanted, found: Found, disabler: Disabler, by: str) -> None:
    if not found.jobs:
        _tell(f"nothing of {by} was found that could be taken")
        return
    if wanted.dry_run:
        what = f"would be written to {wanted.output}" if wanted.output else "would be schedules"
        _tell(f"{_count(found)} {what}; nothing was changed")
        return
    if wanted.disable:
        for line in disabler.disable(found.jobs, own_units=wanted.own):
            _tell(line)
        _tell(f"to have all that back: barto-cli import {wanted.kind} --undo")
    _tell(ending(len(found.jobs), by, disabled=wanted.disable))


def _count(found: Found) -> str:
    jobs = len(found.jobs)
    return "1 schedule" if jobs == 1 else f"{jobs} schedules"


def _heading(wanted: Wanted, host: str) -> Heading:
    now = datetime.now(UTC)
    when = times.shown(now, times.zone_here(), datetime(1, 1, 1, tzinfo=UTC))
    words = ["barto-cli", "import", wanted.kind, *map(str, wanted.paths)]
    words += ["--user"] if wanted.own else []
    words += ["--system"] if wanted.system else []
    return Heading(host, " ".join(words), when, _REMARKS[wanted.kind])


def _zone() -> str:
    """This host's zone, in which cron and systemd read their times."""
    here = times.zone_here().name
    if zones.is_zone(here):
        return here
    _tell(f"the zone of this host, {here}, has no IANA name: UTC is written")
    return "UTC"


def _tell(line: str) -> None:
    sys.stderr.write(safe_lines(f"{line}\n"))
