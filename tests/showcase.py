"""A server with a history that is worth a look: for pictures of the pages, and for their tests.

Forty hosts, ten schedules and some days; the clock stands still at noon UTC of the last one. A
backup fails, a build prints in colour, a mirror hangs, a laptop is away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from bartos.plan import Plan, spec_of
from bartos.planning import facts_of
from bartos.schedules import Definition, definition_json, load_schedules
from bartos.services import Connected, Pages
from bartos.store.port import EpochClaim, ScheduleRow
from libbarto.identity import schedule_uid
from libbarto.message.v2.record import Decided, SetApplied, Stream, Verdict
from libbarto.schedule import Timetable
from libbarto.timing import timing_hash, timing_text
from tests.faces import ERR, NOON, OUT, SECOND, Barto

HOUR: Final = 3600 * SECOND
DAY: Final = 24 * HOUR
WEB: Final = tuple(f"web{number:02}" for number in range(1, 37))
HOSTS: Final = ("ci1", "db1", "db2", "edge-fra", "nas", "roaming", *WEB)
AWAY: Final = "roaming"

SCHEDULES: Final = """
[defaults]
timezone = "Europe/Berlin"

[[schedule]]
name = "backup"
workers = "db*"
tags = ["database"]
on_calendar = "*-*-* 02:17:41"
cmds = ["pg_dump --all | zstd > /backup/today.zst"]

[[schedule]]
name = "updates"
workers = "web*"
tags = ["hosts"]
on_calendar = "*-*-* 04:00"
cmds = ["apt-get -qq update && apt-get -qq upgrade"]

[[schedule]]
name = "certificates"
workers = "web*"
tags = ["hosts"]
on_calendar = "Mon *-*-* 06:00"
cmds = ["certbot renew"]

[[schedule]]
name = "mirror"
workers = "nas"
on_calendar = "*-*-* 00/6:05"
cmds = ["rsync -a archive::debian /srv/mirror"]

[[schedule]]
name = "reports"
workers = "db1"
on_calendar = "Mon..Fri 07:30"
cmds = ["make-reports"]

[[schedule]]
name = "build"
workers = "ci1"
on_calendar = "Mon..Fri *-*-* 07..19:20"
cmds = ["make test"]

[[schedule]]
name = "probe"
workers = "edge-fra"
on_calendar = "*:0/15"
cmds = ["curl -fsS https://www.example.org/health"]

[[schedule]]
name = "photos"
workers = "roaming"
on_calendar = "*-*-* 00/2:30"
cmds = ["restic backup ~/Pictures"]

[[schedule]]
name = "vacuum"
workers = "db*"
tags = ["database"]
on_calendar = "Sun *-*-* 05:00"
cmds = ["vacuumdb --all --analyze"]

