"""Each worker is told what it is to do, and a reload knows what it changes."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bartos.plan import (
    Changes,
    Plan,
    Refusal,
    WorkerFacts,
    changes,
    may_run,
    removes_too_much,
    schedule_rows,
    set_body,
    set_hash,
    spec_of,
    without_workers,
    worker_set,
)
from bartos.schedules import Definition, Source, definition_json
from libbarto.identity import schedule_uid
from libbarto.message.v2.schedule import SCHEDULE_SET, Schedule, ScheduleSet

WEB1 = WorkerFacts("web1", b"1" * 16, {"role": "web"}, os="debian", arch="x86_64", root=True)
WEB2 = WorkerFacts("web2", b"2" * 16, {"role": "canary"}, os="debian", host="web2.example")


def schedule(name: str, workers: str = "*", **keys: object) -> Definition:
    return Definition.model_validate(
        {"name": name, "workers": workers, "on_calendar": ["daily"], "cmds": ["true"], **keys}
    )


def names(wanted: ScheduleSet) -> list[str]:
    return [one.name for one in wanted.schedules]


def test_a_worker_gets_what_means_it() -> None:
    definitions = [
        schedule("c", "web1"),
        schedule("b", "web2"),
        schedule("a", "os=debian and not role=canary"),
        schedule("d", "host=*.example"),
        schedule("e", "arch=x86_64"),
    ]
    assert names(worker_set(definitions, WEB1)) == ["a", "c", "e"]
    assert names(worker_set(definitions, WEB2)) == ["b", "d"]


def test_a_label_beats_what_a_worker_says_of_itself() -> None:
    worker = dataclasses.replace(WEB1, labels={"os": "plan9"})
    assert worker.words == {"os": "plan9", "arch": "x86_64"}


def test_a_disabled_schedule_is_in_no_set() -> None:
    assert names(worker_set([schedule("a", enabled=False)], WEB1)) == []


def test_no_schedule_is_an_empty_set() -> None:
    assert worker_set([], WEB1) == ScheduleSet(schedules=[])


def test_a_set_has_all_that_a_worker_needs() -> None:
    definition = schedule(
        "a",
        on_calendar=["*-*-* 02:R:R", "Sat 6:00"],
        cmds=["one", "two"],
        timezone="Europe/Berlin",
        timeout="2h",
        kill_after=1.5,
        shell=["bash", "-c"],
        run_as="postgres",
        cwd="/srv",
        env={"B": "2", "A": "1"},
        nice=5,
        output_max="1MiB",
        continue_on_error=True,
        start_within="1m",
        dst_gap="skip",
        dst_repeat="once",
        offline_max="1d",
        overlap="replace",
        missed="all",
        catch_up="2h",
        retries=3,
        retry_delay="1m",
        rerun_interrupted=True,
    )
    assert worker_set([definition], WEB1) == ScheduleSet(
        schedules=[
            Schedule(
                uid=schedule_uid("a"),
                name="a",
                calendars=["*-*-* 02:R:R", "Sat *-*-* 06:00:00"],
                timezone="Europe/Berlin",
                dst_gap="skip",
                dst_repeat="once",
                steps=["one", "two"],
                shell=["bash", "-c"],
                cwd="/srv",
                env={"A": "1", "B": "2"},
                run_as="postgres",
                nice=5,
                timeout_us=7_200_000_000,
                kill_after_us=1_500_000,
                continue_on_error=True,
                output_max=1024**2,
                start_within_us=60_000_000,
                overlap="replace",
                missed="all",
                catch_up_us=7_200_000_000,
                retries=3,
                retry_delay_us=60_000_000,
                rerun_interrupted=True,
            )
        ],
        offline_max_us=86_400_000_000,
    )


def test_defaults_are_those_of_the_wire() -> None:
    assert worker_set([schedule("a")], WEB1) == ScheduleSet(
        schedules=[
            Schedule(uid=schedule_uid("a"), name="a", calendars=["*-*-* 00:00:00"], steps=["true"])
        ]
    )


def spec(**keys: Any) -> Schedule:
    return Schedule(uid=schedule_uid("a"), name="a", calendars=[], steps=["true"], **keys)


@pytest.mark.parametrize(
    ("keys", "wanted"),
    [
        ({"every": "15m"}, spec(every_us=900_000_000)),
        ({"every": "15m", "anchor": "R"}, spec(every_us=900_000_000, anchor_drawn=True)),
        (
            {"every": "15m", "anchor": "1970-01-01T00:00:01Z"},
            spec(every_us=900_000_000, anchor_us=1_000_000),
        ),
        (
            {"at": ["1970-01-01 09:00:01", "1970-01-01T00:00:00Z"], "timezone": "Asia/Tokyo"},
            spec(at=[0, 1_000_000], timezone="Asia/Tokyo"),
        ),
        ({"at": "boot"}, spec(on_boot=True)),
        ({"cron": "@reboot"}, spec(on_boot=True)),
        (
            {"after": "b", "parent": "00" * 15 + "01", "same_worker": True, "when": "failed"},
            spec(after=bytes(15) + b"\x01", when="failed"),
        ),
    ],
)
def test_every_trigger_has_its_wire_form(keys: dict[str, Any], wanted: Schedule) -> None:
    definition = schedule("a", "*", on_calendar=[], **keys)
    assert worker_set([definition], WEB1).schedules == [wanted]


def test_a_crontab_line_travels_as_calendars() -> None:
    (wanted,) = worker_set([schedule("a", on_calendar=[], cron="0 2 1 * 5")], WEB1).schedules
    assert wanted.calendars == ["*-*-01 02:00:00", "Fri *-*-* 02:00:00"]


def test_what_floats_is_in_no_set_and_has_the_same_form() -> None:
    floating = schedule("a", pick="one")
    plan = Plan([floating, schedule("b"), schedule("c", pick="one", enabled=False)])
    assert names(plan.set_for(WEB1)) == ["b"]
    assert plan.floating == [floating]
    assert spec_of(floating) == spec_of(schedule("a"))


def test_a_floating_start_goes_where_its_schedule_may_run() -> None:
    floating = schedule("a", "role=canary", pick="one")
    assert may_run(floating, WEB2)
    assert not may_run(floating, WEB1)
    assert not may_run(schedule("a", pick="one", enabled=False), WEB1)
    servant = dataclasses.replace(WEB1, root=False)
    assert not may_run(schedule("a", pick="one", run_as="postgres"), servant)


DEFINITIONS = [
    schedule("a", env={"X": "1", "Y": "2"}),
    schedule("b", "web*"),
    schedule("c", "os=debian", script="x"),
    schedule("d", id="other"),
]


@given(st.permutations(DEFINITIONS))
def test_the_order_of_files_does_not_change_a_set(shuffled: list[Definition]) -> None:
    assert set_body(worker_set(shuffled, WEB1)) == set_body(worker_set(DEFINITIONS, WEB1))


def test_nor_does_the_line_on_which_a_schedule_stands() -> None:
    moved = [one.model_copy(update={"source": Source("x.toml", 9)}) for one in DEFINITIONS]
    assert set_body(worker_set(moved, WEB1)) == set_body(worker_set(DEFINITIONS, WEB1))


def test_the_hash_is_that_of_the_bytes() -> None:
    body = set_body(worker_set(DEFINITIONS, WEB1))
    assert SCHEDULE_SET.decode(body) == worker_set(DEFINITIONS, WEB1)
    assert set_hash(body) == hashlib.sha256(body).digest()


def test_another_user_s_rights_need_a_worker_that_is_root() -> None:
    definitions = [schedule("a", run_as="postgres"), schedule("b")]
    plain = dataclasses.replace(WEB1, root=False)
    unknown = dataclasses.replace(WEB1, root=None)
    assert names(worker_set(definitions, plain)) == ["b"]
    assert names(worker_set(definitions, WEB1)) == names(worker_set(definitions, unknown))
    (refusal,) = Plan(definitions).refusals(plain)
    assert isinstance(refusal, Refusal)
    assert str(refusal) == (
        'schedule "a" on web1: run_as = "postgres" needs a bartoc that runs as root, '
        "which it does not"
    )
    assert Plan(definitions).refusals(WEB1) == []


def test_what_means_nobody_is_found() -> None:
    definitions = [schedule("a", "web1"), schedule("b", "db*"), schedule("c", "x", enabled=False)]
    assert [one.name for one in without_workers(definitions, [WEB1, WEB2])] == ["b"]
    assert [one.name for one in without_workers(definitions, [])] == ["a", "b"]
    assert [one.name for one in Plan(definitions).matching(WEB1)] == ["a"]


def test_a_plan_answers_for_one_worker_after_another() -> None:
    plan = Plan(DEFINITIONS)
    for worker in (WEB1, WEB2, WEB1):
        assert plan.set_for(worker) == worker_set(DEFINITIONS, worker)


# -- reloads --------------------------------------------------------------------------------------


def test_a_reload_tells_what_it_changes() -> None:
    old = [schedule("kept"), schedule("changed"), schedule("gone"), schedule("was", id="i")]
    new = [schedule("kept"), schedule("changed", "web1"), schedule("new"), schedule("is", id="i")]
    found = changes(old, new)
    assert found == Changes(added=("new",), changed=("changed", "is"), removed=("gone",))
    assert found
    assert str(found) == "added new; changed changed, is; removed gone"


def test_a_reload_that_changes_nothing_says_so() -> None:
    moved = schedule("a").model_copy(update={"source": Source("x.toml", 3)})
    found = changes([schedule("a")], [moved])
    assert not found
    assert str(found) == "nothing changed"


def many(count: int, *, enabled: bool = True) -> list[Definition]:
    return [schedule(f"s{number}", enabled=enabled) for number in range(count)]


def test_a_reload_that_removes_more_than_half_of_ten_waits() -> None:
    assert removes_too_much(many(10), many(4))
    assert removes_too_much(many(10), [])
    assert not removes_too_much(many(10), many(5))
    assert not removes_too_much(many(9), [])
    assert not removes_too_much(many(10), many(12))


def test_disabling_is_removing_for_the_brake() -> None:
    assert removes_too_much(many(10), many(10, enabled=False))
    assert not removes_too_much(many(10, enabled=False), [])


def test_rows_keep_version_and_time_of_what_is_unchanged() -> None:
    first = schedule_rows([schedule("b"), schedule("a")], [], 100)
    assert [(row.name, row.version, row.updated_at) for row in first] == [
        ("a", 1, 100),
        ("b", 1, 100),
    ]
    assert first[0].definition == definition_json(schedule("a"))
    second = schedule_rows([schedule("a"), schedule("b", enabled=False), schedule("c")], first, 200)
    assert [(row.name, row.version, row.updated_at, row.enabled) for row in second] == [
        ("a", 1, 100, True),
        ("b", 2, 200, False),
        ("c", 1, 200, True),
    ]
