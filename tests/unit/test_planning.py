"""From the store's schedules to each worker's set."""

from __future__ import annotations

from bartos.plan import schedule_rows
from bartos.planning import Planner, facts_of
from bartos.schedules import load_schedules
from bartos.store.orders import ALL_SCHEDULES, DrainRow, PauseRow
from bartos.store.port import WorkerRow
from libbarto.identity import schedule_uid
from libbarto.message.v2.schedule import SCHEDULE_SET
from libbarto.timing import timing_hash, timing_text

TOML = """
[[schedule]]
name = "all"
workers = "*"
on_calendar = "daily"
cmds = ["true"]

[[schedule]]
name = "debian"
workers = "os=debian and role=db"
on_calendar = "daily"
cmds = ["true"]
"""


def names(planner: Planner, row: WorkerRow) -> list[str]:
    return [one.name for one in SCHEDULE_SET.decode(planner.set_for(row)).schedules]


def test_a_worker_gets_what_its_words_and_labels_match() -> None:
    planner = Planner()
    plain = WorkerRow(b"1" * 16, "web1")
    database = WorkerRow(
        b"2" * 16, "db1", labels={"role": "db"}, capabilities={"os": "debian", "user": "root"}
    )
    assert names(planner, plain) == []
    planner.load(schedule_rows(load_schedules([("bartos.toml", TOML)]), [], 0))
    assert names(planner, plain) == ["all"]
    assert names(planner, database) == ["all", "debian"]
    assert planner.set_for(plain) == planner.set_for(plain)


def test_only_a_worker_that_says_who_it_runs_as_is_known_to_be_root_or_not() -> None:
    assert facts_of(WorkerRow(b"1" * 16, "a")).root is None
    assert facts_of(WorkerRow(b"1" * 16, "a", capabilities={"user": "root"})).root is True
    assert facts_of(WorkerRow(b"1" * 16, "a", capabilities={"user": "www"})).root is False


def test_triggers_are_to_be_kept_until_the_store_has_them() -> None:
    planner = Planner()
    rows = schedule_rows(load_schedules([("bartos.toml", TOML)]), [], 0)
    planner.load(rows)
    assert planner.timings_to_keep() == {}, "no set was made yet"
    plain = WorkerRow(b"1" * 16, "web1")
    (spec,) = SCHEDULE_SET.decode(planner.set_for(plain)).schedules
    text = timing_text(spec)
    assert planner.timings_to_keep() == {timing_hash(text): text}
    planner.timings_kept(planner.timings_to_keep())
    assert planner.timings_to_keep() == {}
    # Another schedule of the same trigger, and the same schedules read again, bring nothing new.
    planner.load(rows)
    database = WorkerRow(b"2" * 16, "db1", labels={"role": "db"}, capabilities={"os": "debian"})
    planner.set_for(database)
    assert planner.timings_to_keep() == {}


def test_what_is_paused_says_so_in_the_set() -> None:
    planner = Planner()
    planner.load(schedule_rows(load_schedules([("bartos.toml", TOML)]), [], 0))
    row = WorkerRow(b"2" * 16, "db1", labels={"role": "db"}, capabilities={"os": "debian"})
    before = planner.set_for(row)
    uid = schedule_uid("debian")
    planner.pauses = {uid: PauseRow(uid, "debian", "ann", 5, "maintenance")}
    every, debian = SCHEDULE_SET.decode(planner.set_for(row)).schedules
    assert not every.paused
    assert (debian.paused, debian.paused_until, debian.pause_reason) == (
        True,
        None,
        "maintenance (by ann)",
    )
    planner.pauses = {ALL_SCHEDULES: PauseRow(ALL_SCHEDULES, "", "bob", 5, "", 9), **planner.pauses}
    every, debian = SCHEDULE_SET.decode(planner.set_for(row)).schedules
    assert (every.paused_until, every.pause_reason) == (9, "by bob")
    assert debian.paused_until is None, "the longer pause counts"
    planner.pauses = {}
    assert planner.set_for(row) == before


def test_what_a_drained_worker_is_told_is_as_a_pause_of_all() -> None:
    planner = Planner()
    planner.load(schedule_rows(load_schedules([("bartos.toml", TOML)]), [], 0))
    row = WorkerRow(b"2" * 16, "db1", labels={"role": "db"}, capabilities={"os": "debian"})
    before = planner.set_for(row)
    planner.drains = {b"3" * 16: DrainRow(b"3" * 16, "db2", "ann", 5)}
    assert planner.set_for(row) == before, "another one is drained"
    planner.drains = {row.uid: DrainRow(row.uid, "db1", "ann", 5, "a new disk", 9)}
    uid = schedule_uid("debian")
    planner.pauses = {uid: PauseRow(uid, "debian", "bob", 5)}
    every, debian = SCHEDULE_SET.decode(planner.set_for(row)).schedules
    assert (every.paused_as, every.paused_until, every.pause_reason) == (
        "drained",
        9,
        "a new disk (by ann)",
    )
    assert (debian.paused_as, debian.paused_until) == ("paused", None), "the longer one counts"
