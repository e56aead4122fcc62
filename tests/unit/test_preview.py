"""What a changed configuration would do: what differs, where, when, and how full it gets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bartos.plan import WorkerFacts
from bartos.preview import (
    MINUTE_US,
    Change,
    Key,
    Preview,
    key_changes,
    per_minute,
    preview,
)
from bartos.schedules import Definition, load_schedules
from libbarto.message.v2.schedule import Schedule
from libbarto.schedule import Timetable
from libbarto.settings import Fault
from tests.desk import MIDNIGHT

HOUR = 3_600_000_000


def load(*tables: str) -> tuple[Definition, ...]:
    return load_schedules([("bartos.toml", "\n".join(f"[[schedule]]\n{it}" for it in tables))])


def one(name: str, trigger: str, workers: str = "*", more: str = "") -> str:
    return f'name = "{name}"\nworkers = "{workers}"\n{trigger}\ncmds = ["true"]\n{more}\n'


def fleet(count: int, *, root: bool | None = None) -> list[WorkerFacts]:
    return [
        WorkerFacts(f"web{n}", f"web{n}".encode().ljust(16, b"."), root=root)
        for n in range(1, count + 1)
    ]


def seen(old: tuple[Definition, ...], new: tuple[Definition, ...], workers: int = 3) -> Preview:
    return preview(old, new, fleet(workers), MIDNIGHT)


DAILY = 'on_calendar = "02:00"'


def test_the_same_is_nothing_to_do() -> None:
    same = load(one("a", DAILY))
    found = seen(same, same)
    assert found.changes == ()
    assert (found.unchanged, found.known, found.told) == (1, 3, 0)
    assert found.next_starts == ()


def test_what_is_added_changed_and_removed_is_told_with_its_workers() -> None:
    old = load(one("a", DAILY), one("b", DAILY), one("gone", 'every = "5m"', "web1"))
    new = load(one("a", DAILY), one("b", DAILY, "web2"), one("new", 'cron = "0 3 * * *"', "web*"))
    found = seen(old, new)
    added, changed, removed = found.changes
    assert added == Change("added", "new", "cron 0 3 * * *", True, False, ("web1", "web2", "web3"))
    assert (changed.kind, changed.name, changed.workers) == ("changed", "b", ("web2",))
    assert changed.lost == ("web1", "web3")
    assert changed.keys == (Key("workers", '"*"', '"web2"'),)
    assert (removed.kind, removed.workers) == ("removed", ("web1",))
    assert (found.unchanged, found.told) == (1, 3)


def test_only_workers_whose_set_differs_get_a_new_version() -> None:
    found = seen(load(one("a", DAILY)), load(one("a", DAILY), one("b", DAILY, "web2")))
    assert (found.told, found.known) == (1, 3)


def test_keys_are_told_as_a_person_writes_them() -> None:
    (old,) = load(one("a", DAILY, more='env = { A = "1", B = "2" }\nretain.output = "7d"'))
    (new,) = load(
        one(
            "a",
            'every = "90s"',
            more='timeout = "1h"\noutput_max = "1MiB"\nretries = 3\nenv = { A = "1", B = "3" }\n'
            'tags = ["x", "y"]\nretain.output = "14d"\nretain.verdicts = "1d"',
        )
    )
    assert key_changes(old, new) == (
        Key("on_calendar", '"02:00"', "none"),
        Key("every", "none", '"1m30s"'),
        Key("tags", "none", '["x", "y"]'),
        Key("timeout", "none", '"1h"'),
        Key("retries", "0", "3"),
        Key("env.B", '"2"', '"3"'),
        Key("output_max", '"10MiB"', '"1MiB"'),
        Key("retain.output", '"7d"', '"14d"'),
        Key("retain.verdicts", "none", '"1d"'),
    )


def test_another_name_under_one_id_is_a_change() -> None:
    (change,) = seen(
        load(one("a", DAILY, more='id = "x"')), load(one("b", DAILY, more='id = "x"'))
    ).changes
    assert (change.kind, change.name, change.was) == ("changed", "b", "a")
    assert change.keys == (Key("name", '"a"', '"b"'),)


@pytest.mark.parametrize(
    ("trigger", "text"),
    [
        ('on_calendar = ["02:00", "daily"]', "on_calendar 02:00, daily"),
        (f'{DAILY}\ntimezone = "Europe/Berlin"', "on_calendar 02:00 Europe/Berlin"),
        ('cron = "@reboot"', "cron @reboot"),
        ('at = "boot"', "at boot"),
        ('every = "15m"', "every 15m"),
        ('after = "z"\nwhen = "always"', "after z (always)"),
    ],
)
def test_the_trigger_is_told_in_a_line(trigger: str, text: str) -> None:
    added = seen((), load(one("a", trigger), one("z", DAILY))).changes[0]
    assert added.trigger == text


# -- when -----------------------------------------------------------------------------------------


def test_the_next_starts_are_those_of_what_changes_in_order() -> None:
    old = load(one("same", 'every = "1m"'))
    new = load(
        one("same", 'every = "1m"'),
        one("a", 'on_calendar = "*:0/40"', "web1 or web2"),
        one("b", 'every = "30m"'),
        one("off", DAILY, more="enabled = false"),
        one("follows", 'after = "a"'),
        one("late", 'at = "2027-01-16T00:10:00Z"'),
    )
    starts = seen(old, new).next_starts
    assert [((it.at - MIDNIGHT) // MINUTE_US, it.schedule, it.workers) for it in starts][:5] == [
        (10, "late", 3),
        (30, "b", 3),
        (40, "a", 2),
        (60, "a", 2),
        (60, "b", 3),
    ]
    assert len(starts) == 10


def test_each_workers_own_time_is_told_as_a_span() -> None:
    (first, *_) = seen((), load(one("a", 'on_calendar = "02:R"'))).next_starts
    assert (first.at - MIDNIGHT, first.until - MIDNIGHT) == (2 * HOUR, 2 * HOUR + 59 * MINUTE_US)


def test_what_has_no_span_is_told_by_the_first_worker() -> None:
    new = load(one("a", 'on_calendar = "Mon *-*-R 02:00"'))
    (first, *_) = seen((), new).next_starts
    assert first.at == first.until


def test_a_floating_start_runs_on_one() -> None:
    new = load(one("a", 'on_calendar = "R:00"', more='pick = "one"'))
    found = seen((), new)
    assert found.changes[0].floating
    assert found.next_starts[0].workers == 1
    assert found.busiest[0].starts == 1


def test_a_start_that_nobody_runs_is_told_with_no_worker() -> None:
    found = preview((), load(one("a", DAILY)), [], MIDNIGHT)
    assert found.next_starts[0].workers == 0
    assert found.busiest == ()


def test_clock_changes_are_told_beside_the_start_and_as_a_note() -> None:
    new = load(one("a", 'on_calendar = "2027-03-28 02:30"\ntimezone = "Europe/Berlin"'))
    found = seen((), new)
    assert found.next_starts[0].note == "moved from 02:30"
    assert "clocks in Europe/Berlin go from 02:00 to 03:00" in str(found.report)


# -- how full it gets -----------------------------------------------------------------------------


def test_the_fullest_minutes_count_every_worker() -> None:
    old = load(one("a", DAILY))
    new = load(one("a", DAILY), one("b", 'on_calendar = "02:00:R"'), one("c", 'every = "8h"'))
    found = seen(old, new, 5)
    assert [(it.at - MIDNIGHT, it.starts, it.schedules) for it in found.busiest] == [
        (2 * HOUR, 10, ("a", "b")),
        (8 * HOUR, 5, ("c",)),
        (16 * HOUR, 5, ("c",)),
    ]
    assert found.busiest_before == 5
    assert not found.estimated


def test_what_starts_often_within_a_minute_is_counted() -> None:
    (fullest, *_) = seen((), load(one("a", 'every = "1s"', "web1"))).busiest
    assert fullest.starts == 60


def test_many_workers_times_are_estimated_and_nobody_is_left_out() -> None:
    new = load(one("a", 'on_calendar = "02:00:R"'))
    found = seen((), new, 1000)
    assert found.estimated
    assert found.busiest[0].starts == 1000


def test_who_refuses_a_schedule_does_not_count() -> None:
    new = load(one("a", DAILY, more='run_as = "ann"'))
    found = preview((), new, fleet(2, root=False), MIDNIGHT)
    assert found.busiest == ()
    assert "does not run on web1" in str(found.report)


@given(
    st.integers(1, 4000),
    st.integers(0, 3600),
    st.integers(1, 3 * HOUR // 1_000_000),
)
def test_minutes_add_up_to_all_slots(every: int, anchor: int, span: int) -> None:
    spec = Schedule(
        uid=bytes(16),
        name="a",
        calendars=[],
        steps=["x"],
        every_us=every * 1_000_000,
        anchor_us=anchor * 1_000_000,
    )
    table = Timetable(spec, bytes(16))
    until = MIDNIGHT + span * 1_000_000
    found = list(per_minute(table.next_after, table.count, MIDNIGHT, until))
    slots = table.due(MIDNIGHT, until, 100_000)
    expected: dict[int, int] = {}
    for slot in slots:
        expected[slot // MINUTE_US] = expected.get(slot // MINUTE_US, 0) + 1
    assert dict(found) == expected


# -- what is wrong --------------------------------------------------------------------------------


def test_a_faulty_configuration_would_do_nothing() -> None:
    fault = Fault("bartos.toml:3", "is wrong", "bartos.toml", 3)
    found = preview(load(one("a", DAILY)), (), fleet(1), MIDNIGHT, faults=[fault])
    assert found.faulty
    assert found.changes == ()
    assert found.report.faults == (fault,)


def test_doubts_are_told_of_what_changes_only() -> None:
    same = one("same", 'on_calendar = "*-02-31 02:00"')
    found = seen(load(same), load(same, one("new", 'on_calendar = "*-04-31 02:00"')))
    said = str(found.report)
    assert 'schedule "new"' in said
    assert 'schedule "same"' not in said


def test_what_removes_most_needs_a_yes() -> None:
    old = load(*(one(f"a{n}", DAILY) for n in range(12)))
    assert seen(old, old[:5]).needs_yes
    assert not seen(old, old[:7]).needs_yes
