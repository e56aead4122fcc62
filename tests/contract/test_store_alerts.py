"""One suite for every store: what it keeps of what was told, and of what is to be told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from bartos.store import outbox
from bartos.store.alerts import (
    ANY_WORKER,
    NO_RUN,
    AlertNews,
    AlertRow,
    AlertState,
    Backlog,
    Looked,
    Member,
    Outcome,
    Sending,
)
from bartos.store.port import ScheduleRow, SlotRange, Store
from bartos.store.settings import StoreSettings
from bartos.store.sql import SqlStore
from libbarto.identity import Kind
from libbarto.message.v2.record import Claimed, Decided, Ended, Verdict
from tests.contract.test_store import (
    NOON,
    SCHEDULE,
    WORKER,
    Reporter,
    claimed,
    kind,
    mariadb,
    opened,
    run_id,
    settings,
)

__all__ = ["kind", "mariadb", "settings"]

pytestmark = pytest.mark.real_loop

SECOND = 1_000_000
LATER = NOON + 3600 * SECOND
EVER = (0, 1 << 61)
OTHER = b"o" * 16


async def reporting(store: Store) -> Reporter:
    reporter = Reporter(store)
    await reporter.connect()
    return reporter


async def ran(
    reporter: Reporter, number: int, verdict: Verdict, kind: Kind = Kind.CALENDAR
) -> None:
    """A run that was due `number` ms after noon and ended `number` seconds after it."""
    claim = claimed(number)
    assert isinstance(claim, Claimed)
    claim = Claimed(
        run_id=claim.run_id, attempt=1, kind=kind, schedule_uid=SCHEDULE, schedule="backup",
        slot=claim.slot, at=claim.at, generation=1,
    )  # fmt: skip
    end = Ended(
        run_id=run_id(number), attempt=1, verdict=verdict, reason="größer", started_at=NOON,
        ended_at=NOON + number * SECOND, output_seq=0, totals=[],
    )  # fmt: skip
    assert await reporter.state(claim, end)


async def missed(reporter: Reporter, number: int, verdict: Verdict = Verdict.MISSED) -> None:
    """Two planned starts that did not run."""
    slot = NOON + number * 1000
    record = Decided(
        schedule_uid=SCHEDULE, schedule="backup", first_slot=slot - 500, last_slot=slot,
        count=2, verdict=int(verdict), reason="asleep",
    )  # fmt: skip
    assert await reporter.state(record)


def state(trouble: str = "failed", number: int = 1, worker: bytes = WORKER) -> AlertState:
    at = NOON + number * SECOND
    return AlertState(SCHEDULE, worker, trouble, at, NOON + number * 1000, run_id(number))


def alert(number: int = 1, due: int = NOON, **changes: object) -> AlertRow:
    member = Member("web1", "failed, exit 1", NOON, run_id(number), WORKER)
    row = AlertRow(bytes([number]) * 16, "failed", SCHEDULE, "backup", due - 5, due, (member,), 1)
    return replace(row, **changes)  # type: ignore[arg-type]


async def told(
    store: Store,
    *alerts: AlertRow,
    states: Sequence[AlertState] = (),
    channels: Sequence[str] = ("webhook",),
) -> None:
    looked = (await store.begin_alerts(NOON)).looked
    assert await store.commit_alerts(AlertNews(looked, looked + 1, states, alerts, channels))


def of_run(number: int, verdict: Verdict) -> Outcome:
    return Outcome(
        SCHEDULE, "backup", WORKER, "web1", verdict, NOON + number * 1000, NOON + number * SECOND,
        "größer", run_id(number), None, None,
    )  # fmt: skip


# -- what there is to tell ------------------------------------------------------------------------


async def test_failures_are_found_by_when_they_were_known(settings: StoreSettings | None) -> None:
    async with opened(settings) as store:
        reporter = await reporting(store)
        verdicts = [
            *(Verdict.FAILED, Verdict.OK, Verdict.TIMED_OUT, Verdict.CANCELLED),
            *(Verdict.INTERRUPTED, Verdict.LOST),
        ]
        for number, verdict in enumerate(verdicts, 1):
            await ran(reporter, number, verdict)
        assert await reporter.state(claimed(7))
        found = await store.alert_outcomes(*EVER)
        assert found == [of_run(number, verdicts[number - 1]) for number in (1, 3, 5, 6)]
        assert await store.alert_outcomes(NOON + 3 * SECOND, NOON + 5 * SECOND) == found[1:3]
        assert await store.alert_outcomes(*EVER, limit=2) == found[:2]


async def test_starts_that_were_missed_or_lost_are_found_among_them(
    settings: StoreSettings | None,
) -> None:
    async with opened(settings) as store:
        reporter = await reporting(store)
        await missed(reporter, 1)
        await missed(reporter, 2, Verdict.SKIPPED)
        lost = SlotRange(
            SCHEDULE, "backup", WORKER, "web1", LATER, LATER, 1, Verdict.LOST, "gone", LATER
        )
        await store.record_ranges([lost])
        first, second = await store.alert_outcomes(*EVER)
        assert (first.verdict, first.reason, first.count) == (Verdict.MISSED, "asleep", 2)
        assert (first.slot, first.run_id) == (NOON + 1000, NO_RUN)
        assert (second.verdict, second.at, second.worker) == (Verdict.LOST, LATER, "web1")
        assert await store.alert_outcomes(*EVER, limit=1) == [first]


async def test_what_was_done_by_exec_is_not_told(settings: StoreSettings | None) -> None:
    async with opened(settings) as store:
        reporter = await reporting(store)
        await ran(reporter, 1, Verdict.FAILED, Kind.EXEC)
        await ran(reporter, 2, Verdict.FAILED, Kind.MANUAL)
        assert [one.run_id for one in await store.alert_outcomes(*EVER)] == [run_id(2)]


@pytest.mark.parametrize("worker", [WORKER, ANY_WORKER])
async def test_what_was_looked_at_is_not_found_again(
    settings: StoreSettings | None, worker: bytes
) -> None:
    async with opened(settings) as store:
        reporter = await reporting(store)
        for number in (1, 2, 3):
            await ran(reporter, number, Verdict.FAILED)
        await told(store, states=[state(number=2, worker=worker), state(number=9, worker=OTHER)])
        assert await store.alert_outcomes(*EVER) == [of_run(3, Verdict.FAILED)]


async def test_a_later_start_is_found_though_it_was_known_earlier(
    settings: StoreSettings | None,
) -> None:
    async with opened(settings) as store:
        await ran(await reporting(store), 3, Verdict.FAILED)
        # As where the clock of the worker is behind, and by this server's it was missed after that.
        await told(store, states=[replace(state("missed", 2), seen=NOON + 60 * SECOND)])
        assert await store.alert_outcomes(*EVER) == [of_run(3, Verdict.FAILED)]


@pytest.mark.parametrize("worker", [WORKER, ANY_WORKER])
async def test_a_later_run_that_is_ok_ends_trouble(
    settings: StoreSettings | None, worker: bytes
) -> None:
    async with opened(settings) as store:
        await store.replace_schedules([ScheduleRow(SCHEDULE, "backup", "{}")], NOON)
        reporter = await reporting(store)
        for number in (1, 3, 5):
            await ran(reporter, number, Verdict.OK)
        await ran(reporter, 4, Verdict.CANCELLED)
        assert await store.alert_endings(EVER[1]) == [], "nothing is trouble"
        await told(store, states=[state("failed", 2, worker), state("failed", 2, OTHER)])
        assert await store.alert_endings(EVER[1]) == [of_run(3, Verdict.OK)], "the first is enough"
        assert await store.alert_endings(NOON + 3 * SECOND - 1) == []
        assert await store.alert_endings(EVER[1], limit=0) == []
        await told(store, states=[state("failed", 3, worker)])
        found = [of_run(number, Verdict.OK) for number in (3, 5)]
        assert await store.alert_endings(EVER[1]) == found, "the very run, and a later one"
        await told(store, states=[replace(state("failed", 3, worker), run_id=NO_RUN)])
        assert await store.alert_endings(EVER[1]) == [of_run(5, Verdict.OK)]
        await told(store, states=[state("", 2, worker)])
        assert await store.alert_endings(EVER[1]) == []


async def test_the_very_run_that_is_stuck_may_end_ok_or_cancelled(
    settings: StoreSettings | None,
) -> None:
    async with opened(settings) as store:
        reporter = await reporting(store)
        await ran(reporter, 1, Verdict.CANCELLED)
        await ran(reporter, 2, Verdict.OK)
        await told(store, states=[state("stuck", 1)])
        assert await store.alert_endings(EVER[1]) == [of_run(1, Verdict.CANCELLED)]


@pytest.mark.parametrize("kind", ["sqlite"])
async def test_no_look_goes_through_the_runs_that_are_ok(
    settings: StoreSettings | None, kind: str
) -> None:
    async with opened(settings) as store:
        assert isinstance(store, SqlStore)
        for query in outbox._endings(EVER[1]):
            async with store._engines.read() as connection:
                written = query.compile(
                    dialect=connection.dialect, compile_kwargs={"render_postcompile": True}
                )
                text = f"EXPLAIN QUERY PLAN {written}"
                marks: tuple[bytes, ...] = (b"",) * text.count("?")
                plan = await connection.exec_driver_sql(text, marks)
                steps = [str(row.detail) for row in plan]
            runs = [step for step in steps if " run " in step]
            assert runs and all("run_verdict" not in step for step in runs), steps


# -- what is told ---------------------------------------------------------------------------------


async def test_alerts_begin_once_and_end(settings: StoreSettings | None) -> None:
    async with opened(settings) as store:
        assert not await store.commit_alerts(AlertNews(NOON, LATER)), "they have not begun"
        assert await store.begin_alerts(NOON) == Looked(NOON, NOON)
        assert await store.begin_alerts(LATER) == Looked(NOON, NOON)
        await told(store, alert(), states=[state()])
        await store.end_alerts()
        assert await store.alert_states() == []
        assert await store.alert_backlog() == []
        assert await store.begin_alerts(LATER) == Looked(LATER, LATER)


async def test_of_two_who_look_at_once_only_one_tells(settings: StoreSettings | None) -> None:
    async with opened(settings) as store:
        await store.begin_alerts(NOON)
        news = AlertNews(NOON, LATER, [state()], [alert()], ["mail", "webhook"])
        assert await store.commit_alerts(news)
        assert not await store.commit_alerts(replace(news, looked=LATER + 1))
        assert await store.begin_alerts(0) == Looked(NOON, LATER)
        assert await store.alert_states() == [state()]
        assert await store.alert_backlog() == [Backlog("mail", 1), Backlog("webhook", 1)]


async def test_a_state_takes_the_place_of_the_one_before(settings: StoreSettings | None) -> None:
    async with opened(settings) as store:
        await told(store, states=[state("failed"), state("missed", 1, ANY_WORKER)])
        await told(store, states=[state("", 2)])
        found = {one.pair: one for one in await store.alert_states()}
        assert found == {
            (SCHEDULE, WORKER): state("", 2),
            (SCHEDULE, ANY_WORKER): state("missed", 1, ANY_WORKER),
        }


async def test_workers_join_an_alert_until_it_is_due(settings: StoreSettings | None) -> None:
    async with opened(settings) as store:
        row = alert(1, LATER)
        await told(store, row, alert(2, NOON))
        assert await store.alerts_gathering(NOON) == [row]
        more = replace(row, members=(*row.members, Member("web2", "lost", NOON)), count=2)
        await told(store, more)
        assert await store.alerts_gathering(NOON) == [more]
        assert await store.alert_backlog() == [Backlog("webhook", 2)]
        sending = await store.claim_sending("webhook", LATER + 1, LATER + 2)
        assert sending == Sending(alert(2, NOON), "webhook")
        assert await store.claim_sending("webhook", LATER + 1, LATER + 2) == Sending(
            more, "webhook"
        )


# -- what waits -----------------------------------------------------------------------------------


async def test_a_sending_is_claimed_by_one_until_its_time_is_over(
    settings: StoreSettings | None,
) -> None:
    async with opened(settings) as store:
        await told(store, alert(), channels=["webhook", "mail"])
        assert await store.claim_sending("webhook", NOON - 1, NOON) is None, "it is not due"
        sending = await store.claim_sending("webhook", NOON, NOON + 60)
        assert sending == Sending(alert(), "webhook", 0)
        assert await store.claim_sending("webhook", NOON + 59, LATER) is None
        assert await store.claim_sending("mail", NOON, LATER) == Sending(alert(), "mail", 0)
        assert await store.claim_sending("webhook", NOON + 60, LATER) == sending
        await store.sent(sending, NOON + 61)
        assert await store.claim_sending("webhook", LATER + 1, LATER + 2) is None


async def test_what_failed_is_tried_again_later(settings: StoreSettings | None) -> None:
    async with opened(settings) as store:
        await told(store, alert())
        sending = await store.claim_sending("webhook", NOON, LATER)
        assert sending is not None
        await store.send_later(sending, NOON + 30, "refused")
        assert await store.alert_backlog() == [Backlog("webhook", 1, "refused")]
        assert await store.claim_sending("webhook", NOON + 29, LATER) is None
        again = await store.claim_sending("webhook", NOON + 30, LATER)
        assert again == replace(sending, tries=1)


async def test_of_too_many_the_oldest_are_given_up(settings: StoreSettings | None) -> None:
    async with opened(settings) as store:
        await told(store, *(alert(number, NOON + number) for number in range(1, 6)))
        assert await store.trim_backlog("webhook", 2, LATER) == 3
        assert await store.trim_backlog("webhook", 2, LATER) == 0
        assert await store.trim_backlog("mail", 2, LATER) == 0
        assert await store.alert_backlog() == [Backlog("webhook", 2)]
        sending = await store.claim_sending("webhook", LATER, LATER + 1)
        assert sending is not None and sending.alert == alert(4, NOON + 4)


async def test_what_is_done_with_is_forgotten_and_what_waits_is_not(
    settings: StoreSettings | None,
) -> None:
    async with opened(settings) as store:
        states = [state("", 1), state("failed", 1, OTHER), state("", 5, ANY_WORKER)]
        await told(store, alert(1), alert(2), alert(3), states=states)
        for at in (NOON + 1, LATER):
            sending = await store.claim_sending("webhook", NOON, LATER)
            assert sending is not None
            await store.sent(sending, at)
        await store.forget_alerts(NOON + 2 * SECOND)
        assert set(await store.alert_states()) == set(states[1:])
        assert await store.alert_backlog() == [Backlog("webhook", 1)]
        assert [one.alert_id for one in await store.alerts_gathering(0)] == [
            alert(number).alert_id for number in (2, 3)
        ]
