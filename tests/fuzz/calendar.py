"""Can the calendar engine be broken? Random questions, for as long as it is given.

    python -m tests.fuzz.calendar [SECONDS [SEED]]

Each round has its own seed and asks, in turn: texts that were damaged, which must be read or
refused; the wall clock, against brute force; a clock change of any zone up to 2200, against
`zoneinfo` minute by minute; a zone, against `zoneinfo` hour by hour. Where systemd 252's library is
on this machine, it is asked the same as the engine, in UTC. The first wrong answer ends it, with
the seed to see it again.
"""

from __future__ import annotations

import ctypes
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

from libbarto.errors import CalendarError
from libbarto.realtime import Calendars, Realtime
from libbarto.realtime.grammar import Parts
from libbarto.realtime.units import DAY, HOUR, MINUTE, MONTH, SECOND, Field, Random, Unit
from libbarto.realtime.zones import load, names
from tests.unit import realtime_oracle as oracle
from tests.unit.realtime_changes import Case, check_change
from tests.unit.test_realtime import NASTY, check_read_or_refused

SYSTEMD = Path("/usr/lib/x86_64-linux-gnu/systemd/libsystemd-shared-252.so")
END_2199 = 7_258_118_400 * oracle.SECOND
ZONES = sorted(names())


# -- expressions ----------------------------------------------------------------------------------


def number(rng: random.Random, low: int, high: int) -> str:
    value = rng.choice((rng.randint(low, high), low, high, rng.randint(low, min(high, low + 5))))
    return str(value).zfill(rng.choice((1, 1, 2, 3)))


def item(rng: random.Random, low: int, high: int, decimals: bool) -> str:
    first, last = sorted((number(rng, low, high), number(rng, low, high)), key=int)
    part = f".{rng.randint(0, 10 ** rng.randint(1, 8))}" if decimals and rng.random() < 0.3 else ""
    step = f"/{rng.randint(1, high - low)}{part}"
    return rng.choice(
        (f"{first}{part}", f"{first}{part}..{last}", f"{first}..{last}{step}", first + step)
    )


def values(rng: random.Random, low: int, high: int, decimals: bool = False) -> str:
    if rng.random() < 0.35:
        return "*"
    return ",".join(item(rng, low, high, decimals) for _ in range(rng.choice((1, 1, 1, 2, 3))))


def expression(rng: random.Random) -> str:
    """A text that is mostly an expression, with whole minutes or with seconds."""
    words = []
    if rng.random() < 0.4:
        words.append(",".join(rng.choice(oracle.DAYS) for _ in range(rng.randint(1, 3))))
    if rng.random() < 0.6:
        year = "" if rng.random() < 0.6 else f"{values(rng, 1970, 2199)}-"
        sign, last = rng.choice((("-", 31), ("-", 31), ("~", 28)))
        words.append(f"{year}{values(rng, 1, 12)}{sign}{values(rng, 1, last)}")
    if not words or rng.random() < 0.8:
        second = f":{values(rng, 0, 59, True)}" if rng.random() < 0.3 else ""
        words.append(f"{values(rng, 0, 23)}:{values(rng, 0, 59)}{second}")
    return " ".join(words)


def calendar(rng: random.Random, whole_minutes: bool = False) -> Realtime:
    while True:
        try:
            found = Realtime.parse(expression(rng))
        except CalendarError:
            continue
        if not whole_minutes or str(found).endswith(":00"):
            return found


# -- what is asked --------------------------------------------------------------------------------


def damaged_texts(rng: random.Random) -> None:
    for _ in range(300):
        text = expression(rng)
        for _ in range(rng.randint(0, 4)):
            at, width = rng.randint(0, len(text)), rng.randint(0, 4)
            new = "".join(rng.choice(NASTY) for _ in range(rng.randint(0, 3)))
            new = text[at : at + width] * 2 if rng.random() < 0.2 else new
            text = text[:at] + new + text[at + width :]
        if rng.random() < 0.02:
            text *= 65_536 // (len(text) + 1)
        started = time.perf_counter()
        check_read_or_refused(text)
        assert time.perf_counter() - started < 1, f"{len(text)} characters took too long"


