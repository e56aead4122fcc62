"""One suite for every store: what came last, of each schedule on each worker."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bartos.store import reading
from bartos.store.port import RunFilter, RunRow
from bartos.store.settings import StoreSettings
from libbarto.message.v2.record import Decided, Verdict
from tests.contract.test_store import (
    NOON,
    SCHEDULE,
    WORKER,
    Reporter,
    claimed,
    ended,
    kind,
    mariadb,
    opened,
    run_id,
    settings,
)

__all__ = ["kind", "mariadb", "settings"]

pytestmark = pytest.mark.real_loop

MINUTE = 60_000_000
OTHER = b"o" * 16


async def test_the_newest_of_each_verdict_is_told(settings: StoreSettings | None) -> None:
    async with opened(settings) as store:
        reporter = Reporter(store)
        await reporter.connect()
        verdicts = [Verdict.OK, Verdict.FAILED, Verdict.OK, Verdict.TIMED_OUT, Verdict.FAILED]
        for number, verdict in enumerate(verdicts):
            await reporter.state(claimed(number), ended(number, verdict))
        await reporter.state(claimed(9))
        pair = WORKER, SCHEDULE
        found = await store.newest_runs([pair, (WORKER, OTHER), (OTHER, SCHEDULE)])
        assert {(one.verdict, one.run_id) for one in found} == {
            (Verdict.OK, run_id(2)),
            (Verdict.TIMED_OUT, run_id(3)),
            (Verdict.FAILED, run_id(4)),
            (None, run_id(9)),
        }
        newest = max(found, key=lambda one: one.slot)
        assert (newest.worker_uid, newest.schedule_uid) == pair
        assert newest.slot == NOON + 9000
        assert await store.newest_runs([]) == []
        many = [(bytes([n // 256, n % 256]) * 8, SCHEDULE) for n in range(450)]
        assert len(await store.newest_runs([pair, *many])) == 4
        assert await store.failures_after(WORKER, SCHEDULE, NOON + 2000, 9) == [
            NOON + 3000,
            NOON + 4000,
        ]
        assert await store.failures_after(WORKER, SCHEDULE, 0, 1) == [NOON + 1000]
        assert await store.failures_after(OTHER, SCHEDULE, 0, 9) == []
        strip = await store.strip("backup", 2)
        assert [(one.run_id, one.verdict) for one in strip] == [
            (run_id(9), None),
            (run_id(4), Verdict.FAILED),
        ]
        assert await store.strip("nothing", 2) == []
        rows = await store.runs_by_id([run_id(4), run_id(2), run_id(77), run_id(4)])
        assert [row.run_id for row in rows] == [run_id(2), run_id(4)]
        assert await store.runs_by_id([]) == []


async def test_runs_of_a_verdict_come_in_order_whether_they_are_many_or_few(
    settings: StoreSettings | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "NEWEST", 6)
    async with opened(settings) as store:
        reporter = Reporter(store)
        await reporter.connect()
        words = [Verdict.FAILED if number % 5 == 0 else Verdict.OK for number in range(20)]
        for number, verdict in enumerate(words):
            await reporter.state(claimed(number), ended(number, verdict))

        async def pages(wanted: RunFilter) -> list[bytes]:
            found: list[RunRow] = []
            while rows := await store.runs(wanted):
                found += rows
                wanted = replace(wanted, before=(rows[-1].slot, rows[-1].run_id))
            return [row.run_id for row in found]

        def ids(*verdicts: Verdict) -> list[bytes]:
            return [run_id(number) for number in range(19, -1, -1) if words[number] in verdicts]

        for verdicts in ({Verdict.OK}, {Verdict.FAILED}, {Verdict.OK, Verdict.FAILED}):
            for limit in (1, 2, 3, 50):
                wanted = RunFilter(verdicts=frozenset(verdicts), limit=limit)
                assert await pages(wanted) == ids(*verdicts)
        assert await pages(RunFilter(running=False, limit=4)) == ids(*Verdict)
        span = RunFilter(
            verdicts=frozenset({Verdict.OK}), since=NOON + 3000, until=NOON + 9000, limit=2
        )
        assert await pages(span) == [run_id(number) for number in (8, 7, 6, 4, 3)]


async def test_what_was_missed_last_is_told_as_long_as_nothing_came_after(
    settings: StoreSettings | None,
) -> None:
    async with opened(settings) as store:
        reporter = Reporter(store)
        await reporter.connect()

        def decided(first: int, verdict: Verdict) -> Decided:
            return Decided(
                schedule_uid=SCHEDULE,
                schedule="backup",
                first_slot=NOON + first * MINUTE,
                last_slot=NOON + (first + 1) * MINUTE,
                count=2,
                verdict=verdict,
                reason="asleep",
            )

        pair = WORKER, SCHEDULE
        await reporter.state(decided(1, Verdict.SKIPPED), decided(3, Verdict.MISSED))
        (found,) = await store.newest_missed([pair, (OTHER, SCHEDULE)])
        assert (found.first_slot, found.last_slot) == (NOON + 3 * MINUTE, NOON + 4 * MINUTE)
        assert (found.worker_uid, found.schedule_uid) == pair
        assert (found.count, found.reason) == (2, "asleep")
        await reporter.state(decided(7, Verdict.SKIPPED))
        assert await store.newest_missed([pair]) == []
        assert await store.newest_missed([]) == []
