"""How long does the next elapse take? barto's calendar beside four other engines, in one run.

    python bench/calendar.py

Each engine is asked for the next elapse after an aware datetime, and answers with one; systemd's
own library takes and gives epochs through ctypes. What an engine cannot express it is not asked.
croniter, cronsim and APScheduler are timed where they are installed, systemd where its shared
library is found. The engines take turns at each expression, so that a busy machine is busy for all;
how many times faster barto is comes from expressions that both know, the median of their ratios.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

from libbarto.errors import CalendarError
from libbarto.realtime import Realtime

ROUNDS = 40
SECONDS_A_ROUND = 0.001  # short, so that some are not interrupted

# What barto reads, the same for cron where cron can say it, and the zone.
EXPRESSIONS: list[tuple[str, str | None, str]] = [
    ("minutely", "* * * * *", "UTC"),
    ("*:0/5", "*/5 * * * *", "UTC"),
    ("*:0/15", "*/15 * * * *", "UTC"),
    ("*:7,22,37,52", "7,22,37,52 * * * *", "UTC"),
    ("hourly", "0 * * * *", "UTC"),
    ("8..17:0/30", "*/30 8-17 * * *", "UTC"),
    ("0/6:0", "0 */6 * * *", "UTC"),
    ("daily", "0 0 * * *", "UTC"),
    ("02:30", "30 2 * * *", "UTC"),
    ("Mon..Fri 02:30", "30 2 * * 1-5", "UTC"),
    ("Mon..Fri 8..17:0/15", "*/15 8-17 * * 1-5", "UTC"),
    ("Sat,Sun 06:00", "0 6 * * 6,0", "UTC"),
    ("weekly", "0 0 * * 1", "UTC"),
    ("Sun 03:17", "17 3 * * 0", "UTC"),
    ("monthly", "0 0 1 * *", "UTC"),
    ("*-*-1,15 4:00", "0 4 1,15 * *", "UTC"),
    ("*-*-31 12:00", "0 12 31 * *", "UTC"),
    ("quarterly", "0 0 1 1,4,7,10 *", "UTC"),
    ("*-12-24 18:00", "0 18 24 12 *", "UTC"),
    ("yearly", "0 0 1 1 *", "UTC"),
    ("*-2-29", "0 0 29 2 *", "UTC"),
    ("*-*~1 23:59", None, "UTC"),
    ("Mon *-*-1..7 5:00", None, "UTC"),
    ("Mon *-2-29", None, "UTC"),
    ("*:*:*", None, "UTC"),
    ("*:*:0/0.25", None, "UTC"),
    ("*:0/15", "*/15 * * * *", "Europe/Berlin"),
    ("02:30", "30 2 * * *", "Europe/Berlin"),
    ("Mon..Fri 9:00", "0 9 * * 1-5", "America/New_York"),
    ("monthly", "0 0 1 * *", "Australia/Lord_Howe"),
    ("*-2-29 12:00", "0 12 29 2 *", "Asia/Tokyo"),
]
BASE = datetime(2026, 6, 17, 10, 41, 23, tzinfo=UTC)
BESIDE_CHANGES = (
    datetime(2026, 3, 29, 0, 55, tzinfo=UTC),
    datetime(2026, 10, 25, 0, 55, tzinfo=UTC),
)

HOSTILE = [
    frame.format(unit * (65_536 // len(unit)))
    for unit in (
        "9",
        "0",
        "1,",
        "Mon,",
        "*",
        "-",
        "~",
        ":",
        " ",
        "a",
        "R",
        "é",
        "1..",
        "1/",
        "\ud800",
    )
    for frame in ("{}", "*:{}", "{}-1", "10:00 {}", "@{}", "Mon,{}")
]
"""Texts of 64 KiB, read or refused."""

Call = Callable[[], object]
Engine = Callable[[str, str | None, str], Call | None]


def barto(text: str, cron: str | None, tz: str) -> Call:
    calendar, base = Realtime.parse(text), BASE.astimezone(ZoneInfo(tz) if tz != "UTC" else UTC)
    return lambda: calendar.next_after(base, tz)


def barto_from_utc(text: str, cron: str | None, tz: str) -> Call:
    calendar = Realtime.parse(text)
    return lambda: calendar.next_after(BASE, tz)


def barto_epochs(text: str, cron: str | None, tz: str) -> Call:
    calendar, base = Realtime.parse(text), int(BASE.timestamp()) * 1_000_000
    return lambda: calendar.elapse_after(base, tz)


def with_croniter(text: str, cron: str | None, tz: str) -> Call | None:
    module = importlib.import_module("croniter")
    if cron is None:
        return None
    base = BASE.astimezone(ZoneInfo(tz))
    ready = module.croniter(cron, base)
    return lambda: ready.get_next(datetime, start_time=base)


def with_cronsim(text: str, cron: str | None, tz: str) -> Call | None:
    module = importlib.import_module("cronsim")
    if cron is None:
        return None
    ready = module.CronSim(cron, BASE.astimezone(ZoneInfo(tz)))
    base = ready.dt

    def call() -> object:
        ready.dt = base  # it can only go on: set back, it need not read the expression anew
        return next(ready)

    return call


def with_apscheduler(text: str, cron: str | None, tz: str) -> Call | None:
    module = importlib.import_module("apscheduler.triggers.cron")
    if cron is None:
        return None
    trigger = module.CronTrigger.from_crontab(cron, timezone=ZoneInfo(tz))
    base = BASE.astimezone(ZoneInfo(tz)) + timedelta(microseconds=1)
    return lambda: trigger.get_next_fire_time(None, base)


def with_systemd(text: str, cron: str | None, tz: str) -> Call | None:
    paths = sorted(Path("/usr/lib").glob("**/systemd/libsystemd-shared-*.so"))
    if not paths:
        raise ImportError("libsystemd-shared")
    if tz != "UTC":
        return None  # it forks to change the zone; what that costs is not the engine's time
    library = ctypes.CDLL(str(paths[0]))
    spec, found = ctypes.c_void_p(), ctypes.c_uint64()
    if library.calendar_spec_from_string(f"{text} UTC".encode(), ctypes.byref(spec)) < 0:
        return None
    base = ctypes.c_uint64(int(BASE.timestamp()) * 1_000_000)
    step = library.calendar_spec_next_usec
    return lambda: step(spec, base, ctypes.byref(found))


def ready(call: Call) -> tuple[Call, int]:
    """A call and how often it is made in a round."""
    count, spent = 1, 0.0
    while spent < SECONDS_A_ROUND / 4:
        count *= 2
        spent = min(timed(call, count) for _ in range(3))  # one may be interrupted
    return call, max(1, int(count * SECONDS_A_ROUND / spent))


def timed(call: Call, count: int) -> float:
    started = time.perf_counter()
    for _ in range(count):
        call()
    return time.perf_counter() - started


def measure(calls: dict[str, Call]) -> dict[str, float]:
    """Microseconds of each call, the best of some rounds in which they take turns."""
    counted = {name: ready(call) for name, call in calls.items()}
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(ROUNDS):
        for name, (call, count) in counted.items():
            best[name] = min(best[name], timed(call, count) / count * 1e6)
    return best


def available() -> dict[str, Engine]:
    """The engines that are installed."""
    engines: dict[str, Engine] = {
        "barto": barto,
        "barto, base in UTC": barto_from_utc,
        "barto, epochs": barto_epochs,
        "croniter": with_croniter,
        "cronsim": with_cronsim,
        "APScheduler": with_apscheduler,
        "systemd (C), epochs": with_systemd,
    }
    for name, engine in list(engines.items()):
        try:
            engine("daily", "0 0 * * *", "UTC")
        except ImportError as missing:
            print(f"  {name} is not installed ({missing})")
            del engines[name]
    return engines


def refuse(text: str) -> None:
    with contextlib.suppress(CalendarError):
        Realtime.parse(text)


def main() -> None:
    # This file has the name of a standard module, which other engines import.
    here = Path(__file__).resolve().parent
    sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != here]
    engines = available()
    times: dict[str, list[tuple[float, str]]] = {name: [] for name in engines}
    ratios: dict[str, list[float]] = {name: [] for name in engines}
    for text, cron, tz in EXPRESSIONS:
        made = ((name, engine(text, cron, tz)) for name, engine in engines.items())
        found = measure({name: call for name, call in made if call is not None})
        for name, spent in found.items():
            times[name].append((spent, f"{text} {tz}"))
            ratios[name].append(spent / found["barto"])
    print(f"Python {sys.version.split()[0]}, microseconds for the next elapse")
    for name, found_times in times.items():
        slowest, where = max(found_times)
        print(
            f"  {name:22} median {statistics.median(t for t, _ in found_times):8.2f}"
            f"   slowest {slowest:9.2f} ({where}, of {len(found_times)})"
            f"   barto's times {statistics.median(ratios[name]):6.1f}"
        )
    quarter, never = Realtime.parse("*:0/15"), Realtime.parse("*-02-30")
    gap, fold = (moment.astimezone(ZoneInfo("Europe/Berlin")) for moment in BESIDE_CHANGES)
    others: dict[str, Call] = {
        "beside a gap": lambda: quarter.next_after(gap, "Europe/Berlin"),
        "beside a fold": lambda: quarter.next_after(fold, "Europe/Berlin"),
        "beside a gap, from UTC": lambda: quarter.next_after(BESIDE_CHANGES[0], "Europe/Berlin"),
        "never, once known": lambda: never.next_after(BASE),
    }
    for name, spent in measure(others).items():
        print(f"  {name:22}        {spent:8.2f}")
    readings: dict[str, Call] = {t: partial(Realtime.parse, t) for t, _, _ in EXPRESSIONS}
    parsing = measure(readings)
    slowest, where = max((spent, text) for text, spent in parsing.items())
    median = statistics.median(parsing.values())
    print(f"  {'parsing':22} median {median:8.2f}   slowest {slowest:9.2f} ({where})")
    first = statistics.median(
        timed(partial(Realtime.parse(f"{hour}:{minute}").next_after, BASE), 1) * 1e6
        for hour in range(24)
        for minute in range(60)
    )
    print(f"  {'the first question':22} median {first:8.2f}")
    refusing: dict[str, Call] = {f"{text[:12]!a}…": partial(refuse, text) for text in HOSTILE}
    slowest, where = max((spent, text) for text, spent in measure(refusing).items())
    print(f"  {'64 KiB of nonsense':22}                   slowest {slowest:9.2f} ({where})")


if __name__ == "__main__":
    main()