def even_clocks(rng: random.Random) -> None:
    """Forty days of whole minutes, forwards and backwards."""
    asked = calendar(rng, whole_minutes=True)
    text, first = str(asked), oracle.EPOCH + timedelta(days=rng.randint(0, 84_000 - 41))
    of_day = oracle.minutes_of_day(text)
    wanted = [
        day + timedelta(minutes=minute)
        for day in (first + timedelta(days=n) for n in range(40))
        if oracle.day_matches(text, day.replace(tzinfo=None))
        for minute in of_day
    ]
    end, at, found = first + timedelta(days=40), first - timedelta(microseconds=1), []
    while (elapse := asked.next_after(at)) is not None and elapse < end:
        found.append(at := elapse)
    assert found == wanted
    at, found = end, []
    while (elapse := asked.previous_before(at)) is not None and elapse >= first:
        found.append(at := elapse)
    assert found == wanted[::-1]
    union = Calendars.of([asked, calendar(rng)])
    start, stop = ((moment - oracle.EPOCH) // timedelta(microseconds=1) for moment in (first, end))
    if len(wanted) < 5_000:
        at_us, count = start, 0
        while count < 20_000 and (later := union.elapse_after(at_us)) is not None and later <= stop:
            at_us, count = later, count + 1
        if count < 20_000:
            assert union.count(start, stop) == count


def clock_changes(rng: random.Random) -> None:
    def cases(low: int, high: int) -> Iterator[Case]:
        for _ in range(5):
            asked = calendar(rng, whole_minutes=True)
            text = str(asked)

            def has(wall: int, text: str = text) -> bool:
                return oracle.wall_matches(text, origin + timedelta(minutes=wall))

            yield Case(text, has, oracle.repeats(text))

    origin = oracle.midnight(1970, 1, 1)
    zone = load(rng.choice(ZONES))
    after_2_days = [start for start in zone.starts if 2 * 86_400 * oracle.SECOND < start < END_2199]
    whole = [start for start in after_2_days if start % oracle.MINUTE == 0]
    for start in rng.sample(whole, min(5, len(whole))):
        if all(offset % oracle.MINUTE == 0 for offset in offsets_around(zone.name, start)):
            check_change(zone.name, start, cases)


def offsets_around(name: str, start: int) -> tuple[int, int]:
    zone = load(name)
    return zone.offset_at(start - 1), zone.offset_at(start)


def zone_tables(rng: random.Random) -> None:
    """Two years of a zone, hour by hour."""
    zone = load(rng.choice(ZONES))
    other = oracle.packaged(zone.name)
    at = oracle.EPOCH + timedelta(days=rng.randint(0, 83_000), microseconds=rng.randint(0, 10**10))
    for _ in range(2 * 366 * 24):
        offset = at.astimezone(other).utcoffset()
        assert offset is not None
        instant = (at - oracle.EPOCH) // timedelta(microseconds=1)
        assert zone.offset_at(instant) * timedelta(microseconds=1) == offset, (zone.name, at)
        at += timedelta(hours=1)


# -- systemd's own library ------------------------------------------------------------------------


def against_systemd(library: ctypes.CDLL, rng: random.Random) -> None:
    held = 0
    for _ in range(300):
        text = expression(rng)
        spec = ctypes.c_void_p()
        read = library.calendar_spec_from_string(text.encode(), ctypes.byref(spec)) >= 0
        try:
            asked = Realtime.parse(text)
        except CalendarError:
            assert not read, f"{text!r} is refused, systemd reads it"
            continue
        if not read:
            assert limited_by_systemd(asked.parts), f"{text!r} is read, systemd refuses it"
            continue
        printed = ctypes.c_void_p()
        library.calendar_spec_to_string(spec, ctypes.byref(printed))
        theirs = ctypes.string_at(printed).decode()
        ctypes.CDLL(None).free(printed)
        # It prints * wherever there is 0/1 among the seconds, whatever else there is.
        assert theirs == str(asked) or (
            theirs.endswith(":*") and "00/1" in str(asked).rpartition(":")[2]
        ), text
        held += 1
        if carries(asked.parts):
            library.calendar_spec_free(spec)
            continue
        base, found = ctypes.c_uint64(rng.randint(0, END_2199)), ctypes.c_uint64()
        for _ in range(3):
            code = library.calendar_spec_next_usec(spec, base, ctypes.byref(found))
            elapse = asked.elapse_after(base.value)
            wanted = found.value if code >= 0 else None
            if code != -35:  # "Resource deadlock avoided": it gave up
                assert elapse == wanted, f"{text!r} after {base.value}: {elapse}, systemd: {wanted}"
            if code < 0:
                break
            base = ctypes.c_uint64(found.value)
        library.calendar_spec_free(spec)
    assert held > 100


def limited_by_systemd(parts: Parts) -> bool:
    """After `~`, 252 takes 3 off the highest day for every further member of a list."""
    assert not isinstance(parts.day, Random)
    return parts.from_end and any(
        max(member) > 28 - 3 * place for place, member in enumerate(parts.day or ())
    )


def carries(parts: Parts) -> bool:
    """Whether an open repetition does not end with its unit: 252 then loses what comes next."""

    def uneven(field: Field, unit: Unit) -> bool:
        assert not isinstance(field, Random)
        return any(
            step and stop < 0 and (unit is DAY or (unit.high + 1 - start) % step)
            for start, stop, step in field or ()
        )

    units = (MONTH, DAY, HOUR, MINUTE, SECOND)
    return any(map(uneven, parts.fields[1:], units))


def main(seconds: int, seed: int) -> int:
    rounds: list[Callable[[random.Random], None]] = [
        *(damaged_texts, even_clocks, clock_changes, zone_tables)
    ]
    if SYSTEMD.exists():
        rounds.append(partial(against_systemd, ctypes.CDLL(str(SYSTEMD))))
    else:
        print(f"{SYSTEMD} is not there: systemd is not asked")
    end, done = time.monotonic() + seconds, Counter[str]()
    while time.monotonic() < end:
        for part in rounds:
            name = getattr(part, "__name__", "against_systemd")
            try:
                part(random.Random(f"{name} {seed}"))
            except AssertionError:
                print(f"wrong with the seed {seed}, in {name}:", flush=True)
                raise
            done[name] += 1
        seed += 1
    print(", ".join(f"{count} × {name}" for name, count in done.items()))
    return 0


if __name__ == "__main__":
    asked_for = [*map(int, sys.argv[1:3])]
    raise SystemExit(main(*(asked_for + [60, int(time.time())][len(asked_for) :])))
