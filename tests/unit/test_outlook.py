"""The outlook: when each schedule is due next on each worker, or why it is not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bartos.outlook import Circumstances, Drain, Here, Outlook, Soon, Timer, soon
from bartos.plan import schedule_rows
from bartos.schedules import Definition, from_json, load_schedules
from bartos.store.orders import ALL_SCHEDULES, PauseRow
from bartos.store.port import WorkerRow
from tests.faces import NOON, SECOND

MINUTE, HOUR = 60 * SECOND, 3600 * SECOND

TOML = """
[[schedule]]
name = "tick"
workers = "*"
on_calendar = "*:0/15"
cmds = ["true"]

[[schedule]]
name = "drawn"
workers = "role=web"
on_calendar = "*-*-* R:R:R"
cmds = ["true"]

[[schedule]]
name = "every"
workers = "b"
every = "1h"
anchor = "R"
cmds = ["true"]

[[schedule]]
name = "one"
workers = "*"
pick = "one"
on_calendar = "hourly"
cmds = ["true"]

[[schedule]]
name = "over"
workers = "a"
at = "2020-01-01T00:00:00Z"
cmds = ["true"]

[[schedule]]
name = "boot"
workers = "a"
at = "boot"
cmds = ["true"]

[[schedule]]
name = "then"
after = "tick"
workers = "a"
cmds = ["true"]

[[schedule]]
name = "off"
workers = "*"
on_calendar = "hourly"
cmds = ["true"]
enabled = false

