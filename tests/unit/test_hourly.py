"""Planned starts are counted by spans: what is paused, refused or floating is dealt with as it is
when they come."""

from __future__ import annotations

from bartos.hourly import Counted, Window, per_span, planned
from bartos.plan import Plan, WorkerFacts, spec_of
from bartos.schedules import Definition, load_schedules
from bartos.store.orders import ALL_SCHEDULES, PauseRow
from libbarto.schedule import Timetable
from tests.desk import MIDNIGHT

HOUR = 3_600_000_000
DAY = Window(MIDNIGHT, MIDNIGHT + 24 * HOUR, HOUR)


def load(*tables: str) -> tuple[Definition, ...]:
    text = "\n".join(f'[[schedule]]\ncmds = ["true"]\ntimezone = "UTC"\n{it}\n' for it in tables)
    return load_schedules([("bartos.toml", text)])


def fleet(count: int, *, root: bool | None = None) -> list[WorkerFacts]:
    return [WorkerFacts(f"w{n}", f"w{n}".encode().ljust(16, b"."), root=root) for n in range(count)]


def counts(found: Counted) -> dict[int, int]:
    return {span: names.total() for span, names in sorted(found.spans.items())}


NIGHTLY = 'name = "nightly"\nworkers = "*"\non_calendar = "02:30"'


def test_a_start_counts_in_its_hour_for_each_worker() -> None:
    assert counts(planned(load(NIGHTLY), fleet(3), DAY)) == {2: 3}


def test_a_floating_schedule_starts_once() -> None:
    assert counts(planned(load(f'{NIGHTLY}\npick = "one"'), fleet(3), DAY)) == {2: 1}


def test_what_follows_another_or_runs_nowhere_is_not_counted() -> None:
    after = 'name = "after"\nworkers = "*"\nafter = "nightly"'
    nowhere = 'name = "nowhere"\nworkers = "nobody"\non_calendar = "*:*"'
    assert counts(planned(load(NIGHTLY, after, nowhere), fleet(1), DAY)) == {2: 1}


def test_what_a_worker_refuses_is_not_its_own() -> None:
    made = load(f'{NIGHTLY}\nrun_as = "postgres"')
    assert Plan(made).matched(fleet(1, root=False)) == {}
    assert counts(planned(made, fleet(1, root=False), DAY)) == {}


def paused(uid: bytes, until: int | None) -> dict[bytes, PauseRow]:
    return {uid: PauseRow(uid, "", "ann", MIDNIGHT, "", until)}


def test_what_is_paused_is_planned_from_the_end_of_its_pause_on() -> None:
    made = load('name = "hourly"\nworkers = "*"\non_calendar = "*:15"')
    (definition,) = made
    noon = paused(definition.uid, MIDNIGHT + 12 * HOUR)
    assert list(counts(planned(made, fleet(1), DAY, noon))) == list(range(12, 24))
    assert counts(planned(made, fleet(1), DAY, paused(definition.uid, None))) == {}
    assert counts(planned(made, fleet(1), DAY, paused(ALL_SCHEDULES, DAY.end))) == {}
    assert len(counts(planned(made, fleet(1), DAY, paused(b"x" * 16, None)))) == 24


def test_a_span_with_many_slots_is_counted_at_once() -> None:
    (definition,) = load('name = "tick"\nworkers = "*"\non_calendar = "*:*:*"')
    table = Timetable(spec_of(definition), bytes(16))
    assert list(per_span(table, DAY, DAY.begin)) == [(hour, 3600) for hour in range(24)]
    short = Window(DAY.begin, DAY.begin + HOUR + 10_000_000, HOUR)
    assert list(per_span(table, short, DAY.begin + HOUR)) == [(1, 10)]