[[schedule]]
name = "thumbnails"
workers = "web01"
on_calendar = "*-*-* *:40"
cmds = ["make-thumbnails"]
"""

Printed = Sequence[tuple[Stream, bytes]]

PG_DUMP: Final = (
    (OUT, b"pg_dump: last built-in OID is 16383\npg_dump: reading extensions\n"),
    (OUT, b"pg_dump: reading schemas\npg_dump: reading user-defined tables\n"),
    *((OUT, f'pg_dump: dumping "public.events_{n:04}"\n'.encode()) for n in range(400)),
    (ERR, b'pg_dump: error: connection to server at "10.0.0.12", port 5432 failed: FATAL:\n'),
    (ERR, b"pg_dump: detail:  remaining connection slots are reserved for superusers\n"),
    (ERR, b"pg_dump: error: connection to server failed\n"),
)

APT: Final = (
    (OUT, b"Reading package lists...\nBuilding dependency tree...\n"),
    (OUT, b"0 upgraded, 0 newly installed, 0 to remove and 0 not upgraded.\n"),
)
APT_LOCKED: Final = (
    (ERR, b"E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 4711 (apt)\n"),
    (ERR, b"E: Unable to acquire the dpkg frontend lock, is another process using it?\n"),
)
APT_MORE: Final = (
    (OUT, b"Reading package lists...\nBuilding dependency tree...\n"),
    (OUT, b"The following packages will be upgraded:\n  openssl libssl3\n2 upgraded.\n"),
)


def build(*, fails: bool) -> Printed:
    """What a build prints, in colour."""
    lines: list[tuple[Stream, bytes]] = [
        (OUT, b"\x1b[1m$ make test\x1b[0m\n"),
        (OUT, b"\x1b[36m::\x1b[0m compiling \x1b[1mlibfrobnicate\x1b[0m v2.4.1\n"),
        (OUT, b"   10 %\r   40 %\r  100 %\x1b[K \x1b[32mdone\x1b[0m in 8.2s\n"),
        (ERR, b"\x1b[33mwarning\x1b[0m: unused variable \x1b[1m`limit`\x1b[0m\n"),
        (ERR, b"\x1b[34m  -->\x1b[0m src/queue.c:118:9\n"),
        (OUT, b"\x1b[1m===== test session starts =====\x1b[0m\n"),
    ]
    names = ("parse", "queue", "store", "wire", "clock", "retry", "auth", "limits")
    for number in range(48):
        name = names[number % len(names)]
        passed = not fails or number != 37
        word = b"\x1b[32mPASSED\x1b[0m" if passed else b"\x1b[31mFAILED\x1b[0m"
        percent = (number + 1) * 100 // 48
        line = f"tests/test_{name}.py::test_{number:03} ".encode()
        lines.append((OUT, line + word + f" \x1b[2m[{percent:3}%]\x1b[0m\n".encode()))
    if fails:
        lines += [
            (ERR, b"\x1b[31m\x1b[1m______________ test_037 ______________\x1b[0m\n"),
            (ERR, b"\x1b[1m\x1b[31mE       AssertionError: assert 41 == 42\x1b[0m\n"),
            (ERR, b"\x1b[1m\x1b[31mtests/test_retry.py\x1b[0m:64: AssertionError\n"),
            (OUT, b"\x1b[41;97m FAIL \x1b[0m \x1b[31m1 failed\x1b[0m, 47 passed in 31.4s\n"),
        ]
    else:
        lines.append((OUT, b"\x1b[42;30m PASS \x1b[0m \x1b[32m48 passed\x1b[0m in 30.9s\n"))
    return lines


def definitions() -> tuple[Definition, ...]:
    """The schedules."""
    return load_schedules([("bartos.toml", SCHEDULES)])


def labels(name: str) -> dict[str, str]:
    """What is known of a host."""
    if name.startswith("web"):
        number = int(name[3:])
        canary = {"canary": "yes"} if number <= 2 else {}
        return {"role": "web", "site": ("ams", "fra", "lon")[number % 3], **canary}
    role = name.rstrip("0123456789").partition("-")[0]
    return {"role": role, "site": "fra"} if name != AWAY else {"owner": "ann"}


async def showcase() -> Barto:
    """All of it."""
    barto = Barto()
    barto.facts = replace(barto.facts, pages=Pages(timezone="Europe/Berlin"))
    for name in HOSTS:
        await barto.store.confirm_epoch(
            EpochClaim(
                uid=barto.uid(name),
                name=name,
                epoch=1,
                spool_id=barto.uid(name),
                labels=labels(name),
                version="2.0.0",
                capabilities={"os": "debian", "os_version": "12", "arch": "x86_64"},
                address="192.0.2.9",
                now=NOON - 5 * HOUR - 17 * 60 * SECOND if name == AWAY else NOON,
            )
        )
    barto.fleet.here = [
        Connected(
            name,
            barto.uid(name),
            f"192.0.2.{number + 10}",
            NOON - 3 * DAY,
            "2.0.0",
            1500 if name != "nas" else 1_640_000,
        )
        for number, name in enumerate(HOSTS)
        if name != AWAY
    ]
    made = definitions()
    rows = [ScheduleRow(it.uid, it.name, definition_json(it)) for it in made]
    await barto.store.replace_schedules(rows, NOON - 30 * DAY)
    barto.planner.load(rows)
    facts = [facts_of(row) for row in await barto.store.workers()]
    here = Plan(made).matched(facts)
    texts = {it.uid: timing_text(spec_of(it)) for it in made}
    await barto.store.keep_timings({timing_hash(text): text for text in texts.values()})
    for fact in facts:
        mine = [it for it in made if fact in here.get(it.name, [])]
        applied = SetApplied(
            generation=17,
            at=NOON - 30 * DAY,
            schedules=[it.uid for it in mine],
            timings=[timing_hash(texts[it.uid]) for it in mine],
            since=[NOON - 30 * DAY] * len(mine),
        )
        await barto.tell(fact.name, applied)
    for definition in made:
        for fact in here.get(definition.name, []):
            table = Timetable(spec_of(definition), fact.uid)
            span = {"updates": 2 * DAY, "probe": DAY + 12 * HOUR}.get(definition.name, 9 * DAY)
            slots = table.due(NOON - span, NOON)
            await _ran(barto, definition.name, fact.name, slots)
    return barto


async def _ran(barto: Barto, schedule: str, worker: str, slots: Sequence[int]) -> None:
    if schedule == "photos":
        for slot in slots[:-6]:
            await barto.run(worker, schedule, slot, [(OUT, b"snapshot saved\n")], seconds=95)
        missed = slots[-6:-3]
        reason = "the host was asleep"
        await barto.did_not_run(worker, schedule, missed[0], missed[-1], 3, reason)
        return
    if schedule == "mirror":
        for slot in slots[:-5]:
            await barto.run(worker, schedule, slot, [(OUT, b"total size is 4.1T\n")], seconds=2400)
        begun = slots[-5]
        lines = b"".join(b"pool/main/%c/ ... %d files\n" % (97 + n, 40 * n) for n in range(20))
        await barto.run(worker, schedule, begun, [(OUT, lines)], verdict=None)
        skipped = Decided(
            schedule_uid=schedule_uid(schedule),
            schedule=schedule,
            first_slot=slots[-4],
            last_slot=slots[-1],
            count=4,
            verdict=Verdict.SKIPPED,
            reason="overlap: the run before went on",
        )
        await barto.tell(worker, skipped)
        return
    for number, slot in enumerate(slots):
        last = number == len(slots) - 1
        printed, verdict, codes, seconds, why = _outcome(schedule, worker, number, len(slots))
        running = schedule == "build" and last
        await barto.run(
            worker,
            schedule,
            slot,
            printed,
            verdict=None if running else verdict,
            codes=codes,
            seconds=seconds,
            reason=why,
        )


Outcome = tuple[Printed, Verdict, tuple[int | str, ...], float, str]


def _outcome(schedule: str, worker: str, number: int, total: int) -> Outcome:
    """What the `number`-th of `total` runs printed, and how it ended."""
    wave = (number * 37 + len(worker) * 11) % 17
    match schedule:
        case "backup" if worker == "db2" and number >= total - 3:
            return PG_DUMP, Verdict.FAILED, (1,), 42.0, "step 1 ended with 1"
        case "backup":
            return PG_DUMP[:40], Verdict.OK, (0,), 1900.0 + 60 * wave, ""
        case "updates" if worker == "web17" and number == total - 1:
            return APT_LOCKED, Verdict.FAILED, (100,), 3.1, "step 1 ended with 100"
        case "updates" if worker in {"web05", "web30"} and number == total - 1:
            return APT_MORE, Verdict.OK, (0,), 48.0, ""
        case "updates":
            return APT, Verdict.OK, (0,), 6.0 + wave / 4, ""
        case "build" if number == total - 4:
            return build(fails=True), Verdict.FAILED, (2,), 41.8, "step 1 ended with 2"
        case "build":
            return build(fails=False), Verdict.OK, (0,), 900.0 + 130 * wave, ""
        case "reports" if number == total - 2:
            return ((OUT, b"month 11\n"),), Verdict.TIMED_OUT, ("15",), 3600.0, "after 1h"
        case "reports":
            return ((OUT, b"41 reports written\n"),), Verdict.OK, (0,), 1500.0 + 40 * wave, ""
        case "probe" if number % 41 == 7:
            said = ((ERR, b"curl: (28) Connection timed out after 10001 ms\n"),)
            return said, Verdict.FAILED, (28,), 10.0, "step 1 ended with 28"
        case _:
            return ((OUT, b"ok\n"),), Verdict.OK, (0,), 2.0 + wave * 6, ""