[[schedule]]
name = "nowhere"
workers = "c"
on_calendar = "hourly"
cmds = ["true"]
"""


def definitions(toml: str = TOML) -> tuple[Definition, ...]:
    rows = schedule_rows(load_schedules([("bartos.toml", toml)]), [], NOON)
    return tuple(from_json(row.definition) for row in rows)


A = WorkerRow(b"a" * 16, "a", labels={"role": "web"})
B = WorkerRow(b"b" * 16, "b", labels={"role": "web"})
NOTHING = Circumstances({}, {}, {})
BOTH = Circumstances({A.uid: Here(), B.uid: Here()}, {}, {})


def outlook(toml: str = TOML, *workers: WorkerRow) -> Outlook:
    made = Outlook()
    assert made.take_on(definitions(toml), workers or (A, B))
    return made


def rows(
    made: Outlook, holds: Circumstances = BOTH, now: int = NOON
) -> dict[tuple[str, str], Timer]:
    return {(row.schedule, row.worker): row for row in made.timers(now, holds)}


def test_each_schedule_has_a_row_on_each_of_its_workers() -> None:
    found = rows(outlook())
    assert sorted(found) == [
        ("boot", "a"),
        ("drawn", "a"),
        ("drawn", "b"),
        ("every", "b"),
        ("nowhere", ""),
        ("off", ""),
        ("one", ""),
        ("over", "a"),
        ("then", ""),
        ("tick", "a"),
        ("tick", "b"),
    ]
    assert found["tick", "a"].next == NOON + 15 * MINUTE
    assert found["one", ""].next == NOON + HOUR
    assert found["one", ""].one_of == 2
    assert found["drawn", "a"].next != found["drawn", "b"].next
    for row in found.values():
        assert row.next is None or row.next > NOON


def test_it_says_why_nothing_comes() -> None:
    found = rows(outlook())
    why = {name: (row.state, row.reason) for (name, _), row in found.items() if row.next is None}
    assert why == {
        "boot": ("never", "once for each boot of its host"),
        "nowhere": ("never", 'no worker is meant by "c"'),
        "off": ("disabled", ""),
        "over": ("never", "its calendar has no more starts"),
        "then": ("never", "it follows tick"),
    }


def test_who_is_away_or_has_not_confirmed_is_not_spoken_for() -> None:
    holds = Circumstances({B.uid: Here(confirmed=False)}, {}, {})
    found = rows(outlook(), holds)
    assert (found["tick", "a"].state, found["tick", "a"].next) == ("offline", None)
    assert found["tick", "a"].planned == NOON + 15 * MINUTE
    assert (found["tick", "b"].state, found["tick", "b"].next) == ("unknown", None)
    assert found["one", ""].state == "planned"
    assert rows(outlook(), NOTHING)["one", ""].state == "offline"


def test_a_pause_says_by_whom_and_until_when() -> None:
    made = outlook()
    (tick,) = [one for one in definitions() if one.name == "tick"]
    pause = PauseRow(tick.uid, "tick", "ann", NOON, "move", NOON + 20 * MINUTE)
    found = rows(made, replace(BOTH, pauses={tick.uid: pause}))
    row = found["tick", "a"]
    assert (row.state, row.by, row.reason, row.until) == (
        "paused",
        "ann",
        "move",
        NOON + 20 * MINUTE,
    )
    assert row.next == NOON + 30 * MINUTE
    assert found["one", ""].state == "planned"
    whole = PauseRow(ALL_SCHEDULES, "", "bob", NOON, "", None)
    found = rows(made, replace(BOTH, pauses={tick.uid: pause, ALL_SCHEDULES: whole}))
    assert (found["tick", "a"].by, found["tick", "a"].next) == ("bob", None)
    assert found["one", ""].state == "paused"
    assert found["off", ""].state == "disabled"
    over = replace(pause, until=NOON)
    assert rows(made, replace(BOTH, pauses={tick.uid: over}))["tick", "a"].state == "planned"


def test_the_soonest_start_is_first_and_what_has_none_is_last() -> None:
    found = sorted(outlook().timers(NOON, BOTH), key=lambda timer: timer.key)
    starts = [timer.next for timer in found if timer.next is not None]
    assert starts == sorted(starts)
    assert [timer.next for timer in found[len(starts) :]] == [None] * (len(found) - len(starts))
    # What is due at once, or never, is by name.
    assert [(timer.schedule, timer.worker) for timer in found[:2]] == [("tick", "a"), ("tick", "b")]
    names = [timer.schedule for timer in found[len(starts) :]]
    assert names == ["boot", "nowhere", "off", "over", "then"]


def test_a_drained_worker_starts_nothing() -> None:
    holds = replace(BOTH, drains={A.uid: Drain("ann", "disk", None)})
    found = rows(outlook(), holds)
    row = found["tick", "a"]
    assert (row.state, row.by, row.reason, row.next) == ("drained", "ann", "disk", None)
    assert found["tick", "b"].state == "planned"
    holds = replace(BOTH, drains={A.uid: Drain("ann", "disk", NOON + 20 * MINUTE)})
    assert rows(outlook(), holds)["tick", "a"].next == NOON + 30 * MINUTE


class Counting(Outlook):
    """Counts how often a timetable has to be asked."""

    asked = 0

    def _timetable(self, *args: Any) -> Any:
        self.asked += 1
        return super()._timetable(*args)


def test_a_pause_with_an_end_asks_no_timetable_for_each_worker() -> None:
    made = Counting()
    (tick,) = [one for one in definitions() if one.name == "tick"]
    workers = [WorkerRow(bytes([n]) * 16, f"w{n}") for n in range(50)]
    made.take_on((tick,), workers)
    pause = PauseRow(tick.uid, "tick", "ann", NOON, "move", NOON + 20 * MINUTE)
    here = {row.uid: Here() for row in workers}
    found = rows(made, Circumstances(here, {tick.uid: pause}, {}))
    assert {row.next for row in found.values()} == {NOON + 30 * MINUTE}
    assert made.asked == 2


def test_asking_again_gives_the_same_and_goes_on_with_time() -> None:
    made = outlook()
    for now in (NOON, NOON + MINUTE, NOON + 15 * MINUTE, NOON + 14 * MINUTE, NOON - HOUR):
        fresh = rows(outlook(), now=now)
        assert rows(made, now=now) == fresh


def test_only_what_is_new_is_taken_on() -> None:
    made = Outlook()
    known = definitions()
    assert made.take_on(known, [A])
    assert not made.take_on(known, [replace(A, last_seen=5)])
    assert made.take_on(known, [A, B])
    assert made.take_on(definitions(), [A, B])
    assert {uid for uid, _ in made.pairs} == {A.uid, B.uid}
    assert sorted(one.name for one in made.floating) == ["one", "then"]
    (tick,) = [one for one in known if one.name == "tick"]
    assert made.matched(tick.uid) == [A, B]
    assert made.matched(b"x" * 16) == []


def test_a_trigger_that_cannot_be_read_is_never_due() -> None:
    (one,) = [one for one in definitions() if one.name == "tick"]
    broken = one.model_copy(update={"timezone": "Moon/Crater"})
    made = Outlook()
    made.take_on((broken,), [A])
    assert rows(made)["tick", "a"].state == "never"


def test_timetables_of_many_workers_are_not_all_kept() -> None:
    workers = [
        WorkerRow(bytes([number]) * 16, f"w{number}", labels={"role": "web"})
        for number in range(1, 9)
    ]
    made = outlook(TOML, *workers)
    made.most = 3
    first = rows(made)
    assert rows(made) == first
    later = rows(made, now=NOON + 30 * HOUR)
    assert all(row.next is None or row.next > NOON + 30 * HOUR for row in later.values())


def test_what_comes_soon_is_told_by_schedule() -> None:
    made = outlook()
    found = soon(made.timers(NOON, BOTH), NOON + 24 * HOUR, 10)
    assert found[0] == Soon("tick", NOON + 15 * MINUTE, NOON + 15 * MINUTE, 2, "", "UTC")
    by_name = {one.schedule: one for one in found}
    assert sorted(by_name) == ["drawn", "every", "one", "tick"]
    assert by_name["every"].worker == "b"
    assert by_name["drawn"].first < by_name["drawn"].last
    assert [one.schedule for one in soon(made.timers(NOON, BOTH), NOON + 20 * MINUTE, 10)][:1] == [
        "tick"
    ]
    assert len(soon(made.timers(NOON, BOTH), NOON + 24 * HOUR, 1)) == 1
